"""Explorables: charts with sliders over results that were computed when the page was made.

Python draws every setting and writes the curves as SVG paths; the page's script only swaps them.
So a picture without scripts, and in print, is the same picture, in its first setting.
"""

from __future__ import annotations

import html
import itertools
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from vgutils.html import digest, display_html, inline, number, power, slug, text

WIDTH, HEIGHT = 560, 344
"""Units of the drawing, about a pixel each."""

FINE = 4
"""Curves are written in whole fractions of a unit: short numbers, and smooth lines."""

LEFT, RIGHT, TOP, BOTTOM = 94, 548, 12, 284
"""The plot's edges; the room on the left and below is for numbers and names."""

LARGEST = 120_000
"""Characters above which a page would grow too heavy."""

_COLORS = ("blue", "orange", "green", "purple", "gold", "grey")
_DASHES: tuple[tuple[int, ...], ...] = (
    (),
    (11, 5),
    (2, 6),
    (13, 5, 2, 5),
    (6, 5),
    (20, 6),
)

_STYLE = (
    ".vg-explore{--vg-tone:var(--vg-blue)}"
    ".vg-explore .vg-title{margin:0 0 .4rem;font-weight:600}"
    ".vg-explore .vg-row{display:flex;flex-wrap:wrap;gap:.4rem 1.6rem;align-items:center;"
    "font-size:.9rem;margin:.3rem 0}"
    ".vg-explore .vg-row label{display:flex;gap:.6rem;align-items:center;flex:0 1 auto}"
    ".vg-explore input{width:9rem;min-width:5rem;accent-color:var(--vg-blue)}"
    ".vg-explore label output{min-width:2.6em;font-weight:600;font-variant-numeric:tabular-nums}"
    ".vg-explore svg{display:block;width:100%;max-width:35rem;height:auto;background:none;"
    "margin:0 auto;fill:var(--vg-ink)}"
    ".vg-explore .vg-row svg{display:inline;width:2.2rem;flex:none;margin:0 .4rem 0 0}"
    ".vg-explore .vg-row span{display:flex;align-items:center}"
    ".vg-explore .vg-read{min-height:1.5em;font-weight:600;margin:.2rem 0}"
    ".vg-explore figcaption{margin:.3rem 0 0;padding:0;font-size:.9rem;font-weight:400;"
    "color:var(--vg-soft);text-align:left}"
    "@media(max-width:30rem){.vg-explore.vg-box{padding:.7rem .6rem}}"
    ".vg-explore:not([data-ready]) .vg-set{display:none}"
)

_SCRIPT = """
document.querySelectorAll('.vg-explore:not([data-ready])').forEach(function (root) {
  root.setAttribute('data-ready', '');
  var data = JSON.parse(root.querySelector('script[type="application/json"]').textContent);
  var inputs = root.querySelectorAll('.vg-set input, .vg-set select');
  var paths = root.querySelectorAll('path[data-curve]');
  function draw() {
    var at = 0;
    inputs.forEach(function (input, k) {
      var values = data.values[k], i = +input.value, box = input.nextElementSibling;
      at = at * values.length + i;
      if (box) { box.textContent = values[i]; input.setAttribute('aria-valuetext', values[i]); }
    });
    paths.forEach(function (path, k) { path.setAttribute('d', data.frames[at][k]); });
    root.querySelector('.vg-read').textContent = data.readouts[at];
  }
  inputs.forEach(function (input) { input.addEventListener('input', draw); });
  draw();
});
"""

Curves = Any
"""(n,) values, (seeds, n) values, or a mapping from labels to either."""


def explorable(
    title: str,
    *,
    parameters: Mapping[str, Sequence[Any]],
    curves: Callable[..., Curves],
    x: Any = None,
    x_label: str,
    y_label: str,
    x_scale: str = "linear",
    y_scale: str = "linear",
    y_limits: tuple[float, float] | None = None,
    readout: str | Callable[..., str] = "",
    start: Mapping[str, Any] | None = None,
    alt: str,
    caption: str,
    id: str | None = None,
) -> None:
    """Show a chart that the reader changes with one to four sliders or menus.

    `curves` is called once for each combination of the parameters; the page holds the drawings.
    The axes are the same for all of them, so that a change that is seen is a change in the data.
    What an axis cannot hold is marked on its lower edge: ▽ for 0 on a log axis, × for NaN and
    infinity, each with a word in the legend.

    Args:
        title: What can be explored, in a few words.
        parameters: For each name the values to choose from: numbers make a slider, texts a menu.
        curves: Called with the parameters by name; returns (n,) values, or (seeds, n) for a median
            line in a band from smallest to largest, or a mapping from labels to either. The labels
            are the same in all settings; n may differ.
        x: The positions of the values: (n,), or a function of the parameters that returns them;
            1, 2, 3, … without it.
        x_label: Name and unit of the horizontal axis.
        y_label: The same of the vertical axis.
        x_scale: "linear" or "log".
        y_scale: "linear" or "log".
        y_limits: The vertical axis' ends; without it all settings fit.
        readout: A sentence about the setting in view: a function of the parameters, or a template
            with their names in braces and, where there is one curve, `{first}`, `{last}`,
            `{smallest}`, `{largest}` and `{ratio}` (first over last) of it (of its median).
        start: The setting to begin with, by name; the first values without it.
        alt: What the chart shows, for a reader who does not see it; at least 20 characters.
        caption: What to see in it; at least 20 characters.
        id: The name of its anchor; otherwise made from the title.

    Raises:
        TypeError: `curves` is not a function, or returns something else than numbers.
        ValueError: A shape, a label, a scale, a name in `readout` or `start` does not fit, there is
            nothing to draw, or the page would grow too heavy.

    Example:
        >>> explorable(
        ...     "How far back does the gradient reach?",
        ...     parameters={"depth": [2, 4, 8, 16], "activation": ["sigmoid", "tanh"]},
        ...     curves=lambda depth, activation: norms[depth, activation],  # (seeds, depth)
        ...     x_label="layer", y_label="gradient norm ‖∂L/∂h‖", y_scale="log",
        ...     readout="At depth {depth} the first layer receives {ratio} of the last one's.",
        ...     alt="Gradient norms by layer, which fall toward the input the deeper the network.",
        ...     caption="Each sigmoid layer costs the same factor, so depth costs a power of it.")
    """
    title = text("title", title)
    alt, caption = text("alt", alt, shortest=20), text("caption", caption, shortest=20)
    values = _parameters(parameters)
    settings = [
        dict(zip(values, row, strict=True))
        for row in itertools.product(*values.values())
    ]
    drawn = [_curves(curves, x, setting) for setting in settings]
    labels = list(drawn[0])
    for setting, lines in zip(settings, drawn, strict=True):
        if list(lines) != labels:
            raise ValueError(
                f"curves at {setting} have labels {list(lines)}, not {labels}"
            )
    if len(labels) > len(_COLORS):
        raise ValueError(
            f"curves has {len(labels)} lines, at most {len(_COLORS)} can be told apart"
        )
    everything = [line for lines in drawn for line in lines.values()]
    across = _Axis("x_scale", x_scale, [p for p, _ in everything], LEFT, RIGHT)
    limits = (
        [np.asarray(y_limits, float)]
        if y_limits is not None
        else [v for _, v in everything]
    )
    up = _Axis(
        "y_scale",
        y_scale,
        limits,
        BOTTOM,
        TOP,
        margin=0 if y_limits is not None else 0.05,
    )
    if not across.inside(np.concatenate([p for p, _ in everything])).all():
        raise ValueError(f"x must be finite{' and above 0' * across.log}")

    frames = [
        [piece for p, v in lines.values() for piece in _draw(across, up, p, v)]
        for lines in drawn
    ]
    readouts = [
        _readout(readout, setting, lines)
        for setting, lines in zip(settings, drawn, strict=True)
    ]
    first = _start(start, values)
    at = settings.index({k: values[k][i] for k, i in zip(values, first, strict=True)})
    shown = {
        k: [v if isinstance(v, str) else number(v) for v in row]
        for k, row in values.items()
    }
    data = {"values": list(shown.values()), "frames": frames, "readouts": readouts}
    packed = json.dumps(data, separators=(",", ":"), ensure_ascii=False).replace(
        "<", "\\u003c"
    )
    if len(packed) > LARGEST:
        raise ValueError(
            f"the explorable is {len(packed) / 1e3:.0f} KB, at most {LARGEST / 1e3:.0f}: "
            f"give fewer than {len(settings)} settings, or fewer points"
        )
    name = f"explore-{slug(title, 40)}" if id is None else text("id", id)
    marks = [
        any(frame[4 * i + k] for frame in frames for i in range(len(labels)))
        for k in (0, 2, 3)
    ]
    body = (
        f'<figure class="vg-explore vg-box" id="{html.escape(name)}" '
        f'aria-label="{html.escape(title)}">'
        f'<div class="vg-tag">Explore</div><p class="vg-title">{inline(title)}</p>'
        f'<div class="vg-row vg-set">{_controls(shown, values, first)}</div>'
        f"{_svg(across, up, x_label, y_label, alt, frames[at], clip=f'c{digest(name)}')}"
        f"{_key(labels, marks)}"
        f'<p class="vg-read" aria-live="polite">{html.escape(readouts[at])}</p>'
        f"<figcaption>{inline(caption)}</figcaption>"
        f'<script type="application/json">{packed}</script></figure><script>{_SCRIPT}</script>'
    )
    view = ", ".join(
        f"{k} {row[i]}" for (k, row), i in zip(shown.items(), first, strict=True)
    )
    plain = f"[explore: {title}. {alt}]\n{caption}\n{view}: {readouts[at]}"
    display_html(body, plain, style=_STYLE)


def _parameters(parameters: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    if not isinstance(parameters, Mapping) or not 1 <= len(parameters) <= 4:
        raise ValueError("parameters must map one to four names to their values")
    made = {}
    for name, row in parameters.items():
        if not str(name).isidentifier():
            raise ValueError(
                f"a parameter's name is used as an argument's: {name!r} cannot be one"
            )
        made[name] = [v.item() if isinstance(v, np.generic) else v for v in row]
        if len(made[name]) < 2 or len({str(v) for v in made[name]}) < len(made[name]):
            raise ValueError(
                f"parameter {name!r} needs two or more values, all different"
            )
        if any(
            not isinstance(v, int | float | str) or isinstance(v, bool)
            for v in made[name]
        ):
            raise ValueError(
                f"the values of {name!r} must be numbers or texts, got {made[name]}"
            )
        if len({isinstance(v, str) for v in made[name]}) > 1:
            raise ValueError(f"the values of {name!r} must be all numbers or all texts")
    return made


def _start(start: Mapping[str, Any] | None, values: dict[str, list[Any]]) -> list[int]:
    for name, value in (start or {}).items():
        if value not in values.get(name, []):
            raise ValueError(
                f"start gives {name}={value!r}, which is not among the parameters"
            )
    return [row.index((start or {}).get(name, row[0])) for name, row in values.items()]


def _curves(
    curves: Callable[..., Curves], x: Any, setting: dict[str, Any]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return for each label the positions (n,) and the values (seeds, n)."""
    if not callable(curves):
        raise TypeError(
            f"curves must be a function of the parameters, got {type(curves).__name__}"
        )
    given = curves(**setting)
    made = {}
    for label, one in (given if isinstance(given, Mapping) else {"": given}).items():
        try:
            values = np.asarray(one, np.float64)
        except (TypeError, ValueError):
            raise TypeError(
                f"curves at {setting} are not numbers: {one!r:.80}"
            ) from None
        if values.ndim not in (1, 2) or values.size == 0:
            raise ValueError(
                f"curves at {setting} must have shape (n,) or (seeds, n), got {values.shape}"
            )
        values = np.atleast_2d(values)
        at = x(**setting) if callable(x) else x
        n = values.shape[1]
        positions = np.arange(1.0, n + 1) if at is None else np.asarray(at, np.float64)
        if positions.shape != (n,):
            raise ValueError(
                f"x at {setting} has shape {positions.shape}, the values have n = {n}"
            )
        made[str(label)] = (positions, values)
    if not made:
        raise ValueError(f"curves at {setting} are empty")
    return made


def _readout(
    readout: str | Callable[..., str],
    setting: dict[str, Any],
    lines: dict[str, tuple[np.ndarray, np.ndarray]],
) -> str:
    if callable(readout):
        return text("readout", readout(**setting))
    fields = {k: v if isinstance(v, str) else number(v) for k, v in setting.items()}
    if len(lines) == 1:
        ((_, values),) = lines.values()
        line = np.median(
            values, axis=0
        )  # NaN where any seed's value is, and that is said.
        with np.errstate(all="ignore"):
            facts = (line[0], line[-1], line.min(), line.max(), line[0] / line[-1])
        words = ("first", "last", "smallest", "largest", "ratio")
        fields |= {
            word: number(float(fact)) for word, fact in zip(words, facts, strict=True)
        }
    try:
        return readout.format(**fields)
    except (KeyError, IndexError):
        raise ValueError(
            f"readout may name {', '.join(fields)}; got {readout!r}"
        ) from None


class _Axis:
    """A scale that fits data, its ticks, and the way from values to the drawing's units."""

    def __init__(
        self,
        name: str,
        scale: str,
        data: list[np.ndarray],
        start: float,
        end: float,
        margin: float = 0.03,
    ) -> None:
        if scale not in ("linear", "log"):
            raise ValueError(f'{name} must be "linear" or "log", got {scale!r}')
        self.log, self.start, self.end = scale == "log", start, end
        values = np.concatenate([d.ravel() for d in data])
        values = self._warp(values[self.inside(values)])
        if not values.size:
            raise ValueError(
                f"nothing can be drawn on a {scale} axis: no value is finite"
            )
        low, high = float(values.min()), float(values.max())
        if high - low < 1e-9 * max(1.0, abs(low)):
            low, high = low - 0.5, high + 0.5
        room = margin * (high - low)
        self.low, self.high = low - room, high + room

    def _warp(self, values: np.ndarray) -> np.ndarray:
        return np.log10(values) if self.log else values

    def inside(self, values: np.ndarray) -> np.ndarray:
        """Tell which values the axis can hold."""
        return np.isfinite(values) & (values > (0 if self.log else -np.inf))

    def place(self, values: Any) -> np.ndarray:
        """Map values to whole fractions (`FINE`) of the drawing's units."""
        share = (self._warp(np.asarray(values, float)) - self.low) / (
            self.high - self.low
        )
        return np.rint(FINE * (self.start + share * (self.end - self.start))).astype(
            int
        )

    def ticks(self, most: int) -> list[tuple[int, str]]:
        """Place at most about `most` round numbers, with their words."""
        span = self.high - self.low
        if self.log and span > 1.2:
            step = next(
                s for s in (1, 2, 3, 5, 10, 20, 50, 100, 200) if span / s <= most
            )
            first = math.ceil(self.low / step) * step
            exponents = range(first, math.floor(self.high) + 1, step)
            return [(int(self.place(10.0**e)) // FINE, power(e)) for e in exponents]
        low, high = (10**self.low, 10**self.high) if self.log else (self.low, self.high)
        raw = (high - low) / most
        unit = 10.0 ** math.floor(math.log10(raw))
        width = next(unit * s for s in (1, 2, 5, 10) if unit * s >= raw)
        rounds = np.arange(math.ceil(low / width), math.floor(high / width) + 1) * width
        return [
            (int(self.place(v)) // FINE, number(float(f"{v:.6g}"), 5)) for v in rounds
        ]


def _draw(
    across: _Axis, up: _Axis, positions: np.ndarray, values: np.ndarray
) -> list[str]:
    """Draw one line: its band, itself, its zeros and what is not finite, as four paths."""
    x = across.place(positions)
    good = up.inside(values)
    finite = np.isfinite(values)
    median = np.array(
        [
            np.median(v[k]) if k.any() else np.nan
            for v, k in zip(values.T, finite.T, strict=True)
        ]
    )
    band = ""
    if len(values) > 1:
        high = np.where(good, values, -np.inf).max(axis=0)
        low = np.where(good, values, np.inf).min(axis=0)
        for run in _runs(good.any(axis=0)):
            ahead = list(zip(x[run], up.place(high[run]), strict=True))
            back = list(zip(x[run], up.place(low[run]), strict=True))[::-1]
            band += _path(ahead + back) + "z"
    line = "".join(
        _path(list(zip(x[run], up.place(median[run]), strict=True)))
        for run in _runs(up.inside(median))
    )
    edge = FINE * BOTTOM
    zeros = "".join(
        f"M{i - 28} {edge - 28}h56l-28 48z" for i in x[(finite & ~good).any(axis=0)]
    )
    lost = "".join(
        f"M{i - 24} {edge - 24}l48 48m0-48l-48 48" for i in x[(~finite).any(axis=0)]
    )
    return [band, line, zeros, lost]


def _runs(keep: Any) -> list[slice]:
    """Split into runs of neighbours that are kept: a gap in the data is a gap in the line."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], keep.astype(int), [0]])))
    return [slice(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _path(points: list[tuple[int, int]]) -> str:
    """Write points as a path of relative steps; a lone point becomes a dot."""
    steps = [f"M{points[0][0]} {points[0][1]}l"]
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        steps.append(f"{x1 - x0}{'' if y1 < y0 else ' '}{y1 - y0} ")
    return "".join(steps).strip() if len(points) > 1 else f"{steps[0][:-1]}h0"


def _controls(
    shown: dict[str, list[str]], values: dict[str, list[Any]], first: list[int]
) -> str:
    made = []
    for (name, words), at in zip(shown.items(), first, strict=True):
        label = html.escape(name.replace("_", " "))
        if isinstance(values[name][0], str):
            options = "".join(
                f'<option value="{i}"{" selected" * (i == at)}>{html.escape(word)}</option>'
                for i, word in enumerate(words)
            )
            made.append(f"<label>{label} <select>{options}</select></label>")
        else:
            made.append(
                f'<label>{label} <input type="range" min="0" max="{len(words) - 1}" step="1" '
                f'value="{at}" aria-valuetext="{words[at]}"><output>{words[at]}</output></label>'
            )
    return "".join(made)


def _svg(
    across: _Axis,
    up: _Axis,
    x_label: str,
    y_label: str,
    alt: str,
    frame: list[str],
    *,
    clip: str,
) -> str:
    parts = []
    for at, word in up.ticks(6):
        parts.append(f'<path d="M{LEFT} {at}H{RIGHT}" stroke="var(--vg-grid)"/>')
        parts.append(
            f'<text x="{LEFT - 10}" y="{at + 6}" text-anchor="end">{word}</text>'
        )
    for at, word in across.ticks(7):
        parts.append(f'<path d="M{at} {BOTTOM}v6" stroke="var(--vg-soft)"/>')
        parts.append(
            f'<text x="{at}" y="{BOTTOM + 24}" text-anchor="middle">{word}</text>'
        )
    parts.append(
        f'<path d="M{LEFT} {TOP}V{BOTTOM}H{RIGHT}" fill="none" stroke="var(--vg-soft)"/>'
    )
    center, middle = (LEFT + RIGHT) // 2, (TOP + BOTTOM) // 2
    for name, label, place in (
        ("x_label", x_label, f'x="{center}" y="{HEIGHT - 8}"'),
        ("y_label", y_label, f'transform="translate(20 {middle}) rotate(-90)"'),
    ):
        words = html.escape(text(name, label))
        parts.append(
            f'<text {place} text-anchor="middle" font-size="17.5">{words}</text>'
        )
    parts.append(f'<g clip-path="url(#{clip})"><g transform="scale({1 / FINE})">')
    for i, path in enumerate(frame):
        color = f"var(--vg-{_COLORS[i // 4]})"
        looks = [
            f'fill="{color}" fill-opacity=".18"',
            f'fill="none" stroke="{color}" stroke-width="12" stroke-linecap="round" '
            f'stroke-dasharray="{_dash(i // 4, FINE)}"',
            f'fill="var(--vg-panel)" stroke="{color}" stroke-width="10"',
            f'fill="none" stroke="{color}" stroke-width="10"',
        ]
        parts.append(f'<path data-curve="{i}" d="{path}" {looks[i % 4]}/>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(alt)}" font-size="16.5"><clipPath id="{clip}"><rect x="{LEFT}" '
        f'y="{TOP - 4}" width="{RIGHT - LEFT + 4}" height="{BOTTOM - TOP + 12}"/></clipPath>'
        f"{''.join(parts)}</g></g></svg>"
    )


def _dash(line: int, scale: int) -> str:
    return " ".join(str(n * scale) for n in _DASHES[line]) or "none"


def _key(labels: list[str], marks: list[bool]) -> str:
    """Make the legend, in HTML so that it wraps on a phone."""

    def entry(picture: str, word: str) -> str:
        svg = f'<svg viewBox="0 0 56 20" aria-hidden="true">{picture}</svg>'
        return f"<span>{svg}{html.escape(word)}</span>"

    entries = [
        entry(
            f'<path d="M2 10H54" fill="none" stroke="var(--vg-{_COLORS[i]})" stroke-width="4" '
            f'stroke-dasharray="{_dash(i, 1)}"/>',
            label,
        )
        for i, label in enumerate(labels)
        if label
    ]
    pen = 'fill="none" stroke="var(--vg-ink)" stroke-width="3"'
    if marks[0]:
        entries.append(
            entry('<path d="M2 3h52v14H2z" opacity=".25"/>', "range over seeds")
        )
    if marks[1]:
        entries.append(entry(f'<path d="M21 4h14l-7 12z" {pen}/>', "0, or below"))
    if marks[2]:
        entries.append(
            entry(f'<path d="M22 4l12 12m0-12l-12 12" {pen}/>', "not finite")
        )
    return f'<div class="vg-row">{"".join(entries)}</div>' if entries else ""
