"""Myths and answers stand on claims: how a claim is found, and what a page without one says."""

from __future__ import annotations

import re
from pathlib import Path

import build
import evidence
import pytest
from conftest import ROOT

CLAIMS = {
    "one": [
        {"statement": "Of 7 units, 3 die"},
        {"statement": "Of 7 units, 3 die at once"},
    ],
    "two": [{"statement": "Nothing (yet) is 1.5 or `x`"}],
}


@pytest.mark.parametrize(
    ("pattern", "pages"),
    [
        ("Of 7 units, 3 die", ["one"]),
        ("Of … units, … die", ["one"]),
        ("Of … units, …", ["one", "one"]),
        ("Nothing (yet) is 1.5 or `x`", ["two"]),
        ("Nothing (yet) is 1x5 or `x`", []),
        ("Of 7 units", []),
        ("of 7 units, 3 die", []),
    ],
)
def test_a_claim_is_named_by_its_whole_statement(pattern, pages):
    assert [page for page, _ in evidence.find(pattern, CLAIMS)] == pages


PAGE = """# Myths

```{tally} statements
```

## Arithmetic

### Two and two make five

{verdict}`false` They do not.

{claim}`Two and … make four`

### All is number

{verdict}`conditional` Who knows.
"""


def add_myths(book: Path, page: str) -> None:
    (book / "myths.md").write_text(page, "utf-8")
    contents = (book / "_toc.yml").read_text("utf-8")
    if "myths" not in contents:
        contents = contents.replace(
            "      - file: ledger\n", "      - file: myths\n      - file: ledger\n"
        )
        (book / "_toc.yml").write_text(contents, "utf-8")


@pytest.mark.slow
def test_a_myth_leads_to_its_claim_and_falls_with_it(tiny_book, capfd):
    add_myths(tiny_book, PAGE)
    assert build.main(["--book", str(tiny_book)]) == 0
    pages = tiny_book / "_build" / "html"
    page = (pages / "myths.html").read_text("utf-8")
    (address, anchor) = re.search(
        r'href="(chapters/one\.html)#(claim-[^"]+)"', page
    ).groups()
    assert f'id="{anchor}"' in (pages / address).read_text("utf-8")
    assert "measured: 4" in page
    assert (
        "2 statements: 0 true, 1 under conditions, 1 false, 0 unsupported; "
        "1 with a claim that this build has checked, 1 not yet tested." in page
    )
    assert page.count(evidence.UNTESTED) == 1

    # The claim is renamed: the page that stood on it did not change, and yet the build is red.
    chapter = tiny_book / "chapters" / "one.ipynb"
    renamed = chapter.read_text("utf-8").replace("make four", "give four")
    chapter.write_text(renamed, "utf-8")
    assert build.main(["--book", str(tiny_book)]) == 1
    problem = capfd.readouterr().err
    assert "no claim says 'Two and … make four'" in problem
    assert re.search(r"myths\.md:\d+", problem)


@pytest.mark.slow
def test_an_unknown_verdict_is_a_problem(tiny_book, capfd):
    add_myths(tiny_book, PAGE.replace("`false`", "`wrong`"))
    assert build.main(["--book", str(tiny_book)]) == 1
    assert "not 'wrong'" in capfd.readouterr().err


# --- the pages of this book -----------------------------------------------------------------------


def entries(name: str) -> list[str]:
    return re.split(r"^### ", (ROOT / name).read_text("utf-8"), flags=re.MULTILINE)[1:]


def test_each_statement_has_one_verdict():
    assert len(entries("myths.md")) >= 35 + 10
    assert {entry.count("{verdict}") for entry in entries("myths.md")} == {1}


def test_each_question_has_an_answer_that_stands_on_a_claim():
    assert len(entries("questions.md")) >= 43
    for entry in entries("questions.md"):
        answer, *claims = entry.split("{claim}")
        assert len(answer.split("\n\n")) >= 3, entry
        assert claims, entry
