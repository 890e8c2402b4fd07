"""Explorables: the same picture from Python and in the browser, moved by mouse and by keyboard."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgutils import explore
from vgutils.explore import explorable

CALL = {
    "title": "How far back?",
    "parameters": {"depth": [2, 4, 8], "activation": ["tanh", "sigmoid"]},
    "curves": lambda depth, activation: (
        10.0 ** -np.arange(depth)[::-1] * (1 if activation == "tanh" else 0.1)
    ),
    "x_label": "layer",
    "y_label": "gradient norm",
    "y_scale": "log",
    "readout": "{activation} at depth {depth}: {first} to {last}, ratio {ratio}",
    "alt": "Gradient norms that fall toward the input.",
    "caption": "The deeper the network, the less arrives.",
}


def show(**changes) -> None:
    explorable(**CALL | changes)


def data(bundle) -> dict:
    return json.loads(
        re.search(r'type="application/json">(.*?)</script>', bundle["text/html"])[1]
    )


def points(path: str) -> np.ndarray:
    """The corners of a path of relative steps."""
    first, _, rest = path.partition("l")
    start = [int(n) for n in re.findall(r"-?\d+", first)]
    steps = np.array([int(n) for n in re.findall(r"-?\d+", rest)]).reshape(-1, 2)
    return np.cumsum(np.vstack([start, steps]), axis=0)


def test_every_setting_is_drawn_once_and_to_scale(shown):
    show()
    (bundle,) = shown
    packed = data(bundle)
    assert packed["values"] == [["2", "4", "8"], ["tanh", "sigmoid"]]
    assert len(packed["frames"]) == len(packed["readouts"]) == 6
    assert packed["readouts"][5].replace("\N{NO-BREAK SPACE}", " ") == (
        "sigmoid at depth 8: 10⁻⁸ to 0.1, ratio 10⁻⁷"
    )
    corners = points(packed["frames"][4][1])
    assert len(corners) == 8
    steps = np.diff(corners, axis=0)
    assert np.ptp(steps[:, 0]) <= 1
    assert np.ptp(steps[:, 1]) <= 1  # A straight line on a log axis, to the unit.
    assert np.all(steps[:, 1] < 0)
    assert len(bundle["text/html"]) < 15_000


def test_the_static_picture_is_the_starting_one(shown):
    show(start={"depth": 8})
    html = shown[0]["text/html"]
    packed = data(shown[0])
    svg = ElementTree.fromstring(re.search(r"<svg xmlns.*?</svg>", html, re.S)[0])
    paths = [
        p.get("d")
        for p in svg.iter("{http://www.w3.org/2000/svg}path")
        if p.get("data-curve")
    ]
    assert paths == packed["frames"][4]
    assert packed["readouts"][4] in html
    assert svg.get("aria-label") == CALL["alt"]
    assert "depth 8, activation tanh" in shown[0]["text/plain"]


def test_bands_zeros_and_what_is_not_finite(shown):
    values = {
        2: [[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]],
        3: [[0.0, np.nan, 1.0], [1.0, np.inf, -2.0]],
    }
    show(parameters={"n": [2, 3]}, curves=lambda n: values[n], readout="{smallest}")
    clean, troubled = data(shown[0])["frames"]
    assert clean[0].endswith("z")
    assert clean[2:] == ["", ""]
    assert troubled[2].count("M") == 2
    assert troubled[3].count("M") == 1
    for words in ("0, or below", "not finite", "range over seeds"):
        assert words in shown[0]["text/html"]
    assert data(shown[0])["readouts"][1] == "nan"


def test_a_gap_in_the_data_is_a_gap_in_the_line(shown):
    values = {0: [1, 2, np.nan, 4, 5], 1: [1, 2, 3, 4, 5]}
    show(parameters={"n": [0, 1]}, curves=lambda n: values[n], readout="")
    frames = data(shown[0])["frames"]
    assert frames[0][1].count("M") == 2
    assert frames[1][1].count("M") == 1


@given(st.lists(st.floats(1e-30, 1e30), min_size=2, max_size=20, unique=True))
def test_drawn_values_are_the_values(values):
    axis = explore._Axis(
        "y_scale", "log", [np.array(values)], explore.BOTTOM, explore.TOP
    )
    placed = axis.place(values)
    placed = placed / explore.FINE
    assert placed.min() >= explore.TOP
    assert placed.max() <= explore.BOTTOM
    order = np.argsort(values)
    assert np.all(np.diff(placed[order]) <= 0)
    back = axis.low + (placed - explore.BOTTOM) / (explore.TOP - explore.BOTTOM) * (
        axis.high - axis.low
    )
    unit = (axis.high - axis.low) / (explore.BOTTOM - explore.TOP)
    np.testing.assert_allclose(
        back, np.log10(values), atol=0.51 * unit / explore.FINE + 1e-9
    )


@given(
    st.floats(-1e12, 1e12),
    st.floats(1e-9, 1e12),
    st.sampled_from(["linear", "log"]),
    st.integers(3, 8),
)
def test_ticks_are_few_round_and_inside(start, width, scale, most):
    ends = (
        np.array([start, start + width])
        if scale == "linear"
        else np.array([width, width * 10])
    )
    axis = explore._Axis("x_scale", scale, [ends], 0, 500)
    ticks = axis.ticks(most)
    assert 1 <= len(ticks) <= most + 2
    assert all(-1 <= at <= 501 for at, _ in ticks)


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"parameters": {}}, ValueError, "one to four"),
        ({"parameters": {c: [1, 2] for c in "abcde"}}, ValueError, "one to four"),
        ({"parameters": {"depth": [1]}}, ValueError, "two or more"),
        ({"parameters": {"depth": [1, 1]}}, ValueError, "different"),
        ({"parameters": {"depth": [1, "a"]}}, ValueError, "all numbers or all texts"),
        ({"parameters": {"depth": [True, False]}}, ValueError, "numbers or texts"),
        ({"parameters": {"the depth": [1, 2]}}, ValueError, "argument"),
        ({"curves": np.zeros(3)}, TypeError, "function"),
        ({"curves": lambda **_: "abc"}, TypeError, "not numbers"),
        ({"curves": lambda **_: []}, ValueError, "shape"),
        ({"curves": lambda **_: {}}, ValueError, "empty"),
        ({"curves": lambda **_: np.zeros((2, 2, 2))}, ValueError, "shape"),
        (
            {"curves": lambda **_: np.full(3, np.nan)},
            ValueError,
            "nothing can be drawn",
        ),
        ({"curves": lambda depth, **_: {f"{depth}": [1.0]}}, ValueError, "labels"),
        (
            {"curves": lambda **_: {f"{i}": [1.0] for i in range(7)}},
            ValueError,
            "told apart",
        ),
        ({"x": [1, 2]}, ValueError, "x at"),
        ({"x": lambda depth, **_: np.full(depth, np.nan)}, ValueError, "finite"),
        (
            {"x": lambda depth, **_: np.arange(depth), "x_scale": "log"},
            ValueError,
            "above 0",
        ),
        ({"y_scale": "symlog"}, ValueError, "y_scale"),
        ({"readout": "{depht}"}, ValueError, "readout may name depth"),
        ({"readout": lambda **_: 3}, TypeError, "readout"),
        ({"start": {"depth": 3}}, ValueError, "start"),
        ({"start": {"width": 2}}, ValueError, "start"),
        ({"alt": "short"}, ValueError, "alt"),
        ({"caption": ""}, ValueError, "caption"),
        ({"title": ""}, ValueError, "title"),
        ({"x_label": ""}, ValueError, "x_label"),
        (
            {"parameters": {"depth": range(2, 400), "activation": ["a", "b"]}},
            ValueError,
            "fewer",
        ),
    ],
)
def test_what_is_refused(shown, changes, error, match):
    with pytest.raises(error, match=match):
        show(**changes)
    assert not shown


def state(page) -> tuple[list[str], str]:
    paths = page.locator("path[data-curve]")
    drawn = [paths.nth(i).get_attribute("d") for i in range(paths.count())]
    return drawn, page.locator(".vg-read").inner_text()


def test_moving_a_slider_and_a_menu_redraws(shown, open_page):
    show()
    packed = data(shown[0])
    page = open_page(shown[0])
    assert state(page) == (packed["frames"][0], packed["readouts"][0])
    page.keyboard.press("Tab")
    page.keyboard.press("End")
    slider = page.get_by_role("slider", name="depth")
    assert slider.get_attribute("aria-valuetext") == "8"
    assert page.locator("label output").inner_text() == "8"
    assert state(page) == (packed["frames"][4], packed["readouts"][4])
    page.get_by_label("activation").select_option("sigmoid")
    assert state(page) == (packed["frames"][5], packed["readouts"][5])
    slider.focus()
    page.keyboard.press("ArrowLeft")
    assert state(page) == (packed["frames"][3], packed["readouts"][3])


def test_several_on_a_page_are_apart(shown, open_page):
    show()
    show(
        title="Another", parameters={"depth": [3, 5], "activation": ["tanh", "x", "y"]}
    )
    page = open_page(*shown)
    page.get_by_label("activation").nth(1).select_option("y")
    assert page.locator(".vg-read").nth(0).inner_text() == data(shown[0])["readouts"][0]
    assert page.locator(".vg-read").nth(1).inner_text() == data(shown[1])["readouts"][2]
    assert (
        page.evaluate(
            "Object.keys(window).filter(k => /^(root|data|draw|inputs)$/.test(k))"
        )
        == []
    )


def test_text_is_never_markup(shown, open_page):
    show(
        title="<b>t</b>",
        parameters={"kind": ["</script><i>", "b"]},
        curves=lambda kind: {"<u>": [1.0, 2.0]},
        readout="<s>{kind}",
    )
    page = open_page(shown[0])
    assert page.locator("main b, main i, main u, main s").count() == 0
    assert page.locator(".vg-read").inner_text() == "<s></script><i>"


def test_without_scripts_there_is_a_picture_and_no_dead_control(shown, open_page):
    show()
    page = open_page(shown[0], scripts=False)
    assert not page.get_by_role("slider").count()
    assert page.locator(".vg-read").is_visible()
    assert page.get_by_role("img", name=CALL["alt"]).is_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_all_outputs_are_accessible_and_fit(shown, open_page, theme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    import vgutils as vg
    from vgutils.figures import subplots

    show()
    fig, ax = subplots()
    ax.plot([1, 2])
    ax.set(xlabel="x", ylabel="y")
    vg.show(fig, alt=CALL["alt"], caption=CALL["caption"])
    vg.claim("It is so", 1.0, equals=1, source="he2015")
    with pytest.raises(vg.ClaimFailed):
        vg.claim(
            "It is not so",
            1.0,
            equals=2,
            within=vg.rounding(9),
            source="derivation: " + "x" * 90,
        )
    vg.quiz(vg.Question("Is it?", [("yes", True, "It is."), ("no", False, "It is.")]))
    for answer in (..., lambda W, h, g: W.T @ g, 7):
        vg.check("chain_rule.vjp", answer)
    page = open_page(*shown, theme=theme, width=width)
    page.get_by_label("no", exact=True).check()
    page.get_by_role("button", name="Check").click()
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    found = axe.run(page).response["violations"]
    assert not found, [(v["id"], v["nodes"][0]["html"]) for v in found]


def test_outputs_work_in_a_sandboxed_frame(shown, open_page):
    """As on Colab: each output is alone in a frame that may run scripts and nothing else."""
    import html

    show()
    inner = html.escape(shown[0]["text/html"])
    frame = f'<iframe sandbox="allow-scripts" srcdoc="{inner}"></iframe>'
    page = open_page({"text/html": frame})
    inside = page.frame_locator("iframe")
    inside.get_by_label("activation").select_option("sigmoid")
    assert inside.locator(".vg-read").inner_text() == data(shown[0])["readouts"][1]
