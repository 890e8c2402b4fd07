"""The pictures that chapters share: a profile, a loss and a network as it was measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vgutils.figures import COLORS, GRID, SIZE, SOFT, subplots
from vgutils.html import power

QUANTITIES = {
    "gradient_norm": "gradient norm ‖∂L/∂h‖",
    "weight_gradient_norm": "gradient norm ‖∂L/∂W‖",
    "weight_norm": "weight norm ‖W‖",
    "activation_std": "spread of the activations",
    "activation_mean": "mean of the activations",
}


def plot_profile(
    profile: Any,
    *,
    quantity: str = "gradient_norm",
    ax: Any = None,
    label: str | None = None,
) -> Any:
    """Draw one quantity of a profile, layer by layer.

    Leading axes (seeds, settings) become a median line in a band from the smallest to the largest.
    A zero, a NaN or an infinity cannot stand on a log axis and is marked at its lower edge, with a
    word in the legend. Layers without weights are left out of the weights' quantities.

    Args:
        profile: A `Profile`, or a mapping from labels to profiles that share the axes.
        quantity: Which of its fields.
        ax: Axes to draw on; new ones without it.
        label: What the legend calls it.

    Returns:
        The axes.

    Raises:
        ValueError: `quantity` is unknown, a mapping is given with `label`, or there is no layer.

    Example:
        >>> ax = plot_profile({"sigmoid": p, "tanh": q})
        >>> show(ax, alt="…", caption="…")
    """
    if quantity not in QUANTITIES:
        raise ValueError(
            f"quantity must be one of {', '.join(QUANTITIES)}; got {quantity!r}"
        )
    lines = _labelled(profile, label)
    if ax is None:
        _, ax = subplots()
    most = 0
    for name, one in lines.items():
        values = np.atleast_2d(np.asarray(getattr(one, quantity), np.float64))
        if values.shape[-1] == 0:
            raise ValueError("profile has no layer")
        values = values.reshape(-1, values.shape[-1])
        layer = np.arange(1, values.shape[-1] + 1)
        if quantity.startswith("weight"):
            weights = np.asarray(one.weight_norm, np.float64).reshape(
                -1, values.shape[-1]
            )
            has = ~np.isnan(weights).all(axis=0)
            layer, values = layer[has], values[:, has]
        _median_and_band(ax, layer, values, name, log=quantity != "activation_mean")
        most = max(most, len(one.names))
    names = next(iter(lines.values())).names
    if most <= 8 and all(tuple(one.names) == tuple(names) for one in lines.values()):
        ax.set_xticks(
            range(1, most + 1), names, rotation=30 if max(map(len, names)) > 6 else 0
        )
    else:
        from matplotlib.ticker import MaxNLocator

        ax.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    ax.set(xlabel="layer, from input to output", ylabel=QUANTITIES[quantity])
    _legend(ax)
    return ax


def plot_loss(
    history: Any, *, ax: Any = None, label: str | None = None, log: bool = False
) -> Any:
    """Draw the loss over the training steps.

    Leading axes (seeds) become a median line in a band from the smallest to the largest. Steps at
    which a loss is not finite are marked at the lower edge.

    Args:
        history: A `History` or anything with `.loss` (…, steps), or a mapping from labels to them.
        ax: Axes to draw on; new ones without it.
        label: What the legend calls it.
        log: Whether the loss has a log axis.

    Returns:
        The axes.

    Raises:
        ValueError: A mapping is given with `label`, or there is no step.
    """
    if ax is None:
        _, ax = subplots()
    for name, one in _labelled(history, label).items():
        values = np.asarray(one.loss, np.float64)
        if values.size == 0:
            raise ValueError("history has no step")
        values = values.reshape(-1, values.shape[-1])
        # More points than a screen has columns only make the page heavy.
        step = np.unique(np.linspace(0, values.shape[-1] - 1, 400).astype(int))
        _median_and_band(ax, step + 1, values[:, step], name, log=log, markers=False)
    ax.set(xlabel="training step", ylabel="loss")
    _legend(ax)
    return ax


def _labelled(one_or_many: Any, label: str | None) -> dict[str | None, Any]:
    if not isinstance(one_or_many, Mapping):
        return {label: one_or_many}
    if label is not None:
        raise ValueError("label goes with one profile: a mapping has a label for each")
    if not one_or_many:
        raise ValueError("the mapping is empty")
    return dict(one_or_many)


def _median_and_band(
    ax: Any,
    x: np.ndarray,
    values: np.ndarray,
    label: str | None,
    *,
    log: bool,
    markers: bool = True,
) -> None:
    """Draw (samples, positions) as a median, a band, and marks for what the axis cannot hold."""
    finite = np.isfinite(values)
    drawn = finite & (values > 0) if log else finite
    median = np.full(len(x), np.nan)
    for i, (column, keep) in enumerate(zip(values.T, finite.T, strict=True)):
        if keep.any():
            median[i] = np.median(column[keep])
    if log:
        median[median <= 0] = np.nan
        ax.set_yscale("log")
    few = markers and len(x) <= 40
    (line,) = ax.plot(x, median, label=label, **({} if few else {"marker": "none"}))
    if len(values) > 1:
        low = np.where(drawn, values, np.inf).min(axis=0)
        high = np.where(drawn, values, -np.inf).max(axis=0)
        some = drawn.any(axis=0)
        ax.fill_between(
            x, low, high, where=some, color=line.get_color(), alpha=0.18, linewidth=0
        )
    marks = [("not finite", ~finite, "x")]
    if log:
        marks.append(("exactly 0", finite & (values == 0), "v"))
        marks.append(("below 0", finite & (values < 0), "1"))
    for word, where, marker in marks:
        _mark_edge(ax, x[where.any(axis=0)], word, marker, line.get_color())


def _mark_edge(ax: Any, x: np.ndarray, word: str, marker: str, color: str) -> None:
    if not len(x):
        return
    x = x[:: len(x) // 24 + 1]  # Of a long run, as many as can be told apart.
    known = {text for line in ax.get_lines() if (text := line.get_label())}
    ax.plot(
        x,
        np.zeros(len(x)),
        transform=ax.get_xaxis_transform(),
        linestyle="none",
        marker=marker,
        markersize=6,
        markeredgewidth=1.4,
        markerfacecolor="none",
        color=color,
        clip_on=False,
        zorder=3,
        label="_again" if word in known else word,
    )


def _legend(ax: Any) -> None:
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        ax.legend(handles, labels, frameon=False)


def plot_network(profile: Any, *, decades: float = 8, ax: Any = None) -> Any:
    """Draw a measured network: the signal on its way forward, the gradient on its way back.

    Above the layers run arrows from the input to the loss, as wide as the activations spread.
    Below run arrows back, whose width counts decades of the hidden-state gradient's norm: full for
    the largest, a hairline for one that is `decades` smaller. Leading axes (seeds) become medians.
    A gradient of 0, and one that is not finite, is a dotted line with its name.

    Args:
        profile: A `Profile`. Of more than 16 layers, 16 evenly spaced ones are drawn.
        decades: How many powers of ten the arrows' width spans; the same for pictures to compare.
        ax: Axes to draw on; new ones without it.

    Returns:
        The axes, without axis lines.

    Raises:
        ValueError: There is no layer, or `decades` is not a positive number.
    """
    if not (np.isfinite(decades) and decades > 0):
        raise ValueError(f"decades must be a positive number, got {decades!r}")
    layers = len(profile.names)
    if not layers:
        raise ValueError("profile has no layer")
    rows = np.unique(np.linspace(0, layers - 1, min(layers, 16)).round().astype(int))
    spread, gradient = (
        np.median(np.asarray(values, np.float64).reshape(-1, layers), axis=0)[rows]
        for values in (profile.activation_std, profile.gradient_norm)
    )
    if ax is None:
        _, ax = subplots(figsize=(SIZE[0], 2.9))
    ax.axis("off")
    count = len(rows)
    ax.set(xlim=(-0.9, count + 1.9), ylim=(-2.75, 2.15))

    top = _largest(gradient)
    widest = _largest(spread)
    for i, row in enumerate(rows, 1):
        _box(ax, i, str(row + 1), filled=True)
        _arrow(
            ax,
            i,
            forward=True,
            share=_share(spread[i - 1] / widest),
            color=COLORS["blue"],
        )
        below = (
            np.log10(top) - np.log10(gradient[i - 1])
            if _positive(gradient[i - 1])
            else None
        )
        width = None if below is None else max(0.0, 1 - below / decades)
        _arrow(ax, i, forward=False, share=width, color=COLORS["orange"])
    _box(ax, -0.15, "input")
    _box(ax, count + 1.15, "loss")
    _arrow(ax, 0, forward=True, share=0.0, color=SOFT)

    step = -(-count // 7)
    for i in range(count, 0, -step):
        value, size = gradient[i - 1], spread[i - 1]
        word = power(round(np.log10(value))) if _positive(value) else _word(value)
        ax.text(
            i + 0.5,
            -1.36,
            word,
            ha="center",
            va="top",
            fontsize=9.5,
            color=COLORS["orange"],
        )
        word = f"{size:.2g}" if np.isfinite(size) else "not finite"
        ax.text(
            i + 0.5,
            1.36,
            word,
            ha="center",
            va="bottom",
            fontsize=9.5,
            color=COLORS["blue"],
        )
    ax.text(
        -0.6, 2.1, "forward: spread of the activations", va="top", color=COLORS["blue"]
    )
    ax.text(-0.6, -2.35, "backward: gradient norm", va="center", color=COLORS["orange"])
    _wedge(ax, count, top, decades)
    return ax


def _positive(value: float) -> bool:
    return bool(np.isfinite(value) and value > 0)


def _largest(values: np.ndarray) -> float:
    good = values[np.isfinite(values) & (values > 0)]
    return float(good.max()) if good.size else 1.0


def _share(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _word(value: float) -> str:
    return "0" if value == 0 else "not finite"


_FULL = 0.62
"""The width of the widest arrow, in units of the vertical axis."""


def _arrow(
    ax: Any, column: int, *, forward: bool, share: float | None, color: str
) -> None:
    """Draw one arrow over the gap right of `column`, `share` of the full width; None is dotted."""
    from matplotlib.patches import FancyArrow

    height = 0.9 if forward else -0.9
    start, end = (
        (column + 0.1, column + 0.9) if forward else (column + 0.9, column + 0.1)
    )
    if share is None:
        ax.plot(
            [start, end], [height] * 2, ":", color=color, linewidth=1.2, marker="none"
        )
        return
    width = max(_FULL * share, 0.012)
    arrow = FancyArrow(
        start,
        height,
        end - start,
        0,
        width=width,
        head_width=width + 0.16,
        head_length=0.34,
        length_includes_head=True,
        facecolor=color,
        edgecolor="none",
    )
    ax.add_patch(arrow)


def _box(ax: Any, column: float, word: str, *, filled: bool = False) -> None:
    from matplotlib.patches import FancyBboxPatch

    if filled:
        box = FancyBboxPatch(
            (column - 0.36, -0.3),
            0.72,
            0.6,
            boxstyle="round,pad=0,rounding_size=0.1",
            facecolor=GRID,
            edgecolor=SOFT,
            linewidth=0.7,
        )
        ax.add_patch(box)
    ax.text(column, 0, word, ha="center", va="center_baseline", fontsize=9.5)


def _wedge(ax: Any, count: int, top: float, decades: float) -> None:
    """Draw the scale of the backward arrows: how their width counts decades."""
    from matplotlib.patches import Polygon

    left, right, height = 0.62 * (count + 1), count + 0.5, -2.35
    half = _FULL / 2
    corners = [(left, height), (right, height - half), (right, height + half)]
    ax.add_patch(
        Polygon(
            corners, closed=True, facecolor=COLORS["orange"], alpha=0.35, linewidth=0
        )
    )
    first = round(np.log10(top))
    for at, exponent, side in (
        (left, round(first - decades), "right"),
        (right, first, "left"),
    ):
        nudge = -0.12 if side == "right" else 0.12
        ax.text(at + nudge, height, power(exponent), ha=side, va="center", fontsize=9.5)
