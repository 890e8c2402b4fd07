"""What the README, CONTRIBUTING and the citation promise."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise

import nbformat
import pytest
from conftest import ROOT
from nbclient import NotebookClient

import vgutils
from vgutils import alerts, diagnosis

PAGES = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]


@pytest.mark.parametrize("page", PAGES)
def test_make_knows_every_command(page):
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = (ROOT / page).read_text("utf-8")
    commands = re.findall(r"^make (\w+)|`(?:\w+=\w+ )?make (\w+)", text, re.MULTILINE)
    assert {a or b for a, b in commands} <= targets


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    text = (ROOT / page).read_text("utf-8")
    links = re.findall(r"\]\(([^)#]+)|(?:src|srcset)=\"([^\"]+)", text)
    local = [a or b for a, b in links if not (a or b).startswith("http")]
    assert [link for link in local if not (ROOT / link).exists()] == []


def test_the_snippet_of_the_readme_shows_a_vanishing_gradient(tmp_path):
    snippet = re.search(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    done = subprocess.run(
        [sys.executable, "-c", snippet[1]], capture_output=True, text=True, check=True
    )
    rows = [
        line.split() for line in done.stdout.splitlines() if line.startswith("hidden")
    ]
    gradient = [float(row[3]) for row in rows if "." not in row[0]]
    factors = [late / early for early, late in pairwise(gradient)]
    assert all(3 < factor < 6 for factor in factors)  # "about four a layer"


def test_the_template_chapter_runs(tmp_path):
    template = nbformat.read(ROOT / "chapters" / "template.ipynb", as_version=4)
    NotebookClient(template, resources={"metadata": {"path": str(tmp_path)}}).execute()
    claims = "application/vnd.vgutils.claim+json"
    outputs = [o for c in template.cells if c.cell_type == "code" for o in c.outputs]
    assert sum(claims in output.get("data", {}) for output in outputs) >= 3


def test_the_citation_names_this_version():
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert f"version: {vgutils.__version__}\n" in citation
    assert f'version = "{vgutils.__version__}"' in (ROOT / "pyproject.toml").read_text()


def test_every_cure_has_its_chapter():
    pages = {page.stem for page in ROOT.glob("chapters/*/*.ipynb")}
    for _, cures in diagnosis.CURES.values():
        assert {cure.chapter for cure in cures} <= pages


def test_every_alert_rule_has_a_page_and_a_source():
    known = re.findall(r"@\w+\{(\w+),", (ROOT / "references.bib").read_text("utf-8"))
    for rule in alerts.RULES + alerts.UNIT_RULES:
        assert (ROOT / f"{rule.chapter}.ipynb").exists()
        kind = rule.source.split(": ")[0]
        assert kind in ("derivation", "rule of thumb") or set(
            rule.source.split(", ")
        ) <= set(known)
        assert rule.statistic in alerts.STATISTICS
        # A count does not flutter.
        assert rule.threshold == 0 or rule.clears is not None
