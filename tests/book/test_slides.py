"""The slides of a part: `make slides` on what `make book` built."""

from __future__ import annotations

import io
import re

import pytest
import slides
from bs4 import BeautifulSoup
from conftest import ROOT
from pypdf import PdfReader

BOOK = ROOT / "_build" / "html"
CHAPTER = "chapters/1_problem/chain_rule"
HERE = "Math.round(scrollY / innerHeight)"


@pytest.fixture(scope="module")
def deck(chromium, tmp_path_factory):
    """Slides of one chapter, on disk."""
    path = tmp_path_factory.mktemp("slides") / "part-1.html"
    written = slides.deck(chromium, 1, "The problem", [CHAPTER], BOOK)
    path.write_text(written, "utf-8")
    return path


@pytest.fixture(scope="module")
def soup(deck):
    return BeautifulSoup(deck.read_text("utf-8"), "html.parser")


@pytest.fixture
def show(chromium, deck):
    """Open the slides; any request or complaint fails the test."""
    contexts, complaints = [], []

    def open_(*, width=1280, height=720, theme="light"):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme
        )
        contexts.append(context)
        page = context.new_page()
        page.on(
            "request",
            lambda request: (
                request.url.startswith(("data:", deck.as_uri()))
                or complaints.append(request.url)
            ),
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(deck.as_uri())
        page.evaluate("document.fonts.ready")
        return page

    yield open_
    for context in contexts:
        context.close()
    assert not complaints


def page_of(name):
    return BeautifulSoup((BOOK / f"{name}.html").read_text("utf-8"), "html.parser")


def claim_of(piece):
    """What a card says: the statement, what was measured, what was expected."""
    facts = {row.dt.text: row.dd.text for row in piece.select("dl > div")}
    return piece.p.text, facts["measured"], facts["expected"]


def test_a_chapter_gives_what_a_speaker_needs_and_nothing_twice(soup):
    chapter = page_of(CHAPTER)
    titles = soup.select(".slide.title")
    assert "Part I · The problem" in titles[0].text
    assert titles[1].h1.text == "2. The chain rule"
    assert titles[1].div.text == "Where does the product come from?"
    for kind in (".vg-predict", "figure.vg-figure", "figure.vg-explore"):
        found = soup.select(kind)
        assert len(found) == len(chapter.select(kind)) > 0
    said = [claim_of(piece) for piece in soup.select(".claim")]
    assert said == [claim_of(piece) for piece in chapter.select(".vg-claim")]
    headings = [slide.find(["h1", "h2"]).text for slide in soup.select(".slide")]
    at = headings.index
    assert at("What you will learn") == 2
    assert at("Summary") < at("Exercise 1: by hand") < at("Exercise 4: open paths")


def test_exercises_come_without_hints_and_solutions(soup):
    text = soup.get_text()
    for solution in page_of(CHAPTER).select(".tag_solution pre"):
        assert solution.text.strip() not in text
    # The chapter comments on its first solution.
    assert "Look at the answer again" in page_of(CHAPTER).get_text()
    assert "Look at the answer again" not in text
    assert soup.select("details, .vg-check, .vg-done") == []
    assert "open_paths" in text


def test_figures_say_what_they_show(soup):
    for picture in soup.select("figure > svg"):
        assert len(picture["aria-label"]) >= 20
    for figure in soup.select("figure"):
        assert figure.figcaption.text.strip()


def test_a_file_needs_no_other(deck, soup, show):
    assert soup.select("link, img[src^=http], script[src]") == []
    assert not re.search(r"url\((?!#|data:)", deck.read_text("utf-8"))
    page = show()
    formulas = page.locator("mjx-container").count()
    assert formulas == page.locator("mjx-container mjx-math:not(:empty)").count() > 10
    assert page.locator("mjx-merror").count() == 0
    fonts = "[...document.fonts].filter(f => f.status == 'loaded').map(f => f.family)"
    assert {"Source Serif 4", "MJXTEX", "MJXTEX-I"} <= set(page.evaluate(fonts))


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (1024, 576)])
def test_nothing_leaves_its_slide(show, size):
    page = show(width=size[0], height=size[1])
    assert page.evaluate(slides.OVERFULL) == []
    boxes = "[...document.querySelectorAll('.slide')].map(s => s.offsetHeight)"
    assert {round(height / size[1], 2) for height in page.evaluate(boxes)} == {1}
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_on_a_phone_slides_follow_each_other(show):
    page = show(width=360, height=740)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    beyond = """[...document.querySelectorAll(".slide")].filter(slide =>
      [...slide.querySelectorAll("div, div > *, figure > *")].some(piece =>
        piece.getBoundingClientRect().bottom > slide.getBoundingClientRect().bottom + 1)
    ).map(slide => slide.id)"""
    assert page.evaluate(beyond) == []
    assert page.locator("figure > svg").first.bounding_box()["height"] > 100


def test_keys_and_clicks_lead_from_slide_to_slide(show):
    page = show()
    last = page.locator(".slide").count() - 1
    for key, at in [
        ("ArrowRight", 1),
        (" ", 2),
        ("PageDown", 3),
        ("ArrowLeft", 2),
        ("End", last),
        ("ArrowRight", last),
        ("Home", 0),
        ("PageUp", 0),
    ]:
        page.keyboard.press(key)
        page.wait_for_function(f"{HERE} === {at}")
    page.mouse.click(900, 400)
    page.wait_for_function(f"{HERE} === 1")
    page.mouse.click(100, 400)
    page.wait_for_function(f"{HERE} === 0")


def test_an_explorable_can_be_turned_and_does_not_turn_the_page(show):
    page = show()
    slider = page.locator(".vg-explore input[type=range]").first
    slider.focus()
    before = page.evaluate(HERE)
    told = page.locator(".vg-explore .vg-read").last.text_content()
    page.keyboard.press("ArrowRight")
    assert page.locator(".vg-explore .vg-read").last.text_content() != told
    assert page.evaluate(HERE) == before > 0


def test_slides_follow_the_theme(show):
    ink = "svg => Math.max(...getComputedStyle(svg).fill.match(/\\d+/g).slice(0, 3))"
    for theme, dark in (("light", True), ("dark", False)):
        page = show(theme=theme)
        picture = page.locator(".vg-figure svg").first
        assert (picture.evaluate(ink) < 100) is dark
        page.keyboard.press("d")
        assert (picture.evaluate(ink) < 100) is not dark


def test_paper_has_one_slide_a_page(show):
    page = show(theme="dark")
    sheets = PdfReader(io.BytesIO(page.pdf(prefer_css_page_size=True))).pages
    assert len(sheets) == page.locator(".slide").count()
    assert "Predict" in sheets[3].extract_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_is_content(show, theme):
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(show(theme=theme), options={"preload": False}).response
    serious = [
        f"{v['id']}: {v['nodes'][0]['html'][:200]}"
        for v in found["violations"]
        if v["impact"] in {"serious", "critical"}
    ]
    assert serious == []


# --- without a browser ----------------------------------------------------------------------------


def test_what_is_too_much_goes_on_and_what_is_too_large_shrinks():
    slide = slides.Slide("1. One", "claims", "Claims", ["a", "b", "c", "d"])
    other = slides.Slide("1. One", "text", "Summary", ["e"])
    heights = [[100, 10, 40, 50, 20, 200], [100, 10, 100]]
    screens = slides.cut([slide, other], heights)
    assert [screen.pieces for screen in screens] == [["a", "b"], ["c"], ["d"], ["e"]]
    assert [screen.scale for screen in screens] == [1, 1, pytest.approx(0.49), 1]
    assert [screen.heading for screen in screens] == [
        "Claims",
        *["Claims <small>continued</small>"] * 2,
        "Summary",
    ]
    assert slide.pieces == ["a", "b", "c", "d"]


def test_what_cannot_be_read_is_no_slide(chromium, monkeypatch):
    monkeypatch.setattr(slides, "SMALLEST", 1.1)
    with pytest.raises(SystemExit, match="Part I · The problem: slide-1 is too full"):
        slides.deck(chromium, 1, "The problem", [CHAPTER], BOOK)


def test_there_are_no_slides_without_a_book(chromium, tmp_path):
    with pytest.raises(SystemExit, match="make book"):
        slides.deck(chromium, 1, "The problem", [CHAPTER], tmp_path)


PARTS = [[n for n in names if n.startswith("chapters/")] for _, names in slides.parts()]


@pytest.mark.slow
@pytest.mark.parametrize("names", [names for names in PARTS if names], ids=len)
def test_every_part_fits(chromium, names):
    assert slides.deck(chromium, 1, "Part", names, BOOK).count("<section") > 20
