"""The book as one file: `make pdf` on what `make book` built."""

from __future__ import annotations

import pdf
import pytest
from pypdf import PdfReader

SIGMOID, LEDGER = "chapters/1_problem/sigmoid", "ledger"


@pytest.fixture(scope="module")
def printed(chromium_path, tmp_path_factory):
    out = tmp_path_factory.mktemp("pdf") / "book.pdf"
    assert pdf.main(["--out", str(out), LEDGER, SIGMOID]) == 0
    return PdfReader(out)


@pytest.mark.slow
def test_each_page_is_in_the_outline_and_has_its_words(printed):
    titles = [entry.title for entry in printed.outline]
    assert titles[0] == "Ledger of claims"
    assert titles[1].endswith("Sigmoid, tanh and the quarter myth")
    words = " ".join(sheet.extract_text() for sheet in printed.pages).split()
    assert len(words) > 2000
    assert {"Predict", "Summary"} <= set(words)


@pytest.mark.slow
def test_links_within_stay_within_and_others_lead_to_the_web(printed):
    actions = [
        annotation.get_object()["/A"]
        for sheet in printed.pages
        for annotation in sheet.get("/Annots", [])
        if "/A" in annotation.get_object()
    ]
    within = [action["/D"][0] for action in actions if action["/S"] == "/GoTo"]
    starts = {entry.page.idnum for entry in printed.outline}
    assert len(within) > 10  # the ledger's links to the claims of this chapter
    assert {page.indirect_reference.idnum for page in within} <= starts
    away = [str(action["/URI"]) for action in actions if action["/S"] == "/URI"]
    assert away
    assert all(address.startswith("https://") for address in away)


@pytest.mark.slow
def test_a_chapter_is_in_the_font_of_the_book(printed):
    start = printed.get_destination_page_number(printed.outline[1])
    families = [
        {
            font.get_object()["/FontDescriptor"]["/FontFamily"]
            for font in sheet["/Resources"].get("/Font", {}).values()
            if "/FontDescriptor" in font.get_object()
        }
        for sheet in printed.pages[start:]
    ]
    with_it = sum("Source Serif 4" in found for found in families)
    assert with_it > len(families) / 2  # Code and outputs have fonts of their own.


def test_there_is_nothing_to_print_without_a_book(tmp_path):
    with pytest.raises(SystemExit, match="make book"):
        pdf.main(["--book", str(tmp_path)])
