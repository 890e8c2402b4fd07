"""Figures: what is refused, what the SVG is made of, and what follows the theme."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from vgutils import figures
from vgutils.figures import show, subplots

ALT = "A line that rises from one to three."
CAPTION = "The line rises, as lines like this one do."


def line(label="x", **axes):
    fig, ax = subplots()
    ax.plot([1, 2, 3], [1e-8, 1e-4, 3], label="a line")
    ax.set(**{"xlabel": label, "ylabel": "y"} | axes)
    return fig


def svg(bundle) -> ElementTree.Element:
    return ElementTree.fromstring(
        re.search(r"<svg.*</svg>", bundle["text/html"], re.S)[0]
    )


def ids(bundle) -> list[str]:
    return re.findall(r'\bid="([^"]*)"', bundle["text/html"])


# --- show -----------------------------------------------------------------------------------------


def test_a_figure_has_words_for_all(shown):
    show(line(), alt=ALT, caption="It rises *fast*, as `x` < 3 says.")
    (bundle,) = shown
    root = svg(bundle)
    assert root.get("role") == "img"
    assert root.get("aria-label") == ALT
    assert (
        "<figcaption>It rises <em>fast</em>, as <code>x</code> &lt; 3 says."
        in bundle["text/html"]
    )
    assert ALT in bundle["text/plain"]


def test_colours_follow_the_theme_and_text_stays_text(shown):
    fig = line(title="Title")
    fig.axes[0].axhline(1, color="k")
    legend = fig.axes[0].legend()
    show(fig, alt=ALT, caption=CAPTION)
    content = shown[0]["text/html"].partition("</style>")[2]
    assert not legend.get_frame_on()
    assert "var(--vg-blue)" in content
    assert "var(--vg-grid)" in content
    assert not re.search(r"(fill|stroke): (#|black|white)", content)
    assert "var(--vg-font)" in content
    assert "DejaVu" not in content
    words = "".join(svg(shown[0]).itertext())
    assert "Title" in words
    assert "x" in words


def test_nothing_leaks_to_the_page_or_the_net(shown):
    show(line(), alt=ALT, caption=CAPTION)
    content = shown[0]["text/html"]
    assert content.count("<style") == 1
    assert "metadata" not in content
    addresses = set(re.findall(r"https?://[^\"' <)]+", content))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_a_figure_is_the_same_in_every_run_and_apart_from_others(shown):
    for caption in (CAPTION, CAPTION, CAPTION + " Another."):
        show(line(), alt=ALT, caption=caption)
    first, again, other = shown
    assert first == again
    assert len(ids(first)) == len(set(ids(first)))
    assert len(ids(first)) > 2
    assert not set(ids(first)) & set(ids(other))
    for bundle in (first, other):
        content = bundle["text/html"]
        targets = re.findall(r'(?:href="|url\()#([^")]+)', content)
        assert targets
        assert set(targets) <= set(ids(bundle))


def test_log_axes_are_labelled_in_powers_of_ten(shown):
    show(line(yscale="log"), alt=ALT, caption=CAPTION)
    words = [
        text.text for text in svg(shown[0]).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert "10⁻⁸" in words
    assert not any("mathdefault" in word for word in words if word)


def test_a_short_log_axis_still_has_numbers(shown):
    fig, ax = subplots()
    ax.plot([1, 2], [0.02, 0.06])
    ax.set(xlabel="x", ylabel="y", yscale="log")
    show(fig, alt=ALT, caption=CAPTION)
    words = [
        text.text for text in svg(shown[0]).iter("{http://www.w3.org/2000/svg}text")
    ]
    assert "3 × 10⁻²" in words


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"alt": ""}, ValueError, "alt"),
        ({"alt": "A plot"}, ValueError, "20 characters"),
        ({"caption": "Loss"}, ValueError, "caption"),
        ({"alt": None}, TypeError, "alt"),
        ({"fig": "figure"}, TypeError, "fig"),
        ({"fig": line(label="")}, ValueError, r"axes 0 \(untitled\) need a label on x"),
        (
            {"fig": line(ylabel="", title="Loss")},
            ValueError,
            r"axes 0 \(Loss\) need a label on y",
        ),
    ],
)
def test_what_show_refuses(shown, arguments, error, match):
    call = {"fig": line(), "alt": ALT, "caption": CAPTION} | arguments
    with pytest.raises(error, match=match):
        show(call.pop("fig"), **call)
    assert not shown


def test_labels_may_be_shared(shown):
    fig, axes = subplots(1, 2, sharey=True)
    for ax in axes:
        ax.plot([1, 2])
    axes[0].set_ylabel("y")
    fig.supxlabel("x")
    show(fig, alt=ALT, caption=CAPTION)
    fig, ax = subplots()
    fig.colorbar(ax.imshow(np.eye(3)), label="value")
    ax.set(xlabel="column", ylabel="row")
    show(fig, alt=ALT, caption=CAPTION)
    assert len(shown) == 2


def two_panels(columns=2, **options):
    fig, axes = subplots(1, columns, sharey=True, **options)
    for k, ax in enumerate(axes):
        ax.plot([1, 2, 3], [1, 2, 30 * (k + 1)])
        ax.set(xlabel=f"steps {k}", title=f"title {k}")
    axes[0].set_ylabel("loss")
    return fig


def test_panels_of_a_row_are_pictures_that_can_be_read_alone(shown):
    show(two_panels(), alt=ALT, caption=CAPTION)
    content = shown[0]["text/html"]
    pictures = [
        ElementTree.fromstring(found)
        for found in re.findall(r"<svg.*?</svg>", content, re.S)
    ]
    assert len(pictures) == 2
    assert content.count('role="img"') == content.count(f'aria-label="{ALT}"') == 1
    assert len(set(ids(shown[0]))) == len(ids(shown[0]))
    for k, picture in enumerate(pictures):
        words = set(picture.itertext())
        assert {f"steps {k}", f"title {k}", "loss", "20"} <= words
        assert not {f"steps {1 - k}", f"title {1 - k}"} & words


def test_what_panels_have_in_common_keeps_them_in_one_picture(shown):
    titled, legend, stacked = two_panels(), two_panels(), subplots(2, 1)[0]
    titled.suptitle("Both")
    legend.legend(handles=legend.axes[0].lines, labels=["a line"])
    twin, ax = subplots()
    other = ax.twinx()
    for one in (ax, other, *stacked.axes):
        one.plot([1, 2])
        one.set(xlabel="x", ylabel="y")
    for fig in (titled, legend, stacked, twin):
        show(fig, alt=ALT, caption=CAPTION)
    assert [bundle["text/html"].count("<svg") for bundle in shown] == [1, 1, 1, 1]


def test_a_phone_shows_panels_above_one_another(shown, open_page):
    show(two_panels(), alt=ALT, caption=CAPTION)
    boxes = {}
    for width in (360, 1000):
        pictures = open_page(shown[0], width=width).locator(".vg-figure svg")
        boxes[width] = [pictures.nth(i).bounding_box() for i in range(2)]
    for one, two in boxes.values():
        assert one["height"] == pytest.approx(two["height"], rel=0.2)
    one, two = boxes[360]
    assert one["width"] > 300
    assert two["y"] >= one["y"] + one["height"]
    one, two = boxes[1000]
    assert one["y"] == two["y"]
    assert one["height"] == pytest.approx(two["height"], abs=1)
    assert two["x"] >= one["x"] + one["width"] - 1


def test_a_heavy_figure_is_refused():
    fig, ax = subplots()
    ax.scatter(*np.random.default_rng(0).normal(size=(2, 40_000)))
    ax.set(xlabel="x", ylabel="y")
    with pytest.raises(ValueError, match="fewer points"):
        show(fig, alt=ALT, caption=CAPTION)


def test_pyplot_is_not_loaded_but_its_figures_are_closed(shown):
    script = (
        "import sys; from vgutils.figures import *; fig, ax = subplots(); ax.plot([1]);"
        "ax.set(xlabel='x', ylabel='y'); show(fig, alt='a' * 20, caption='c' * 20);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    fig, ax = pyplot.subplots()
    ax.plot([1])
    ax.set(xlabel="x", ylabel="y")
    show(ax, alt=ALT, caption=CAPTION)
    assert not pyplot.fignum_exists(fig.number)


def test_style_is_left_behind():
    import matplotlib

    before = dict(matplotlib.rcParams)
    with figures.style():
        assert matplotlib.rcParams["axes.grid"]
    assert dict(matplotlib.rcParams) == before
