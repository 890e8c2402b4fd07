"""Write `sitemap.xml`, in which search engines find every page.

A few lines of our own, since sphinx-sitemap starts a process for it that outlives the build where
Sphinx runs inside another program, and keeps that program's locks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from sphinx.application import Sphinx


def write(app: Sphinx, problem: Exception | None) -> None:
    """List the address of each page of the book."""
    if problem is not None or app.builder.format != "html":
        return
    listed = ElementTree.Element(
        "urlset", xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"
    )
    for page in sorted(app.env.found_docs):
        place = ElementTree.SubElement(ElementTree.SubElement(listed, "url"), "loc")
        place.text = app.config.html_baseurl + app.builder.get_target_uri(page)
    tree = ElementTree.ElementTree(listed)
    tree.write(Path(app.outdir) / "sitemap.xml", "utf-8", xml_declaration=True)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("build-finished", write)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
