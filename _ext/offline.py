"""Make every page readable with no network, from a web server or straight from a folder, and soon.

MathJax comes from `_vendor`; whatever the theme and its extensions would load from elsewhere, or
load twice, none of which the pages use, is left out.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from docutils import nodes
from myst_nb.sphinx_ext import add_global_html_resources
from sphinx.application import Sphinx
from sphinx.config import Config

MATHJAX = "mathjax/es5/tex-chtml.js"
# Thebe runs cells on a server; togglebutton is for directives that chapters do not use.
UNUSED = ("thebe", "toggle", "://")
# 1.5 MB that replace icons, which the theme's font draws already, by the same drawings.
ICONS = "scripts/fontawesome.js"


def configure(app: Sphinx, config: Config) -> None:
    """Use the local MathJax, without the menu, which puts a tab stop on every formula."""
    config.mathjax_path = MATHJAX
    options = config.mathjax3_config or {}
    options.setdefault("options", {})["enableMenu"] = False
    config.mathjax3_config = options
    config.nb_ipywidgets_js = {}


def drop_unused(
    app: Sphinx,
    page: str,
    template: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Leave out scripts and styles that come from the network or belong to unused extensions."""
    for kind in ("script_files", "css_files"):
        context[kind] = [asset for asset in context.get(kind, []) if _is_used(asset)]


def _is_used(asset: Any) -> bool:
    where = f"{getattr(asset, 'filename', asset)} {getattr(asset, 'attributes', {}).get('body')}"
    return not any(mark in where for mark in UNUSED)


def copy_assets(app: Sphinx) -> None:
    """Put MathJax and MyST-NB's style where the pages will be.

    Not through `html_static_path`: Jupyter Book would load each file of it on every page. And
    before the pages are written: they name each file with its checksum, if it is there.
    """
    if app.builder.format == "html":
        target = Path(app.outdir, "_static", "mathjax")
        target.parent.mkdir(parents=True, exist_ok=True)
        add_global_html_resources(app, None)
        if not target.exists():
            partial = target.with_name("mathjax.partial")
            shutil.rmtree(partial, ignore_errors=True)
            shutil.copytree(Path(app.srcdir, "_vendor", "mathjax"), partial)
            partial.rename(target)


def drop_icons(app: Sphinx, problem: Exception | None) -> None:
    """Empty the script, which the theme's pages name whatever they are told."""
    if problem is None and app.builder.format == "html":
        Path(app.outdir, "_static", ICONS).write_text("", "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("config-inited", configure)
    app.connect("html-page-context", drop_unused, priority=900)
    app.connect("builder-inited", copy_assets)
    app.connect("build-finished", drop_icons)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
