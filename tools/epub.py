"""Bind the built book as one EPUB 3, to be read on any device: `python tools/epub.py`.

Each page is opened as a reader of the web sees it; what Chromium then shows is cleaned by `epub.js`
and written as XHTML: formulas as MathML, figures light, explorables in their first setting.
"""

from __future__ import annotations

import argparse
import html
import re
import sys
import unicodedata
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import browser
import yaml
from playwright.sync_api import Browser
from toc import ROOT, pages, parts

from vgutils.html import PALETTE

HERE = Path(__file__).parent
LINK = re.compile(r'(<a\b[^>]*?\shref=")([^"]*)(")')
VARIANT = re.compile(
    r'<(m[ino]) mathvariant="(bold|double-struck|sans-serif|script)">([A-Za-z0-9])<'
)
XHTML = (
    '<?xml version="1.0" encoding="utf-8"?>\n<!DOCTYPE html>\n'
    '<html xmlns="http://www.w3.org/1999/xhtml" xmlns:epub="http://www.idpf.org/2007/ops"'
    ' lang="en" xml:lang="en" data-theme="light">\n<head>\n<title>{title}</title>\n'
    '<link rel="stylesheet" type="text/css" href="book.css"/>\n</head>\n'
    "<body>\n{body}\n</body>\n</html>\n"
)
CONTAINER = (
    '<?xml version="1.0" encoding="utf-8"?>\n'
    '<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">\n'
    '<rootfiles><rootfile full-path="book/package.opf"'
    ' media-type="application/oebps-package+xml"/></rootfiles>\n</container>\n'
)
LICENCES = {
    "Apache-2.0": "code under the Apache License 2.0",
    "CC-BY-4.0": "text and figures under CC BY 4.0",
}


@dataclass
class Chapter:
    """A page of the book.

    Attributes:
        name: As in `_toc.yml`.
        title: With its number.
        content: XHTML, its links absolute.
    """

    name: str
    title: str
    content: str

    @property
    def file(self) -> str:
        """Its file's name in the EPUB."""
        return f"{self.name.replace('/', '-')}.xhtml"


def take(
    chromium: Browser, names: Sequence[str], folder: Path
) -> tuple[list[Chapter], str]:
    """Take pages out of the built book, and the style of their outputs.

    Args:
        chromium: From `browser.launched`.
        names: Pages of the book, such as `chapters/1_problem/sigmoid`.
        folder: Where their HTML is.
    """
    clean = (HERE / "epub.js").read_text("utf-8")
    chapters: list[Chapter] = []
    rules: list[str] = []
    for name, page in zip(names, browser.opened(chromium, names, folder), strict=True):
        title, content, styles = page.evaluate(clean)
        chapters.append(Chapter(name, title, alphabets(plain_colours(content))))
        rules += map(plain_colours, styles)
    code = (folder / "_static" / "pygments.css").read_text("utf-8")
    own = (HERE / "epub.css").read_text("utf-8")
    return chapters, "\n".join(dict.fromkeys([code, *rules, own]))


def plain_colours(text: str) -> str:
    """Write each colour of the palette out, for readers that know no variables."""
    return re.sub(
        r"var\(--vg-(\w+)\)", lambda m: PALETTE.get(m[1], ["inherit"])[0], text
    )


def alphabets(content: str) -> str:
    """Write letters of a mathematical alphabet as what Unicode has for them.

    Readers of books know of `mathvariant` only that it can be normal.
    """

    def letter(match: re.Match[str]) -> str:
        element, variant, plain = match.groups()
        name = unicodedata.name(plain).removeprefix("LATIN ").replace(" LETTER", "")
        name = f"{variant.upper()} {name}"
        try:
            other = unicodedata.lookup(f"MATHEMATICAL {name}")
        except KeyError:  # An old one: SCRIPT CAPITAL L.
            other = unicodedata.lookup(name)
        return f"<{element}>{other}<"

    return VARIANT.sub(letter, content)


def link(chapter: Chapter, book: Mapping[str, Chapter]) -> str:
    """The content of a chapter whose links to other pages of the book stay in the book.

    Args:
        chapter: The chapter.
        book: Every chapter, by its public address.
    """

    def lead(match: re.Match[str]) -> str:
        address, _, anchor = html.unescape(match[2]).partition("#")
        target = book.get(address)
        if target is None:
            return match[0]
        anchor = unquote(anchor)
        where = f"#{anchor}" if f'id="{anchor}"' in target.content else ""
        return f"{match[1]}{target.file}{html.escape(where)}{match[3]}"

    return LINK.sub(lead, chapter.content)


def contents(chapters: Sequence[Chapter]) -> str:
    """The table of contents, with the book's parts."""
    by_name = {chapter.name: chapter for chapter in chapters}

    def entries(names: Sequence[str]) -> str:
        return "".join(
            f'<li><a href="{by_name[name].file}">{html.escape(by_name[name].title)}</a></li>'
            for name in names
            if name in by_name
        )

    listed = entries(pages()[:1])
    for caption, names in parts():
        inner = entries(names)
        if caption and inner:
            inner = f"<li><span>{html.escape(caption)}</span><ol>{inner}</ol></li>"
        listed += inner
    return f'<nav epub:type="toc"><h1>Contents</h1><ol>{listed}</ol></nav>'


def cover(chromium: Browser, title: str, authors: str, logo: str) -> bytes:
    """The cover as a PNG: title, authors, and the book's mark."""
    page = chromium.new_page(viewport={"width": 1200, "height": 1800})
    page.set_content(
        '<body style="margin:0;height:100vh;display:grid;place-content:center;gap:60px;'
        'justify-items:center;text-align:center;background:#f2f6fa;color:#1f4e79">'
        f"{logo}<style>svg{{width:600px;height:600px}}</style>"
        f'<div style="font:700 96px/1.15 sans-serif;padding:0 90px">{html.escape(title)}</div>'
        f'<div style="font:44px sans-serif;color:#556070">{html.escape(authors)}</div>'
    )
    picture = page.screenshot()
    page.close()
    return picture


def package(chapters: Sequence[Chapter], about: Mapping[str, Any]) -> str:
    """What the EPUB says about itself, and the list of its files.

    Args:
        chapters: In their order.
        about: The content of CITATION.cff.
    """
    licence = " and ".join(LICENCES[name] for name in about["license"])
    creators = "".join(
        f"<dc:creator>{html.escape(author['name'])}</dc:creator>\n"
        for author in about["authors"]
    )
    files, spine = "", '<itemref idref="cover-page"/>\n<itemref idref="nav"/>\n'
    for number, chapter in enumerate(chapters):
        marks = {"svg": "<svg", "mathml": "<math"}
        has = " ".join(name for name, mark in marks.items() if mark in chapter.content)
        properties = f' properties="{has}"' if has else ""
        files += (
            f'<item id="c{number}" href="{chapter.file}"'
            f' media-type="application/xhtml+xml"{properties}/>\n'
        )
        spine += f'<itemref idref="c{number}"/>\n'
    access = {
        "accessMode": ["textual", "visual"],
        "accessModeSufficient": ["textual"],
        "accessibilityFeature": ["alternativeText", "MathML", "tableOfContents"],
        "accessibilityHazard": ["none"],
        "accessibilitySummary": ["Figures have texts that say what they show."],
    }
    accessible = "".join(
        f'<meta property="schema:{name}">{value}</meta>\n'
        for name, values in access.items()
        for value in values
    )
    return f"""<?xml version="1.0" encoding="utf-8"?>
<package xmlns="http://www.idpf.org/2007/opf" version="3.0" unique-identifier="id" xml:lang="en">
<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">
<dc:identifier id="id">{about["url"]}</dc:identifier>
<dc:title>{html.escape(about["title"])}</dc:title>
<dc:language>en</dc:language>
{creators}<dc:description>{html.escape(about["abstract"])}</dc:description>
<dc:rights>{licence}</dc:rights>
<dc:date>{about["date-released"]}</dc:date>
<meta property="dcterms:modified">{about["date-released"]}T00:00:00Z</meta>
{accessible}</metadata>
<manifest>
<item id="nav" href="nav.xhtml" media-type="application/xhtml+xml" properties="nav"/>
<item id="cover-page" href="cover.xhtml" media-type="application/xhtml+xml"/>
<item id="cover" href="cover.png" media-type="image/png" properties="cover-image"/>
<item id="style" href="book.css" media-type="text/css"/>
{files}</manifest>
<spine>
{spine}</spine>
</package>
"""


def bind(names: Sequence[str], folder: Path, out: Path) -> None:
    """Write the EPUB.

    Args:
        names: Its pages, in order.
        folder: Where their HTML is.
        out: The file.
    """
    about = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    authors = ", ".join(author["name"] for author in about["authors"])
    with browser.launched() as chromium:
        chapters, style = take(chromium, names, folder)
        logo = (ROOT / "_static" / "logo.svg").read_text("utf-8")
        picture = cover(chromium, about["title"], authors, logo)
    book = {f"{browser.home()}{chapter.name}.html": chapter for chapter in chapters}
    front = f'<p class="cover"><img src="cover.png" alt="{html.escape(about["title"])}"/></p>'
    files: dict[str, str | bytes] = {
        "META-INF/container.xml": CONTAINER,
        "book/package.opf": package(chapters, about),
        "book/book.css": style,
        "book/cover.png": picture,
        "book/cover.xhtml": XHTML.format(title="Cover", body=front),
        "book/nav.xhtml": XHTML.format(title="Contents", body=contents(chapters)),
    }
    for chapter in chapters:
        title = html.escape(chapter.title)
        body = link(chapter, book)
        files[f"book/{chapter.file}"] = XHTML.format(title=title, body=body)
    beside = out.with_suffix(".part")
    with zipfile.ZipFile(beside, "w", zipfile.ZIP_DEFLATED) as archive:
        # The kind of file comes first, and as it is. The same book gives the same bytes.
        kind = zipfile.ZipInfo("mimetype")
        archive.writestr(kind, "application/epub+zip", zipfile.ZIP_STORED)
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    beside.replace(out)


def main(arguments: Sequence[str] | None = None) -> int:
    """Bind the book and say where it is."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--book", type=Path, default=ROOT / "_build" / "html")
    parser.add_argument("--out", type=Path, default=ROOT / "_build" / "book.epub")
    parser.add_argument("pages", nargs="*", help="such as ledger; all if not given")
    options = parser.parse_args(arguments)
    names = options.pages or pages()
    bind(names, options.book, options.out)
    size = options.out.stat().st_size / 1e6
    print(f"{len(names)} pages, {size:.1f} MB, are in {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
