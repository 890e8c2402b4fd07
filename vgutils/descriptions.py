"""Long descriptions: what the lines and bars of a figure say, read back from matplotlib.

A figure's `alt` says what to see. The sentences made here give the numbers to those who do not see
it, and to those who want them exactly.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from vgutils.html import number

MOST = 12
"""Lines, or bars, that are told one by one; of more only the range is said."""


def describe(fig: Any) -> list[tuple[str, list[str]]]:
    """Say in words what a figure's axes hold.

    Args:
        fig: A matplotlib figure.

    Returns:
        For each axes with numbers in it, its title with its two axes, and a sentence for each
        line, group of bars, cloud of points and picture. Axes that are switched off hold a drawing,
        not numbers: only their pictures are told.
    """
    told = []
    for ax in fig.axes:
        if not ax.get_visible() or getattr(ax, "_colorbar", None) is not None:
            continue
        sentences = list(_contents(ax))
        if sentences:
            told.append((_axes(ax), sentences))
    return told


def _axes(ax: Any) -> str:
    title = ax.get_title() or ax.get_title("left")
    parts = [f"{title[0].upper()}{title[1:]}."] if title else []
    if ax.axison:
        box = ax.dataLim
        parts.append(_axis("Across", ax.xaxis, box.intervalx))
        parts.append(_axis("Up", ax.yaxis, box.intervaly))
    return " ".join(parts)


def _axis(word: str, axis: Any, ends: tuple[float, float]) -> str:
    name = axis.get_label_text()
    scale = ", logarithmic" if axis.get_scale() == "log" else ""
    first, last = (_place(axis, end) for end in ends)
    return f"{word}{f', {name}' if name else ''}: {first} to {last}{scale}."


def _contents(ax: Any) -> Iterator[str]:
    yield from (_picture(image) for image in ax.images)
    if not ax.axison:
        return
    bars = [box for box in ax.containers if hasattr(box, "datavalues")]
    yield from (_bars(ax, box) for box in bars)
    unnamed = []
    named = {
        box.lines[0]: box.get_label() for box in ax.containers if hasattr(box, "lines")
    }  # The name of a line with error bars is not its own.
    for line in ax.lines:
        name = named.get(line, line.get_label())
        across, up = line.get_transform().contains_branch_seperately(ax.transData)
        if not across or not up:  # From axhline or axvline: one number, edge to edge.
            yield _edge_to_edge(ax, line, across)
        elif not name or name.startswith("_"):  # None, with Matplotlib 3.10.
            unnamed.append(line)
        else:
            yield f"{name}: {_course(ax, line)}"
    if len(unnamed) > 1:
        yield _together(unnamed)
    else:
        yield from (f"A line: {_course(ax, line)}" for line in unnamed)
    for cloud in ax.collections:
        if type(cloud).__name__ == "PathCollection" and len(cloud.get_offsets()):
            yield _cloud(cloud)


def _course(ax: Any, line: Any) -> str:
    x, y = (np.asarray(part, float) for part in line.get_data(orig=False))
    finite = np.isfinite(x) & np.isfinite(y)
    x, y = x[finite], y[finite]
    if not len(y):
        return "no finite value."

    def at(index: int) -> str:
        return f"{number(y[index])} at {_place(ax.xaxis, x[index])}"

    if len(y) == 1:
        return f"{at(0)}."
    steps = np.diff(y)
    if np.all(steps == 0):
        return f"{number(y[0])} from {_place(ax.xaxis, x[0])} to {_place(ax.xaxis, x[-1])}."
    if np.all(steps <= 0) or np.all(steps >= 0):
        verb = "falls" if steps.sum() < 0 else "rises"
        return f"{verb} from {at(0)} to {at(-1)}."
    lowest, highest = at(int(y.argmin())), at(int(y.argmax()))
    return f"from {at(0)} to {at(-1)}; lowest {lowest}, highest {highest}."


def _edge_to_edge(ax: Any, line: Any, upright: bool) -> str:
    name = line.get_label()
    name = "A line" if name.startswith("_") else f"{name}, a line"
    if upright:
        return f"{name} at {_place(ax.xaxis, line.get_xdata(orig=False)[0])}, from bottom to top."
    return f"{name} at {number(line.get_ydata(orig=False)[0])}, from left to right."


def _together(lines: list[Any]) -> str:
    values = np.concatenate(
        [np.asarray(line.get_ydata(orig=False), float) for line in lines]
    )
    return f"{len(lines)} lines without a name, {_range(values)}."


def _bars(ax: Any, box: Any) -> str:
    values = np.asarray(box.datavalues, float)
    upright = box.orientation == "vertical"
    name = box.get_label()
    name = "Bars" if name.startswith("_") else name
    if len(values) > MOST:
        return f"{name}: {len(values)} bars, {_range(values)}."
    each = []
    for bar, value in zip(box.patches, values, strict=True):
        x, y = bar.get_center()
        place = _place(ax.xaxis, x) if upright else _place(ax.yaxis, y)
        each.append(f"{place} {number(value)}")
    return f"{name}: {', '.join(each)}."


def _cloud(cloud: Any) -> str:
    x, y = np.asarray(cloud.get_offsets(), float).T
    name = cloud.get_label()
    name = "Points" if name.startswith("_") else name
    return f"{name}: {len(x)} points, across {_range(x)}, up {_range(y)}."


def _picture(image: Any) -> str:
    values = np.ma.masked_invalid(image.get_array())
    if values.ndim == 3:
        return f"A picture of {values.shape[0]} by {values.shape[1]} pixels."
    rows, columns = values.shape
    return f"A picture of {rows} by {columns} values, {_range(values.compressed())}."


def _range(values: np.ndarray) -> str:
    values = values[np.isfinite(values)]
    if not len(values):
        return "none of them finite"
    return f"{number(values.min())} to {number(values.max())}"


def _place(axis: Any, value: float) -> str:
    """A place on an axis: the name that stands there, or the number."""
    from matplotlib import category, ticker

    formatter = axis.get_major_formatter()
    named = isinstance(formatter, ticker.FuncFormatter | category.StrCategoryFormatter)
    linear = axis.get_scale() != "log"
    if linear and abs(value) < 1e-9 * np.ptp(axis.get_view_interval()):
        value = 0.0  # What is left of zero after a sum of steps.
    return (named and formatter(value)) or number(float(value))
