"""How every output looks: one palette, one base style, one way to put HTML on a page.

An output has to work in four places: the book (dark mode is `html[data-theme=dark]`), Colab (each
output alone in a sandboxed frame; `html[theme=dark]`), JupyterLab (`[data-jp-theme-light=false]`)
and a plain file. So each carries the style that it needs, and asks nothing of the network.
"""

from __future__ import annotations

import hashlib
import html
import inspect
import re
import sys
import unicodedata
from typing import Any

# One name, a colour for light pages and one for dark pages. Text and lines reach a contrast of 4.5
# against the page and the panel of their theme; the first six are told apart by colour-blind eyes
# (Okabe and Ito's hues, moved in lightness until both hold).
PALETTE = {
    "blue": ("#0067a5", "#62b8f0"),
    "orange": ("#b84a00", "#ff9f66"),
    "green": ("#00775a", "#45cfa0"),
    "purple": ("#a03f86", "#e8a0d0"),
    "gold": ("#8a6100", "#edc04f"),
    "grey": ("#5b6675", "#b4bdc9"),
    "ink": ("#1d2430", "#e8ebf0"),
    "soft": ("#556070", "#b4bdc9"),
    "line": ("#d3d9e0", "#48525f"),
    "grid": ("#e4e8ec", "#303945"),
    "panel": ("#f5f7f9", "#222a35"),
    "paper": ("#ffffff", "#14181e"),
    "good": ("#00694f", "#5ad6ab"),
    "warn": ("#8a5200", "#ffc069"),
    "bad": ("#b3231b", "#ff9a90"),
}

_DARK = (
    "html[data-theme=dark],html[theme=dark],[data-jp-theme-light=false],.vscode-dark"
)


def _variables(theme: int) -> str:
    return "".join(f"--vg-{name}:{pair[theme]};" for name, pair in PALETTE.items())


# The last rule undoes the light plate that the book's theme lays under HTML outputs in the dark.
STYLE = (
    f":root{{{_variables(0)}--vg-font:var(--pst-font-family-base,"
    "var(--jp-content-font-family,system-ui,sans-serif))}"
    f"{_DARK}{{{_variables(1)}}}"
    ".vg-box{box-sizing:border-box;max-width:46rem;margin:.6rem 0;padding:.8rem 1rem;"
    "border:1px solid var(--vg-line);border-left:4px solid var(--vg-tone,var(--vg-line));"
    "border-radius:6px;background:var(--vg-panel);color:var(--vg-ink);"
    "font:16px/1.5 var(--vg-font);overflow-wrap:anywhere}"
    ".vg-box p{margin:0}"
    ".vg-box code{padding:.05em .3em;border-radius:3px;background:var(--vg-paper);"
    "color:inherit;font-size:.9em}"
    ".vg-tag{color:var(--vg-tone);font-size:.8rem;font-weight:700;letter-spacing:.02em}"
    ".vg-box button,.vg-box select{font:inherit;font-size:.9rem;padding:.25rem .8rem;"
    "border:1px solid var(--vg-soft);border-radius:5px;background:var(--vg-paper);"
    "color:var(--vg-ink);cursor:pointer}"
    ".vg-box :focus-visible{outline:2px solid var(--vg-blue);outline-offset:2px}"
    "div.cell_output .text_html:has(>[class^=vg-]){background:none!important;padding:0!important}"
)


def display_html(
    body: str, plain: str, *, style: str = "", mime: dict[str, Any] | None = None
) -> None:
    """Show `body` where HTML can be shown, and `plain` in a terminal.

    Args:
        body: HTML whose text is already escaped.
        plain: The same for a terminal.
        style: CSS that this kind of output needs beyond the base style.
        mime: Further representations of the same output, by MIME type.
    """
    page = f"<style>{STYLE}{style}</style>{body}"
    _display({"text/html": page, "text/plain": plain, **(mime or {})})


def say(markdown: str) -> None:
    """Show Markdown made by code, so that a number in prose is the number that was measured.

    Args:
        markdown: The text; common indentation is removed, so that it can sit in an indented cell.

    Raises:
        TypeError: `markdown` is not a string.
        ValueError: It is empty.

    Example:
        >>> say(f"The first layer receives {number(1.234e-8)} of what the last one does.")
        The first layer receives 1.23 × 10⁻⁸ of what the last one does.
    """
    content = inspect.cleandoc(text("markdown", markdown))
    _display({"text/markdown": content, "text/plain": content})


def _display(bundle: dict[str, Any]) -> None:
    # Whoever runs in IPython has loaded it; a plain script need not.
    ipython = sys.modules.get("IPython")
    if ipython is None or ipython.get_ipython() is None:
        print(bundle["text/plain"])
        return
    from IPython.display import display

    display(bundle, raw=True)


def number(value: float, digits: int = 3) -> str:
    """Write a number as prose does: `0.25`, `10,000`, `1.23 × 10⁻⁸`.

    Args:
        value: A real number; NaN and infinity are written out.
        digits: Significant digits.
    """
    return typeset(plain_number(value, digits))


def plain_number(value: Any, digits: int = 4) -> str:
    """Write a number for a terminal: `0.25`, `10,000`, `1.234e-08`."""
    integer = isinstance(value, int) or (
        hasattr(value, "dtype") and value.dtype.kind in "iu"
    )
    if integer and abs(int(value)) < 10**6:
        return f"{int(value):,}"
    try:
        return f"{float(value):.{digits}g}"
    except OverflowError:  # An integer too large for a float.
        mantissa = str(abs(value))
        return f"{'-' * (value < 0)}{mantissa[0]}.{mantissa[1:digits]}e+{len(mantissa) - 1}"


_SUPERSCRIPT = str.maketrans("0123456789-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")


def power(exponent: int) -> str:
    """Write a power of ten: `10⁻⁸`."""
    return "10" + str(exponent).translate(_SUPERSCRIPT)


def typeset(content: str) -> str:
    """Turn `1.2e-08` into `1.2 × 10⁻⁸` and the hyphen of a negative number into a minus."""

    def scientific(match: re.Match[str]) -> str:
        mantissa, exponent = match[1], power(int(match[2]))
        return (
            exponent
            if mantissa == "1"
            else f"{mantissa}\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}{exponent}"
        )

    content = re.sub(r"(?<![\w.])(\d+(?:\.\d+)?)e([+-]\d+)(?!\w)", scientific, content)
    return re.sub(r"(?<![\w.])-(?=\d|inf\b)", "−", content)


def inline(content: str) -> str:
    """Escape text and give it its light markup: `` `code` ``, `*emphasis*`, `**strong**`."""
    parts = re.split(r"`([^`]+)`", content)
    for i, part in enumerate(parts):
        part = html.escape(part)
        if i % 2:
            parts[i] = f"<code>{part}</code>"
        else:
            part = re.sub(
                r"(?<!\w)\*\*(\S(?:[^*]*\S)?)\*\*(?!\w)", r"<strong>\1</strong>", part
            )
            parts[i] = re.sub(
                r"(?<![\w*])\*(\S(?:[^*]*\S)?)\*(?![\w*])", r"<em>\1</em>", part
            )
    return "".join(parts)


def digest(*content: object) -> str:
    """Eight letters and figures that stand for `content`, the same in every run."""
    return hashlib.sha256(repr(content).encode()).hexdigest()[:8]


def slug(content: str, limit: int = 60) -> str:
    """Turn text into a short name for an anchor, the same in every run.

    Where something was lost (length, or letters that are not ASCII) a digest keeps two texts apart.
    """
    ascii_only = (
        unicodedata.normalize("NFKD", content).encode("ascii", "ignore").decode()
    )
    full = re.sub(r"[^a-z0-9]+", "-", ascii_only.lower()).strip("-")
    short = full if len(full) <= limit else full[:limit].rsplit("-", 1)[0]
    whole = short == full and not any(c.isalnum() and not c.isascii() for c in content)
    return short if whole and short else f"{short}-{digest(content)[:4]}".strip("-")


def text(name: str, value: Any, *, shortest: int = 1) -> str:
    """Return `value` stripped, if it is text.

    Raises:
        TypeError: `value` is not a string.
        ValueError: It has fewer than `shortest` characters; the message names it.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {value!r}")
    if len(value.strip()) < shortest:
        needs = (
            "not be empty" if shortest == 1 else f"have at least {shortest} characters"
        )
        raise ValueError(f"{name} must {needs}, got {value!r}")
    return value.strip()
