"""Repair, in the finished pages, what the theme and its extensions leave inaccessible.

Each repair replaces one string by another that no longer contains it, so that repairing twice is
repairing once; tests/book/test_pages.py runs axe on the result.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

REPAIRS = {
    # The logo above the table of contents is in no landmark.
    '<div id="pst-primary-sidebar" class': (
        '<div role="complementary" aria-label="Book" id="pst-primary-sidebar" class'
    ),
    # A label that hides what the summary says: "Show solution".
    '<summary aria-label="Toggle hidden content">': "<summary>",
    # A list whose entries are not list items, and a role that no longer exists.
    '<div role="list" class="citation-list">': '<div class="citation-list">',
    ' role="doc-biblioentry"': "",
}


def repair(text: str) -> str:
    """Repair the HTML of one page."""
    for broken, whole in REPAIRS.items():
        text = text.replace(broken, whole)
    return text


def repair_pages(app: Sphinx, problem: Exception | None) -> None:
    """Repair the pages that were written."""
    if problem is None and app.builder.format == "html":
        for page in Path(app.outdir).rglob("*.html"):
            text = page.read_text("utf-8")
            if (repaired := repair(text)) != text:
                page.write_text(repaired, "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("build-finished", repair_pages)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
