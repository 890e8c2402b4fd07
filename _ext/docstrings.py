"""Read docstrings as what they are: text with `code` in it, not reStructuredText."""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx


def as_rst(lines: list[str]) -> list[str]:
    """Write the lines of a docstring so that reStructuredText shows them as they stand.

    Args:
        lines: The docstring; Google sections are left for Napoleon.
    """
    written: list[str] = []
    example, code_below = False, None
    for number, line in enumerate(lines):
        if not line.strip():
            example = False
        elif code_below is not None and _indent(line) > code_below:
            pass
        elif example or line.lstrip().startswith(">>>"):
            example, code_below = True, None
        else:
            opens = _opens_code(lines[number : number + 3])
            code_below = _indent(line) if opens else None
            line = _inline(line) + ":" * opens
        written.append(line)
    return written


def _opens_code(lines: list[str]) -> bool:
    """Whether a line ends with a colon, and code stands below it after an empty line."""
    if len(lines) < 3 or not lines[0].endswith(":") or lines[1].strip():
        return False
    return bool(lines[2].strip()) and _indent(lines[2]) > _indent(lines[0])


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _inline(line: str) -> str:
    """Double the backticks, and let nothing else mean anything."""
    parts = re.split(r"(`+[^`]+`+)", line)
    for i, part in enumerate(parts):
        if i % 2:
            code = f"``{part.strip('`')}``"
            # `x`s: markup ends only before a space, also one that is not shown.
            parts[i] = rf"{code}\ " if parts[i + 1][:1].isalnum() else code
        else:
            parts[i] = re.sub(r"([|*])", r"\\\1", part)
    return "".join(parts)


def rewrite(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Rewrite a docstring in place, before Napoleon reads it."""
    lines[:] = as_rst(lines)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", rewrite, priority=400)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
