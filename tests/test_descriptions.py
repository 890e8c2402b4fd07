"""Long descriptions: every number in them is one of the figure's own."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vgutils as vg
from vgutils.descriptions import MOST, describe
from vgutils.html import number

SERIES = st.lists(
    st.one_of(st.floats(-1e9, 1e9), st.just(np.nan)), min_size=1, max_size=30
)


def sentences(fig) -> list[str]:
    return [sentence for _, told in describe(fig) for sentence in told]


def said(y) -> str:
    fig, ax = vg.subplots()
    ax.plot(y, label="it")
    [sentence] = sentences(fig)
    return sentence


@given(y=SERIES)
@settings(max_examples=100, deadline=None)
def test_ends_and_extremes_are_told_where_they_are(y):
    sentence, y = said(y), np.array(y)
    places = np.flatnonzero(np.isfinite(y))
    if not len(places):
        assert sentence == "it: no finite value."
        return

    def at(place):
        return f"{number(y[place])} at {place}"

    first, last = at(places[0]), at(places[-1])
    steps = np.diff(y[places])
    if np.any(steps < 0) and np.any(steps > 0):
        extremes = f"lowest {at(np.nanargmin(y))}, highest {at(np.nanargmax(y))}"
        assert sentence == f"it: from {first} to {last}; {extremes}."
    elif np.any(steps):
        verb = "falls" if np.any(steps < 0) else "rises"
        assert sentence == f"it: {verb} from {first} to {last}."


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        ([1.0, 0.5, 0.25], "it: falls from 1 at 0 to 0.25 at 2."),
        ([1e-8, 1e-8, 1.0], "it: rises from 10⁻⁸ at 0 to 1 at 2."),
        ([1, 3, 0, 2], "it: from 1 at 0 to 2 at 3; lowest 0 at 2, highest 3 at 1."),
        ([2, 2], "it: 2 from 0 to 1."),
        ([np.nan, 7], "it: 7 at 1."),
        ([], "it: no finite value."),
    ],
)
def test_a_line_is_told_by_its_course(y, expected):
    assert said(y) == expected


def test_axes_are_named_with_their_range_and_scale():
    fig, ax = vg.subplots()
    ax.semilogy([1, 20], [1e-6, 1], label="sigmoid")
    ax.set(title="At the start", xlabel="layer", ylabel="gradient norm")
    [(axes, _)] = describe(fig)
    assert axes == (
        "At the start. Across, layer: 1 to 20. Up, gradient norm: 10⁻⁶ to 1, logarithmic."
    )


def test_names_on_an_axis_are_used():
    fig, ax = vg.subplots()
    ax.bar([0, 1], [0.3, 0.5])
    ax.set_xticks([0, 1], ["SGD", "Adam"])
    assert sentences(fig) == ["Bars: SGD 0.3, Adam 0.5."]
    fig, ax = vg.subplots()
    ax.barh(["SGD", "Adam"], [0.3, 0.5], label="loss")
    assert sentences(fig) == ["loss: SGD 0.3, Adam 0.5."]


def test_zero_after_a_sum_of_steps_is_zero():
    fig, ax = vg.subplots()
    ax.plot([-0.3, 0.1 + 0.2 - 0.3, 0.3], [0, 1, 0], label="peak")
    assert sentences(fig)[0].endswith("highest 1 at 0.")
    fig, ax = vg.subplots()
    ax.loglog([1e-12, 1], [1, 2], label="far down")
    assert sentences(fig) == ["far down: rises from 1 at 10⁻¹² to 2 at 1."]


def test_a_line_over_names():
    fig, ax = vg.subplots()
    ax.plot(["down1", "down2", "up1"], [1, 3, 2], label="skips")
    assert sentences(fig) == [
        "skips: from 1 at down1 to 2 at up1; lowest 1 at down1, highest 3 at down2."
    ]


def test_many_are_told_together():
    fig, ax = vg.subplots()
    ax.bar(range(MOST + 1), range(MOST + 1))
    assert sentences(fig) == [f"Bars: {MOST + 1} bars, 0 to {MOST}."]
    fig, ax = vg.subplots()
    ax.plot(np.arange(6).reshape(2, 3))
    assert sentences(fig) == ["3 lines without a name, 0 to 5."]


def test_lines_from_edge_to_edge_have_one_number():
    fig, ax = vg.subplots()
    ax.axhline(0.25, label="a quarter")
    ax.axvline(3)
    assert sentences(fig) == [
        "a quarter, a line at 0.25, from left to right.",
        "A line at 3, from bottom to top.",
    ]


def test_what_else_there_is():
    fig, ax = vg.subplots()
    ax.errorbar([1, 2], [3, 4], [0.1, 0.2], label="mean")
    ax.scatter([0, 1], [5, 7], label="runs")
    ax.imshow([[0.0, np.nan], [2.0, 1.0]])
    ax.fill_between([1, 2], [0, 0], [1, 1])
    assert sentences(fig) == [
        "A picture of 2 by 2 values, 0 to 2.",
        "mean: rises from 3 at 1 to 4 at 2.",
        "runs: 2 points, across 0 to 1, up 5 to 7.",
    ]


def test_a_drawing_has_no_numbers(shown):
    fig, ax = vg.subplots()
    ax.plot([0, 1], [0, 1], label="an arrow")
    ax.set_axis_off()
    assert describe(fig) == []
    vg.show(
        fig,
        alt="An arrow that points up and to the right",
        caption="The way it goes is up.",
    )
    assert "<details" not in shown[0]["text/html"]


def test_error_bars_may_have_no_label():
    """None with Matplotlib 3.10, as on Colab; now a name that starts with an underscore."""
    fig, ax = vg.subplots()
    ax.errorbar([1, 2], [1, 2], [0.1, 0.1])
    for name in (None, "_nolegend_"):
        ax.containers[0]._label = name
        assert sentences(fig) == ["A line: rises from 1 at 1 to 2 at 2."]


def test_the_page_escapes_what_a_label_says(shown):
    fig, ax = vg.subplots()
    ax.plot([0, 1], label="a < b & c")
    ax.set(xlabel="x", ylabel="y")
    vg.show(
        fig,
        alt="A line that rises from 0 to 1",
        caption="The line rises, as it should.",
    )
    [folded] = re.findall(r"<details.*?</details>", shown[0]["text/html"])
    assert "<li>a &lt; b &amp; c: rises from 0 at 0 to 1 at 1.</li>" in folded


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_unfolds_by_keyboard(shown, open_page, theme):
    fig, ax = vg.subplots()
    ax.plot([0, 1], label="line")
    ax.set(xlabel="x", ylabel="y")
    vg.show(
        fig,
        alt="A line that rises from 0 to 1",
        caption="The line rises, as it should.",
    )
    page = open_page(*shown, theme=theme, width=360)
    page.keyboard.press("Tab")
    assert not page.get_by_text("rises from 0").is_visible()
    page.keyboard.press("Enter")
    assert page.get_by_text("rises from 0").is_visible()
