"""Figures: one style, drawn as text-searchable SVG whose colours follow the page's theme.

matplotlib is loaded when a figure is made, pyplot never: it costs more than a second a kernel.
"""

from __future__ import annotations

import contextlib
import html
import io
import itertools
import re
import sys
from collections.abc import Iterator
from typing import Any

from vgutils.descriptions import describe
from vgutils.html import PALETTE, display_html, inline, power, slug, text

COLORS = {
    name: PALETTE[name][0]
    for name in ("blue", "orange", "green", "purple", "gold", "grey")
}
"""Six colours in the order in which lines take them; on a page they follow its theme."""

INK, SOFT, GRID = (PALETTE[name][0] for name in ("ink", "soft", "grid"))

SIZE = (5.0, 3.1)
"""Inches. At 340 px, a phone, text of 10 points is still 9.4 px high."""

LARGEST = 600_000
"""Bytes of SVG above which `show` refuses a figure: a page has 1.5 MB for everything."""

_MARKERS = ("o", "s", "^", "D", "v", "P")
_DASHES = (
    "-",
    (0, (5, 1.5)),
    (0, (1.2, 1.4)),
    (0, (6, 1.5, 1.2, 1.5)),
    (0, (3, 1.2)),
    (0, (9, 2)),
)

_STYLE = (
    ".vg-figure{margin:1.2rem 0;max-width:46rem;color:var(--vg-ink);font:16px/1.5 var(--vg-font)}"
    ".vg-figure svg{display:block;width:100%;height:auto;margin:0 auto;background:none;"
    "fill:var(--vg-ink)}"
    ".vg-panels{display:flex;flex-wrap:wrap;justify-content:center;align-items:flex-start;"
    "row-gap:.6rem}"
    ".vg-figure .vg-panels svg{width:auto;min-width:min(100%,15rem);margin:0}"
    ".vg-figure figcaption{margin:.4rem auto 0;max-width:40rem;font-size:.9rem;font-weight:400;"
    "padding:0;color:var(--vg-soft);text-align:left}"
    ".vg-figure details.vg-numbers{margin:.2rem 0 0;padding:0;border:0;background:none}"
    ".vg-figure .vg-numbers summary{padding:0;font-size:.85rem;font-weight:400;cursor:pointer}"
    ".vg-figure .vg-numbers :is(p,ul){margin:.3rem 0;font-size:.85rem}"
    ".vg-figure .vg-numbers ul{padding-left:1.2rem}"
    "@media print{.vg-figure .vg-numbers{display:none}}"
)


def _settings() -> Any:
    from cycler import cycler

    return {
        "figure.figsize": SIZE,
        "figure.facecolor": "none",
        "figure.constrained_layout.use": True,
        "axes.facecolor": "none",
        "axes.edgecolor": SOFT,
        "axes.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.labelsize": 10.5,
        "axes.titlesize": 11,
        "axes.titlelocation": "left",
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "axes.prop_cycle": cycler(
            color=list(COLORS.values()),
            marker=list(_MARKERS),
            linestyle=list(_DASHES),
            markersize=[3.5] * 6,
            linewidth=[1.7] * 6,
            markeredgewidth=[0.8] * 6,
        ),
        "font.size": 10,
        "grid.color": GRID,
        "grid.linewidth": 0.6,
        "legend.fontsize": 10,
        "legend.frameon": False,
        "text.color": INK,
        "xtick.color": SOFT,
        "ytick.color": SOFT,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": 9.8,
        "ytick.labelsize": 9.8,
    }


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Draw in the book's style inside this context; outside nothing has changed.

    Example:
        >>> with style():
        ...     fig, ax = subplots()
        ...     ax.bar(names, values)
    """
    import matplotlib

    with matplotlib.rc_context(_settings()):
        yield


def subplots(rows: int = 1, columns: int = 1, **options: Any) -> tuple[Any, Any]:
    """Make a figure and its axes in the book's style, without pyplot (nothing to close).

    Args:
        rows: Axes above one another.
        columns: Axes side by side. A phone shows the axes of a single row one above the other.
        **options: As for `matplotlib.figure.Figure.subplots`; `figsize` in inches.

    Returns:
        The figure, and its axes (one, or an array of them).
    """
    from matplotlib.figure import Figure

    figsize = options.pop(
        "figsize", (SIZE[0] * (1 + 0.45 * (columns - 1)), SIZE[1] * rows)
    )
    with style():
        fig = Figure(figsize=figsize)
        return fig, fig.subplots(rows, columns, **options)


def show(fig: Any, *, alt: str, caption: str, id: str | None = None) -> None:
    """Put a figure on the page, with the words that those need who cannot see it.

    Axes side by side become pictures of their own, each with all its labels: where there is no room
    for them, on a phone, they stand one above the other.

    Args:
        fig: A matplotlib figure, or any of its axes. It is closed.
        alt: What the picture shows, for a reader who does not see it; at least 20 characters.
        caption: What to see in it; `` `code` `` and `*emphasis*` are shown. At least 20 characters.
        id: The name of its anchor; otherwise made from the caption.

    Raises:
        TypeError: `alt` or `caption` is not a string, or `fig` is no figure.
        ValueError: `alt` or `caption` is too short, an axis has no label, or the SVG is too large.

    Example:
        >>> fig, ax = subplots()
        >>> ax.plot(x, jax.nn.sigmoid(x), label="σ")
        >>> ax.set(xlabel="x", ylabel="σ(x)")
        >>> show(fig, alt="An S-shaped curve that rises from 0 to 1 around x = 0.",
        ...      caption="The sigmoid is flat on both sides: there its slope is nearly 0.")
    """
    from matplotlib.figure import FigureBase

    if not isinstance(getattr(fig, "figure", None), FigureBase):
        raise TypeError(f"fig must be a matplotlib figure or axes, got {fig!r}")
    drawn: Any = fig.figure
    alt, caption = text("alt", alt, shortest=20), text("caption", caption, shortest=20)
    for index, ax in enumerate(drawn.axes):
        _demand_labels(drawn, ax, index)
        _write_powers(ax)
        if ax.get_legend() is not None:
            ax.get_legend().set_frame_on(False)
    name = f"fig-{slug(caption, 40)}" if id is None else text("id", id)
    panels = _panels(drawn)
    picture = (
        _side_by_side(drawn, panels, alt=alt, name=name)
        if panels
        else to_svg(drawn, alt=alt, name=name)
    )
    if len(picture) > LARGEST:
        raise ValueError(
            f"the figure is {len(picture) / 1e3:.0f} KB of SVG, at most {LARGEST / 1e3:.0f}: "
            "draw fewer points (every tenth step), or give dense artists rasterized=True"
        )
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close(drawn)
    body = (
        f'<figure class="vg-figure" id="{html.escape(name)}">{picture}'
        f"<figcaption>{inline(caption)}{_in_numbers(drawn)}</figcaption></figure>"
    )
    display_html(body, f"[figure: {alt}]\n{caption}", style=_STYLE)


def _in_numbers(fig: Any) -> str:
    """The figure's long description, folded; nothing where a drawing holds no numbers."""
    parts = "".join(
        f"<p>{html.escape(axes)}</p><ul>"
        + "".join(f"<li>{html.escape(sentence)}</li>" for sentence in sentences)
        + "</ul>"
        for axes, sentences in describe(fig)
    )
    summary = "<summary>The figure in numbers</summary>"
    return f'<details class="vg-numbers">{summary}{parts}</details>' if parts else ""


def _panels(fig: Any) -> list[Any]:
    """The axes of a figure that is one row of them and nothing else; otherwise none."""
    places = [ax.get_subplotspec() for ax in fig.axes]  # None for a colour bar.
    if len(places) < 2 or None in places:
        return []
    grid = places[0].get_gridspec()
    whole = all(place.get_gridspec() is grid for place in places)
    one_row = (grid.nrows, grid.ncols) == (1, len(places))
    rest = set(fig.get_children()) - {fig.patch, *fig.axes}  # A title, a common legend.
    return fig.axes if whole and one_row and not rest else []


def _side_by_side(fig: Any, panels: list[Any], *, alt: str, name: str) -> str:
    """Draw each panel as a picture of its own, cut out of the one figure."""
    from matplotlib.transforms import Bbox

    for ax in panels:  # What it shares with its neighbour is not beside it on a phone.
        ax.tick_params(labelleft=True, labelbottom=True)
        for axis in "xy":
            sharing = getattr(ax, f"get_shared_{axis}_axes")().get_siblings(ax)
            labels = [getattr(one, f"get_{axis}label")() for one in (ax, *sharing)]
            ax.set(**{f"{axis}label": next(filter(None, labels), "")})
    fig.draw_without_rendering()
    fig.set_layout_engine("none")
    width, height = fig.get_size_inches()
    inches = fig.dpi_scale_trans.inverted()
    spans = [ax.get_tightbbox().transformed(inches) for ax in panels]
    between = [(left.x1 + right.x0) / 2 for left, right in itertools.pairwise(spans)]
    pictures = []
    for i, (ax, cut) in enumerate(
        zip(panels, itertools.pairwise([0, *between, width]), strict=True)
    ):
        for other in panels:
            other.set_visible(other is ax)
        part = Bbox([[cut[0], 0], [cut[1], height]])
        pictures.append(to_svg(fig, alt=None, name=f"{name}-{i}", part=part))
    for ax in panels:
        ax.set_visible(True)
    label = f'role="img" aria-label="{html.escape(alt)}"'
    return f'<div class="vg-panels" {label}>{"".join(pictures)}</div>'


def to_svg(fig: Any, *, alt: str | None, name: str, part: Any = None) -> str:
    """Draw a figure as inline SVG, the same bytes in every run.

    Args:
        fig: A matplotlib figure.
        alt: Its description; None where what is around it has one.
        name: The salt of its ids, which keeps them apart from those of the page's other figures.
        part: The part to draw, a `matplotlib.transforms.Bbox` in inches; all of it if not given.
            Parts beside one another share their room in proportion to their widths.
    """
    import matplotlib

    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name}):
        fig.savefig(
            buffer,
            format="svg",
            transparent=True,
            metadata={"Date": None},
            bbox_inches=part,
        )
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.S)
    # matplotlib's one style rule would hold for the whole page: say the same on the root.
    svg = re.sub(r"<defs>\s*<style[^>]*>.*?</style>\s*</defs>", "", svg, flags=re.S)
    svg = svg.replace("xlink:href", "href")
    svg = re.sub(r' transform="rotate\(-0 [^"]*"', "", svg)
    svg = re.sub(r" id=\"([^\"]*)\"", lambda m: m[0] if f"#{m[1]}" in svg else "", svg)
    svg = _theme(re.sub(r"\d+\.\d{3,}(?=[^<>]*>)", lambda m: f"{float(m[0]):.2f}", svg))
    box = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert box is not None
    width = float(box[1])
    label = (
        'aria-hidden="true"'
        if alt is None
        else f'role="img" aria-label="{html.escape(alt)}"'
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{box[0].split(chr(34))[1]}" {label} '
        f'stroke-linejoin="round" stroke-linecap="butt" '
        f'style="{"" if part is None else f"flex:{width:.0f} 1 0;"}max-width:{width * 1.45:.0f}px">'
    )
    return re.sub(r"\s*\n\s*", "\n", re.sub(r"^<svg[^>]*>", head, svg))


def _theme(svg: str) -> str:
    """Replace the palette's light colours by variables, and the font by the page's."""
    names = {pair[0]: name for name, pair in reversed(PALETTE.items())}
    names |= {"#000000": "ink", "black": "ink", "white": "paper"}

    def color(match: re.Match[str]) -> str:
        name = names.get(match[2].lower())
        return f"{match[1]}: var(--vg-{name})" if name else match[0]

    svg = re.sub(
        r"\b(fill|stroke|stop-color): (#[0-9a-fA-F]{6}|black|white)\b", color, svg
    )
    return re.sub(r"'DejaVu Sans'[^;\"]*", "var(--vg-font)", svg)


def _demand_labels(fig: Any, ax: Any, index: int) -> None:
    if not (ax.get_visible() and ax.axison and ax.has_data()):
        return
    if getattr(ax, "_colorbar", None) is not None:  # Its short side has nothing to say.
        missing = "" if ax.get_xlabel() or ax.get_ylabel() else "x or y"
    else:
        labels = {
            "x": (ax.xaxis, fig.get_supxlabel(), ax.get_shared_x_axes(), ax.get_xlabel),
            "y": (ax.yaxis, fig.get_supylabel(), ax.get_shared_y_axes(), ax.get_ylabel),
        }
        missing = " and ".join(
            letter
            for letter, (axis, common, shared, own) in labels.items()
            if axis.get_visible()
            and not (own() or common)
            and not any(
                getattr(other, own.__name__)() for other in shared.get_siblings(ax)
            )
        )
    if missing:
        title = ax.get_title() or ax.get_title("left") or "untitled"
        raise ValueError(
            f"axes {index} ({title}) need a label on {missing}: ax.set(xlabel=…)"
        )


def _write_powers(ax: Any) -> None:
    """Label logarithmic axes as 10⁻⁸, in plain text that any font of the reader's shows."""
    from matplotlib import ticker

    class Powers(ticker.LogFormatterSciNotation):
        def __call__(self, x: float, pos: int | None = None) -> str:
            return _power_label(x) if super().__call__(x, pos) else ""

    for axis in (ax.xaxis, ax.yaxis):
        if axis.get_scale() == "log":
            axis.set_major_formatter(Powers())
            axis.set_minor_formatter(Powers(minor_thresholds=(1.5, 0.4)))


def _power_label(x: float) -> str:
    mantissa, exponent = f"{x:.1e}".split("e")
    mantissa = mantissa.removesuffix(".0")
    return (
        power(int(exponent))
        if mantissa == "1"
        else f"{mantissa} × {power(int(exponent))}"
    )
