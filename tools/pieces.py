"""Chapters of the built book taken apart, and documents of one file made of the pieces.

What a piece needs comes with it: formulas as Chromium set them, the style of outputs, fonts. So a
document opens anywhere, with no network and no script.
"""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import browser
from bs4 import BeautifulSoup, Tag
from playwright.sync_api import Browser

# MathJax adds rules one by one, so that they are not in the page's text.
FORMULA_STYLE = """() => {
  const style = document.getElementById("MJX-CHTML-styles");
  return style ? [...style.sheet.cssRules].map(rule => rule.cssText) : [];
}"""
# What belongs to a page and its reader, not to its content.
FURNITURE = ".headerlink, .vg-done, .vg-tag > a, .copybtn"
FONTS = re.compile(r"@font-face\s*\{[^}]*\}")


@dataclass
class Article:
    """A page's content.

    Attributes:
        title: As in the table of contents, with its number.
        body: The `article` element, without ids, its links absolute.
        styles: The rules that its formulas and outputs need.
    """

    title: str
    body: Any
    styles: list[str]


def articles(
    chromium: Browser, names: Sequence[str], folder: Path
) -> Iterator[Article]:
    """Take the content out of pages of the built book.

    Args:
        chromium: From `browser.launched`.
        names: Pages of the book, such as `chapters/1_problem/sigmoid`.
        folder: Where their HTML is.
    """
    for page in browser.opened(chromium, names, folder):
        markup = page.locator("article").first.evaluate("article => article.outerHTML")
        body = BeautifulSoup(markup, "html.parser").article
        styles = page.evaluate(FORMULA_STYLE)
        styles += [style.extract().text for style in body.find_all("style")]
        for extra in body.select(FURNITURE):
            extra.decompose()
        for link in body.find_all("a", href=True):
            link["href"] = urljoin(page.url, link["href"])
        heading = body.h1.get_text().strip()
        yield Article(heading, body, list(dict.fromkeys(styles)))


def exercises(article: Article) -> list[Tag]:
    """The exercises of a chapter, in order."""
    return [copy.copy(found) for found in article.body.select("#exercises > section")]


def nameless(piece: Tag) -> str:
    """The HTML of a piece without its ids, of which one document may have each only once.

    A drawing keeps those by which it refers to itself: they are made of what they name.
    """
    for named in [piece, *piece.find_all(id=True)]:
        if named.find_parent("svg") is None:
            named.attrs.pop("id", None)
    return str(piece)


def document(
    title: str, body: str, styles: Iterable[str], folder: Path, script: str = ""
) -> str:
    """One HTML file that needs no other.

    Args:
        title: Its title.
        body: Its content.
        styles: Rules, of which each is written once; `url(...)` in them is a file of the book.
        folder: Where the book's HTML is.
        script: What runs at its end.
    """
    static = folder / "_static"
    book = browser.patient((static / "book.css").read_text("utf-8"))
    fonts = [rule.replace("url(", "url(_static/") for rule in FONTS.findall(book)]
    colours = (static / "pygments.css").read_text("utf-8")
    rules = "\n".join(dict.fromkeys([*fonts, colours, *styles]))

    def inline(match: re.Match[str]) -> str:
        content = (folder / match[1].removeprefix(browser.home())).read_bytes()
        return f"url(data:font/woff;base64,{base64.b64encode(content).decode()})"

    rules = re.sub(r'url\("?([^")]+\.woff2?)"?\)', inline, rules)
    return (
        '<!doctype html>\n<html lang="en" data-theme="light">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{rules}\n</style>\n</head>\n<body>\n{body}\n"
        f"{f'<script>{script}</script>' if script else ''}\n</body>\n</html>\n"
    )
