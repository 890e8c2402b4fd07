"""Keep the text where it is while a page loads: a font that arrives late would move it.

The fonts are asked for before the style that names them is read; one that is late all the same
waits for the next page (`font-display: optional` in `book.css`, which also waits for formulas).
"""

from __future__ import annotations

import json
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

FONTS = ("source-serif-4-latin-wght-normal", "source-serif-4-latin-wght-italic")
# From a folder, browsers refuse to.
PRELOAD = """
<script>
  if (location.protocol !== "file:") for (const href of %s) document.head.append(Object.assign(
    document.createElement("link"),
    {rel: "preload", as: "font", type: "font/woff2", crossOrigin: "", href}));
</script>
"""


def preload_fonts(
    app: Sphinx,
    page: str,
    template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Name the fonts of the text at the top of a page."""
    fonts = [context["pathto"](f"_static/fonts/{font}.woff2", 1) for font in FONTS]
    context["metatags"] = context.get("metatags", "") + PRELOAD % json.dumps(fonts)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("html-page-context", preload_fonts)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
