"""Collect the claims of all chapters from the outputs of their cells.

Claims are read at the same moment, and from the same outputs, as the page they stand on, so the
ledger cannot say anything else than the pages. What shows claims of other pages is read last, and
whenever any page changed.
"""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import nbformat
from docutils import nodes
from jupyter_cache import get_cache
from pybtex.database import Entry
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from vgutils.claims import MIME
from vgutils.html import inline

LOG = logging.getLogger(__name__)
# The pages that show the claims of others.
READERS = {"cheatsheet", "instructors", "ledger", "myths", "questions", "timeline"}
Claim = dict[str, Any]


def _claims(env: BuildEnvironment) -> dict[str, list[Claim]]:
    """The claims of each page, kept from one build to the next."""
    if not hasattr(env, "vg_claims"):
        env.vg_claims = {}  # type: ignore[attr-defined]
    claims: dict[str, list[Claim]] = env.vg_claims  # type: ignore[attr-defined]
    return claims


def collect(app: Sphinx, doctree: nodes.document) -> None:
    """Take the claims of the page that was just read from the outputs that it shows."""
    env, page = app.env, app.env.docname
    path = env.doc2path(page)
    if not str(path).endswith(".ipynb"):
        return
    cache = get_cache(env.mystnb_config.execution_cache_path)  # type: ignore[attr-defined]
    _, notebook = cache.merge_match_into_notebook(nbformat.read(path, as_version=4))
    claims = [
        output.data[MIME]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if MIME in output.get("data", {})
    ]
    _claims(env)[page] = claims
    anchors = env.metadata[page].setdefault("myst_slugs", {})
    for claim in claims:
        anchor = f"claim-{claim['id']}"
        if anchor in anchors:
            LOG.warning(
                "two claims, or a heading, are called %r", anchor, location=page
            )
        # A link to a claim from another page is checked like a link to a heading.
        anchors[anchor] = (0, anchor, claim["statement"])
        for key in _keys(claim):
            if key not in _bibliography(env):
                LOG.warning(
                    "the source %r of claim %r is not in references.bib",
                    key,
                    anchor,
                    location=page,
                )


def forget(app: Sphinx, env: BuildEnvironment, page: str) -> None:
    """Drop the claims of a page that is read again or gone."""
    _claims(env).pop(page, None)


def outdate_readers(app: Sphinx, env: BuildEnvironment, *changes: set[str]) -> set[str]:
    """Read what shows claims again when any page was added, changed or removed."""
    return READERS & env.found_docs if any(changes) else set()


def read_last(app: Sphinx, env: BuildEnvironment, pages: list[str]) -> None:
    """Read what shows claims after the pages that make them."""
    pages.sort(key=lambda page: page in READERS)


def _keys(claim: Claim) -> list[str]:
    return claim["source"].split(", ") if claim["source_kind"] == "citation" else []


def _bibliography(env: BuildEnvironment) -> dict[str, Entry]:
    entries: dict[str, Entry] = env.get_domain("cite").bibdata.data.entries  # type: ignore[attr-defined]
    return entries


class Ledger(SphinxDirective):
    """Every claim of the book, page by page, in the book's order."""

    has_content = False

    def run(self) -> list[nodes.Node]:
        """Make a section for each page that claims something."""
        claims = claims_in_order(self.env)
        summary = (
            f"<p>In this build of the book, <strong>{_summary(claims)}</strong>.</p>"
        )
        return [raw(summary), *(self._section(page, claims[page]) for page in claims)]

    def _section(self, page: str, claims: list[Claim]) -> nodes.section:
        title = self.env.titles[page].astext()
        section = nodes.section(
            "", nodes.title("", title), ids=[f"ledger-{page.split('/')[-1]}"]
        )
        address = self.env.app.builder.get_relative_uri(self.env.docname, page)
        items = "".join(_item(claim, address) for claim in claims)
        section += raw(
            f'<ol class="vg-ledger" aria-label="Claims of {html.escape(title)}">{items}</ol>'
        )
        return section


def claims_in_order(env: BuildEnvironment) -> dict[str, list[Claim]]:
    """The claims of each page that has any, in the order of the table of contents."""
    pages = (
        re.sub(r"\.(ipynb|md)$", "", page) for page in env.config.external_site_map
    )
    return {page: _claims(env)[page] for page in pages if _claims(env).get(page)}


def _summary(claims: dict[str, list[Claim]]) -> str:
    """How many claims hold, where, and with which seeds."""
    every = [claim for page in claims.values() for claim in page]
    summary = (
        f"{_count(len(every), 'claim')} hold{'s' * (len(every) == 1)} "
        f"in {_count(len(claims), 'chapter')}"
    )
    shifts = sorted({claim["seed"] for claim in every} - {0})
    return f"{summary}, with every seed shifted by {shifts[0]}" if shifts else summary


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def raw(content: str) -> nodes.raw:
    """A piece of the page as HTML."""
    return nodes.raw("", content, format="html")


def _item(claim: Claim, address: str) -> str:
    tolerance = claim["tolerance"]
    rows = {
        "measured": html.escape(claim["measured"]),
        "expected": html.escape(claim["expected"]),
        "tolerance": html.escape(
            f"{tolerance} ({claim['reason']})" if tolerance else ""
        ),
        "source": ", ".join(map(_placeholder, _keys(claim))) or inline(claim["source"]),
    }
    facts = "".join(
        f"<div><dt>{name}</dt><dd>{value}</dd></div>"
        for name, value in rows.items()
        if value
    )
    return (
        '<li><span class="vg-tick" role="img" aria-label="holds">✓</span>'
        f'<a href="{address}#claim-{html.escape(claim["id"])}">{inline(claim["statement"])}</a>'
        f"<dl>{facts}</dl></li>"
    )


def _placeholder(key: str) -> str:
    """What stands for a citation on a card and in the ledger until `link_sources`."""
    return (
        f'<span class="vg-cite" data-key="{html.escape(key)}">{html.escape(key)}</span>'
    )


def link_sources(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Let the sources of claims, on cards and in the ledger, lead to the bibliography."""
    if app.builder.format != "html":
        return
    cited = {c.key: c for c in app.env.get_domain("cite").citations}  # type: ignore[attr-defined]

    def link(match: re.Match[str]) -> str:
        if match[1] not in cited:
            return match[0]
        citation = cited[match[1]]
        address = app.builder.get_relative_uri(page, citation.bibliography_key.docname)
        label = html.escape(_author_year(citation.entry))
        return f'<a class="vg-cite" href="{address}#{citation.citation_id}">{label}</a>'

    for raw in doctree.findall(nodes.raw):
        content = raw.astext()
        if "vg-cite" in content:
            linked = re.sub(
                r'<span class="vg-cite" data-key="([^"]+)">.*?</span>', link, content
            )
            raw.children = [nodes.Text(linked)]


def _author_year(entry: Entry) -> str:
    names = [
        " ".join(person.prelast_names + person.last_names).strip("{}")
        for person in entry.persons.get("author", [])
    ]
    who = " and ".join(names) if len(names) < 3 else f"{names[0]} et al."
    return f"{who} {entry.fields.get('year', '')}".strip()


def write_json(app: Sphinx, problem: Exception | None) -> None:
    """Write the claims for programs, beside the pages."""
    if problem is None and app.builder.format == "html":
        claims = claims_in_order(app.env)
        content = {
            "version": 1,
            "summary": _summary(claims),
            "claims": [
                {"page": page} | claim for page in claims for claim in claims[page]
            ],
        }
        text = json.dumps(content, ensure_ascii=False, indent=1)
        Path(app.outdir, "claims.json").write_text(text, "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.add_directive("ledger", Ledger)
    app.connect("env-purge-doc", forget)
    app.connect("env-get-outdated", outdate_readers)
    app.connect("env-before-read-docs", read_last)
    app.connect("doctree-read", collect)
    app.connect("doctree-resolved", link_sources)
    app.connect("build-finished", write_json)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
