"""Print the built book into one file for reading and paper: `python tools/pdf.py`.

Each page is opened under the book's public address, yet from `_build/html` and with no network, and
printed by Chromium, which sets the formulas and draws the figures as a reader sees them. Then the
pages are joined: links between them lead within the file, and all others to the web.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import browser
from playwright.sync_api import PdfMargins
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, NameObject
from toc import ROOT, pages

FOOTER = (
    '<div style="font: 8px sans-serif; width: 100%; text-align: center; color: #556070">'
    '<span class="title"></span> · <span class="pageNumber"></span></div>'
)
MARGIN: PdfMargins = {
    "top": "18mm",
    "bottom": "18mm",
    "left": "16mm",
    "right": "16mm",
}


def printed(names: Sequence[str], folder: Path) -> Iterator[tuple[str, Any]]:
    """Print pages, one after the other.

    Args:
        names: Pages of the book, such as `chapters/1_problem/sigmoid`.
        folder: Where their HTML is.

    Yields:
        The title of a page, and what Chromium printed as a `PdfReader`.
    """
    with browser.launched() as chromium:
        for page in browser.opened(chromium, names, folder):
            sheet = page.pdf(
                format="A4",
                margin=MARGIN,
                display_header_footer=True,
                header_template="<span></span>",
                footer_template=FOOTER,
                print_background=True,
            )
            yield browser.title(page), PdfReader(io.BytesIO(sheet))


def join(parts: Sequence[tuple[str, str, Any]], home: str) -> PdfWriter:
    """Put printed pages into one file, with an outline and with links that stay inside it.

    Args:
        parts: For each page its name, its title and its `PdfReader`.
        home: The public address, with a slash at its end.
    """
    whole, starts = PdfWriter(), {}
    for name, title, reader in parts:
        starts[f"{home}{name}.html"] = len(whole.pages)
        whole.append(reader, outline_item=title, import_outline=False)
    for sheet in whole.pages:
        for reference in sheet.get("/Annots", []):
            action = reference.get_object().get("/A", {})
            first = starts.get(str(action.get("/URI", "")).split("#")[0])
            if first is not None:
                target = whole.pages[first].indirect_reference
                reference.get_object()[NameObject("/A")] = DictionaryObject(
                    {
                        NameObject("/S"): NameObject("/GoTo"),
                        NameObject("/D"): ArrayObject([target, NameObject("/Fit")]),
                    }
                )
    whole.add_metadata({"/Title": "Vanishing Gradients"})
    return whole


def main(arguments: Sequence[str] | None = None) -> int:
    """Print and join."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--book", type=Path, default=ROOT / "_build" / "html")
    parser.add_argument("--out", type=Path, default=ROOT / "_build" / "book.pdf")
    parser.add_argument("pages", nargs="*", help="such as ledger; all if not given")
    options = parser.parse_args(arguments)
    names = options.pages or pages()
    parts = []
    for name, (title, reader) in zip(names, printed(names, options.book), strict=True):
        print(f"  {title}: {len(reader.pages)} pages", flush=True)
        parts.append((name, title, reader))
    whole = join(parts, browser.home())
    beside = options.out.with_suffix(".part")
    whole.write(beside)
    beside.replace(options.out)
    print(f"{len(whole.pages)} pages are in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
