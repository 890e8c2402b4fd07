"""The finished book as its readers meet it: in a browser, with no network, light and dark, wide and
narrow. It tests `_build/html`, which `make book` writes.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from contextlib import ExitStack
from urllib.parse import unquote, urlsplit

import pages
import pytest
from bs4 import BeautifulSoup
from conftest import ROOT
from toc import notebooks, repository

BOOK = ROOT / "_build" / "html"
PAGES = sorted(
    path.relative_to(BOOK).as_posix()
    for path in BOOK.rglob("*.html")
    if "_static" not in path.parts
)


WORDS = pages.pages(BOOK)
NOTEBOOKS = [path.relative_to(ROOT).as_posix() for path in notebooks(ROOT)]
CHAPTERS = [name for name in NOTEBOOKS if name.startswith("chapters/")]


def test_the_book_was_built():
    """Without pages every other test here would pass."""
    missing = {f"{name.removesuffix('.ipynb')}.html" for name in NOTEBOOKS} - set(PAGES)
    assert not missing, "make book writes these pages"


@functools.cache
def soup(page: str) -> BeautifulSoup:
    return BeautifulSoup((BOOK / page).read_text("utf-8"), "html.parser")


# --- without a browser ----------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    broken = []
    for link in soup(page).find_all("a", href=True):
        address = urlsplit(link["href"])
        if address.scheme or address.netloc:
            continue
        target = (
            (BOOK / page).parent / unquote(address.path)
            if address.path
            else BOOK / page
        )
        anchor = unquote(address.fragment)
        if not target.exists():
            broken.append(link["href"])
        elif anchor and target.suffix == ".html":
            other = soup(target.resolve().relative_to(BOOK.resolve()).as_posix())
            if (
                other.find(id=anchor) is None
                and other.find(attrs={"name": anchor}) is None
            ):
                broken.append(link["href"])
    assert not broken


def test_search_engines_find_every_page():
    listed = re.findall(r"<loc>([^<]+)</loc>", (BOOK / "sitemap.xml").read_text())
    owner, project = repository(ROOT).split("/")
    home = f"https://{owner}.github.io/{project}/"
    assert {f"{home}{page}" for page in WORDS if page != "index.html"} <= set(listed)


@pytest.mark.parametrize("page", [page for page in WORDS if page != "index.html"])
def test_a_link_to_a_page_can_be_shared_with_a_picture(page):
    told = {
        tag["property"].removeprefix("og:"): tag["content"]
        for tag in soup(page).find_all("meta", property=re.compile("^og:"))
    }
    owner, project = repository(ROOT).split("/")
    home = f"https://{owner}.github.io/{project}/"
    assert told["url"] == f"{home}{page}"
    assert told["site_name"] == "Vanishing Gradients"
    assert len(told["description"]) > 20
    assert (BOOK / told["image"].removeprefix(home)).is_file()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_names_each_place_once_and_describes_each_picture(page):
    ids = Counter(tag["id"] for tag in soup(page).find_all(id=True))
    assert [name for name, count in ids.items() if count > 1] == []
    assert [img for img in soup(page).find_all("img") if img.get("alt") is None] == []
    for figure in soup(page).select("figure.vg-figure"):
        assert len(figure.find(role="img")["aria-label"]) >= 20
        assert figure.find("figcaption").text.strip()


@pytest.mark.parametrize("notebook", CHAPTERS)
def test_figures_are_told_in_numbers(notebook):
    """Only a drawing, which has no axes, may have none."""
    figures = soup(f"{notebook.removesuffix('.ipynb')}.html").select("figure.vg-figure")
    assert any(figure.select("figcaption details li") for figure in figures)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_light(page):
    assert (BOOK / page).stat().st_size <= 1.5e6


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_launch_buttons_open_this_notebook(notebook):
    page = soup(f"{notebook.removesuffix('.ipynb')}.html")
    links = {link["href"] for link in page.find_all("a", href=True)}
    owner = repository(ROOT)
    assert (
        f"https://colab.research.google.com/github/{owner}/blob/main/{notebook}"
        in links
    )
    assert (
        f"https://mybinder.org/v2/gh/{owner}/main?urlpath=lab/tree/{notebook}" in links
    )


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_markdown_left_nothing_unread(notebook):
    """No raw Markdown, formula or role shows through."""
    article = soup(f"{notebook.removesuffix('.ipynb')}.html").find("article")
    for hidden in article.select("pre, code, script, style, .math, svg"):
        hidden.extract()
    text = article.get_text(" ")
    assert (
        re.findall(r"\{cite\S*|\$\$?[^$\n]{1,80}\$|\*\*\S[^*\n]*\*\*|\]\([^)]*\)", text)
        == []
    )


@pytest.mark.parametrize("page", PAGES)
def test_no_object_stands_where_a_result_should(page):
    """The repr of something that a cell's last line returned, with its address in memory."""
    assert re.findall(r"&lt;[^&]* at 0x[0-9a-f]+&gt;", soup(page).decode()) == []


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address():
    """The book on a local web server."""
    with pages.served(BOOK) as address:
        yield address


@pytest.fixture
def read(chromium):
    """Open an address in a tab of its own; a lost request or a complaint fails the test."""
    faults, tabs = [], ExitStack()

    def open_(url: str, theme: str = "light"):
        size = (*pages.DESK[:2], theme)
        page = tabs.enter_context(pages.reading(chromium, faults, size))
        pages.go(page, url)
        return page

    with tabs:
        yield open_
    assert not faults


@pytest.mark.parametrize("size", [pages.DESK, pages.PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("page", WORDS)
def test_a_page_reads_without_network(chromium, address, page, size):
    """Nothing is lost or cut off, nothing jumps, formulas are set, axe is content."""
    assert pages.visit(chromium, f"{address}/{page}", size).faults == []


@pytest.mark.parametrize("page", WORDS)
def test_a_page_reads_from_a_folder(read, page):
    opened = read(f"file://{BOOK / page}")
    assert len(set(pages.formulas(opened))) == 1


def test_there_are_formulas_to_typeset(read, address):
    """The tests above would pass if no page had any."""
    chapter = read(f"{address}/{CHAPTERS[-1].removesuffix('.ipynb')}.html")
    assert pages.formulas(chapter)[1] > 10


def test_words_show_even_where_formulas_cannot_be_set(chromium, address):
    chapter = f"{address}/{CHAPTERS[-1].removesuffix('.ipynb')}.html"
    with pages.reading(chromium, []) as page:
        page.route("**/mathjax/**", lambda route: route.abort())
        page.goto(chapter)
        page.wait_for_selector("article h1", state="visible", timeout=10_000)
        assert page.locator(".math").count() > 0
        assert page.locator("mjx-container").count() == 0


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_figures_follow_the_theme(read, address, notebook):
    """The ink of every figure is dark on light and light on dark."""
    url = f"{address}/{notebook.removesuffix('.ipynb')}.html"
    light, dark = (
        read(url, theme=theme).evaluate(
            "() => [...document.querySelectorAll('.vg-figure svg')].map("
            "svg => Math.max(...getComputedStyle(svg).fill.match(/\\d+/g).slice(0, 3)))"
        )
        for theme in ("light", "dark")
    )
    assert light
    assert max(light) < 100
    assert min(dark) > 150


@pytest.mark.parametrize("notebook", CHAPTERS)
def test_a_solution_opens_on_request(read, address, notebook):
    page = read(f"{address}/{notebook.removesuffix('.ipynb')}.html")
    button = page.get_by_text("Show solution").first
    solution = page.locator(".cell.tag_solution .highlight").first
    assert not solution.is_visible()
    button.click()
    assert solution.is_visible()


def test_progress_stays_in_the_browser(read, address):
    chapter = f"{address}/{CHAPTERS[0].removesuffix('.ipynb')}.html"
    page = read(chapter)
    page.get_by_label("I have read this chapter").check()
    page.get_by_label("I have solved it").first.check()
    question = page.locator(".vg-quiz fieldset").first
    answers = question.locator("li")
    right = answers.evaluate_all("all => all.findIndex(li => 'right' in li.dataset)")
    question.locator("input").nth(right).check()
    question.get_by_role("button", name="Check").click()
    asked = page.locator(".vg-quiz fieldset").count()
    page.goto(f"{address}/intro.html")
    told = page.locator("#vg-progress output")
    whole = len(CHAPTERS)
    assert told.text_content() == (
        f"chapters read 1 of {whole}, exercises solved 1, quiz questions right 1 of {asked}."
    )
    assert page.locator(".bd-sidebar-primary .vg-ticked").count() == 1
    page.on("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Forget it").click()
    assert told.text_content().startswith(f"chapters read 0 of {whole}, exercises")
    assert page.locator(".vg-ticked").count() == 0
    page.goto(chapter)
    assert not page.get_by_label("I have read this chapter").is_checked()


def answer(question, *, rightly: bool) -> str:
    """Choose all right answers, or one wrong one; what the page says to it."""
    texts = question.locator("li")
    right = texts.evaluate_all("all => all.map(li => 'right' in li.dataset)")
    for number, is_right in enumerate(right):
        box = question.locator("input").nth(number)
        if is_right if rightly else number == right.index(False):
            box.check()
        elif box.get_attribute("type") == "checkbox":
            box.uncheck()
    question.get_by_role("button", name="Check").click()
    return question.locator("output").text_content()


@pytest.mark.parametrize(("name", "asked"), [("pretest", 10), ("exam", 30)])
def test_who_studies_alone_is_asked_and_told(read, address, name, asked):
    """Each question answers back, right and wrong; the scores of all parts add up."""
    page = read(f"{address}/{name}.html")
    questions = page.locator(".vg-quiz fieldset").all()
    assert len(questions) == asked
    for question in questions:
        assert answer(question, rightly=False).startswith("✗")
        assert answer(question, rightly=True).startswith("✓ Right.")
    page.goto(f"{address}/intro.html")
    told = page.locator("#vg-progress output").text_content()
    assert told.endswith(f"quiz questions right {asked} of {asked}.")


def test_the_exam_leads_to_every_chapter():
    """Each chapter of the four parts is asked for; the proof is a link away."""
    links = {link["href"] for link in soup("exam.html").select("article a[href]")}
    parts = [name for name in CHAPTERS if re.match(r"chapters/[1-4]_", name)]
    assert {f"{name.removesuffix('.ipynb')}.html" for name in parts} <= links


@pytest.mark.parametrize("name", ["pretest", "exam"])
def test_right_answers_do_not_stand_out(name):
    """Not by their place, and not by their length, more often than chance has it."""
    places, longest, chance = Counter(), 0, 0.0
    for question in soup(f"{name}.html").select(".vg-quiz fieldset"):
        texts = [len(label.text.strip()) for label in question.find_all("label")]
        right = [li.has_attr("data-right") for li in question.find_all("li")]
        assert len(texts) == len(right)
        if sum(right) == 1:
            places[right.index(True)] += 1
            longest += texts[right.index(True)] > sorted(texts)[-2]
            chance += 1 / len(texts)
    assert longest <= chance
    assert max(places.values()) <= places.total() / 2


@pytest.mark.parametrize("words", ["vanishing gradient", "sigmoid"])
def test_search_finds(read, address, words):
    page = read(f"{address}/search.html?q={words.replace(' ', '+')}")
    page.wait_for_selector("#search-results li a")
    assert page.locator("#search-results li").count() >= 2


def test_the_ledger_leads_to_the_claims(read, address):
    page = read(f"{address}/ledger.html")
    links = page.locator(".vg-ledger a[href*='#claim-']")
    assert links.count() >= 3
    links.first.click()
    page.wait_for_url("**#claim-*")
    assert page.locator(".vg-claim:target").is_visible()


@pytest.mark.parametrize("notebook", CHAPTERS[::4])
def test_a_link_to_a_claim_shows_it(read, address, notebook):
    """Below the bar at the top, though formulas above it changed their height."""
    name = f"{notebook.removesuffix('.ipynb')}.html"
    claims = [claim["id"] for claim in soup(name).select(".vg-claim[id]")]
    for claim in (claims[len(claims) // 2], claims[-1]):
        page = read(f"{address}/{name}#{claim}")
        bar = page.locator(".bd-header-article").bounding_box()
        page.wait_for_function(
            "([id, bar]) => { const place = document.getElementById(id).getBoundingClientRect();"
            " return place.top >= bar && place.bottom <= innerHeight; }",
            arg=[claim, bar["y"] + bar["height"]],
            timeout=5000,
        )
