"""Make slides of the built book, one file a part: `python tools/slides.py [PART ...]`.

A chapter gives its question, then in its own order what learners are to predict, the figures and
the claims, and at the end its summary and its exercises without hints and solutions. Chromium
measures every piece: what is too much for one screen goes on to the next, what is too large is made
smaller.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import browser
from pieces import Article, articles, document, exercises, nameless
from playwright.sync_api import Browser, Page, ViewportSize
from toc import ROOT, parts

HERE = Path(__file__).parent
SCREEN: ViewportSize = {"width": 1280, "height": 720}
SMALLEST = 0.6  # of the size of text; below that nobody reads it.
LEARN = re.compile("what you will learn", re.IGNORECASE)
SHOWN = ".vg-predict, .vg-figure, .vg-explore, .vg-claim"
# For each slide: the height of its content's frame, the gap, the height of each piece.
MEASURE = """() => [...document.querySelectorAll(".slide > div")].map(frame => [
  frame.clientHeight, parseFloat(getComputedStyle(frame).rowGap),
  ...[...frame.children].map(piece => piece.scrollHeight > piece.clientHeight + 1
    ? piece.scrollHeight : piece.getBoundingClientRect().height)])"""
# The slides on which something leaves the frame.
OVERFULL = """() => [...document.querySelectorAll(".slide")].filter(slide => {
  const frame = slide.querySelector("div"), edge = frame.getBoundingClientRect();
  const pieces = ":scope > *, figure > *, mjx-container > *, pre > *, td, text";
  return [...frame.querySelectorAll(pieces)].some(piece => {
    const at = piece.getBoundingClientRect();
    return at.width && (at.left < edge.left - 1 || at.right > edge.right + 1
      || at.top < edge.top - 1 || at.bottom > edge.bottom + 1); });
}).map(slide => slide.id)"""


@dataclass
class Slide:
    """One screen.

    Attributes:
        chapter: The chapter that it belongs to, for its foot.
        kind: `title`, `predict`, `figure`, `claims`, `text` or `exercise`.
        heading: HTML.
        pieces: HTML, one below the other.
        scale: The size of its text, 1 if all fits.
    """

    chapter: str
    kind: str
    heading: str
    pieces: list[str] = field(default_factory=list)
    scale: float = 1.0


def chapter_slides(article: Article) -> Iterator[Slide]:
    """What a chapter shows, in its order, not yet cut into screens."""
    title, body = article.title, article.body
    question = body.h1.find_next_sibling("p")
    yield Slide(title, "title", title, [nameless(question)])
    if told := body.find(string=LEARN):
        yield Slide(title, "text", "What you will learn", _items(told.find_next("ul")))
    shown = [
        piece
        for piece in body.select(SHOWN)
        if not piece.find_parent(id=["exercises", "quiz"])
    ]
    for (heading, kind), group in groupby(shown, lambda p: (_heading(p), _kind(p))):
        pieces = list(group)
        if kind == "claims":
            yield Slide(title, kind, heading, [_claim(piece) for piece in pieces])
        for piece in pieces if kind != "claims" else []:
            for extra in piece.select("details, .admonition-title"):
                extra.decompose()
            if piece.attrs.pop("data-ready", None) is not None:
                # What moves an explorable stands behind it, and shall run again in the slides.
                piece.append(piece.find_next_sibling("script"))
            yield Slide(title, kind, heading, [nameless(piece)])
    for summary in body.select("#summary"):
        yield Slide(title, "text", "Summary", _children(summary))
    for sheet in exercises(article):
        # What is said after a solution gives it away.
        for extra in sheet.select(
            "details, .cell_output, .tag_solution, .tag_solution ~ *"
        ):
            extra.decompose()
        yield Slide(title, "exercise", _heading(sheet.h3), _children(sheet))


def _kind(piece: Any) -> str:
    kinds = {"vg-predict": "predict", "vg-claim": "claims"}
    return next((kinds[name] for name in piece["class"] if name in kinds), "figure")


def _heading(piece: Any) -> str:
    """The heading under which a piece stands."""
    own = piece if piece.name == "h3" else piece.find_previous(["h1", "h2", "h3"])
    return str(own.decode_contents()).strip()


def _children(section: Any) -> list[str]:
    """The HTML of what a section has below its heading, its lists taken apart."""
    found = []
    for child in section.find_all(recursive=False):
        if child.name in {"ol", "ul"}:
            found += _items(child)
        elif child.name not in {"h2", "h3"} and child.get_text().strip():
            found.append(nameless(child))
    return found


def _items(whole: Any) -> list[str]:
    """The items of a list, each as a list of its own, the numbers going on."""
    items = whole.find_all("li", recursive=False)
    if whole.name == "ul":
        return [f"<ul>{nameless(item)}</ul>" for item in items]
    return [
        f'<ol start="{number}">{nameless(item)}</ol>'
        for number, item in enumerate(items, 1)
    ]


def _claim(piece: Any) -> str:
    """A claim's statement, what was measured and what was expected."""
    facts = {row.dt.text: row.dd.decode_contents() for row in piece.select("dl > div")}
    rows = "".join(
        f"<div><dt>{name}</dt><dd>{facts[name]}</dd></div>"
        for name in ("measured", "expected")
        if name in facts
    )
    statement = piece.find("p", recursive=False).decode_contents()
    return f'<div class="claim"><p>{statement}</p><dl>{rows}</dl></div>'


def cut(slides: Sequence[Slide], heights: Sequence[Sequence[float]]) -> list[Slide]:
    """Cut slides into screens.

    Args:
        slides: As chapters give them.
        heights: For each the height of its frame, the gap between pieces, the height of each piece.
    """
    screens: list[Slide] = []
    for slide, (room, gap, *sizes) in zip(slides, heights, strict=True):
        taken = 0.0
        for number, (piece, size) in enumerate(zip(slide.pieces, sizes, strict=True)):
            if number and taken + gap + size <= room:
                screens[-1].pieces.append(piece)
                taken += gap + size
            else:
                # Smaller text also breaks into fewer lines, so that this is enough.
                scale = 0.98 * room / size if size > room else 1.0
                more = " <small>continued</small>" * bool(number)
                heading = slide.heading + more
                screens.append(
                    replace(slide, heading=heading, pieces=[piece], scale=scale)
                )
                taken = size
    return screens


def markup(slides: Sequence[Slide], part: str) -> str:
    """The HTML of slides."""
    found = []
    for number, slide in enumerate(slides, 1):
        level = "h1" if slide.kind == "title" else "h2"
        found.append(
            f'<section class="slide {slide.kind}" id="slide-{number}"'
            f' style="--scale:{slide.scale:.3f}" aria-label="Slide {number}">'
            f"<{level}>{slide.heading}</{level}>\n<div>{''.join(slide.pieces)}</div>\n"
            f"<p>{slide.chapter or part}<span>{number} / {len(slides)}</span></p></section>"
        )
    return "\n".join(["<main>", *found, "</main>"])


def deck(
    chromium: Browser, number: int, caption: str, names: Sequence[str], folder: Path
) -> str:
    """The slides of a part as one HTML file.

    Args:
        chromium: From `browser.launched`.
        number: Which part it is, from 1.
        caption: Its name.
        names: Its chapters.
        folder: Where the book's HTML is.

    Raises:
        SystemExit: Something does not fit on a slide, even small.
    """
    part = f"Part {['I', 'II', 'III', 'IV', 'V', 'VI', 'VII'][number - 1]} · {caption}"
    chapters = list(articles(chromium, names, folder))
    listed = "".join(f"<li>{chapter.title}</li>" for chapter in chapters)
    slides = [Slide("", "title", part, [f"<ul>{listed}</ul>"])]
    for chapter in chapters:
        slides += chapter_slides(chapter)
    styles = [rule for chapter in chapters for rule in chapter.styles]
    styles.append((HERE / "slides.css").read_text("utf-8"))
    script = (HERE / "slides.js").read_text("utf-8")

    def written(screens: Sequence[Slide]) -> str:
        title = f"{part} · Vanishing Gradients"
        return document(title, markup(screens, part), styles, folder, script)

    page = chromium.new_page(viewport=SCREEN)
    page.set_content(written(slides))
    screens = cut(slides, _settled(page).evaluate(MEASURE))
    whole = written(screens)
    page.set_content(whole)
    problems = [f"{name} overflows" for name in _settled(page).evaluate(OVERFULL)]
    problems += [
        f"slide-{at} is too full"
        for at, s in enumerate(screens, 1)
        if s.scale < SMALLEST
    ]
    page.close()
    if problems:
        raise SystemExit(f"{part}: {', '.join(problems)}")
    return whole


def _settled(page: Page) -> Page:
    page.evaluate("document.fonts.ready")
    return page


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the slides and name the files."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--book", type=Path, default=ROOT / "_build" / "html")
    parser.add_argument("--out", type=Path, default=ROOT / "_build" / "slides")
    parser.add_argument(
        "parts", nargs="*", type=int, help="such as 1; all if not given"
    )
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    chapters = [
        (caption, [name for name in names if name.startswith("chapters/")])
        for caption, names in parts()
    ]
    wanted = [(caption, names) for caption, names in chapters if names]
    with browser.launched() as chromium:
        for number, (caption, names) in enumerate(wanted, 1):
            if number in (options.parts or [number]):
                target = options.out / f"part-{number}.html"
                target.write_text(
                    deck(chromium, number, caption, names, options.book), "utf-8"
                )
                print(target, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
