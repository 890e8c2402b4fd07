"""Let statements and answers stand on claims: the roles `claim` and `verdict`, and a tally.

A page that uses them is plain Markdown, one heading for each statement or question. The claim is
named by its statement, with `…` for any part of it that is computed, and shown with what the build
measured. A claim that is renamed, or gone, is a warning, and so stops the build.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from typing import Any

from docutils import nodes
from ledger import Claim, claims_in_order, raw
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

from vgutils.html import inline

LOG = logging.getLogger(__name__)
VERDICTS = {
    "true": "True",
    "conditional": "Under conditions",
    "false": "False",
    "unsupported": "Unsupported",
}
UNTESTED = "Not yet tested in this book."


def find(pattern: str, claims: dict[str, list[Claim]]) -> list[tuple[str, Claim]]:
    """The claims, each with its page, whose statement is `pattern`; `…` is any text."""
    form = re.compile(".+".join(map(re.escape, pattern.split("…"))))
    return [
        (page, claim)
        for page, made in claims.items()
        for claim in made
        if form.fullmatch(claim["statement"])
    ]


class ClaimRole(SphinxRole):
    """A link to the one claim that says so, with its tick and what was measured."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Make the link, or warn that the book does not claim this, or claims it twice."""
        found = find(self.text, claims_in_order(self.env))
        if len(found) != 1:
            count = f"{len(found)} claims say" if found else "no claim says"
            LOG.warning("%s %r", count, self.text, location=self.get_location())
            return [], []
        ((page, claim),) = found
        address = self.env.app.builder.get_relative_uri(self.env.docname, page)
        link = (
            '<span class="vg-proof"><span class="vg-tick" role="img" aria-label="holds">✓</span>'
            f'<a href="{address}#claim-{html.escape(claim["id"])}">'
            f"{inline(claim['statement'])}</a> "
            f"<small>measured: {html.escape(claim['measured'])}</small></span>"
        )
        return [raw(link)], []


class VerdictRole(SphinxRole):
    """What the book says about a statement: one of `VERDICTS`."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Make the badge, in words."""
        if self.text not in VERDICTS:
            known = ", ".join(VERDICTS)
            LOG.warning(
                "a verdict is one of %s, not %r",
                known,
                self.text,
                location=self.get_location(),
            )
            return [], []
        classes = ["vg-verdict", f"vg-{self.text}"]
        return [nodes.strong("", VERDICTS[self.text], classes=classes)], []


class Tally(SphinxDirective):
    """How many entries the page has and how many stand on a claim; the argument names them."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Leave a place, filled when the whole page was read."""
        return [nodes.paragraph(classes=["vg-tally"], things=self.arguments[0])]


def count(app: Sphinx, doctree: nodes.document) -> None:
    """Mark the entries of a page that stand on no claim, and fill its tally."""
    for place in list(doctree.findall(nodes.paragraph)):
        if "things" not in place:
            continue
        sections = list(doctree.findall(nodes.section))
        entries = [
            s for s in sections if not any(s is not t for t in s.findall(nodes.section))
        ]
        bare = [
            s
            for s in entries
            if not any("vg-proof" in r.astext() for r in s.findall(nodes.raw))
        ]
        for section in bare:
            section += nodes.paragraph("", UNTESTED)
        given = Counter(
            n.astext()
            for n in doctree.findall(nodes.strong)
            if "vg-verdict" in n["classes"]
        )
        verdicts = ", ".join(
            f"{given[word]} {word.lower()}" for word in VERDICTS.values()
        )
        tested = f"{len(entries) - len(bare)} with a claim that this build has checked"
        parts = [verdicts] * bool(given) + [f"{tested}, {len(bare)} not yet tested"]
        place += nodes.Text(f"{len(entries)} {place['things']}: {'; '.join(parts)}.")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    app.setup_extension("ledger")
    app.add_role("claim", ClaimRole())
    app.add_role("verdict", VerdictRole())
    app.add_directive("tally", Tally)
    app.connect("doctree-read", count)
    return {"version": "1", "parallel_read_safe": False, "parallel_write_safe": True}
