"""What the cheat sheet, the page for teachers, the hand-outs and paper promise."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import handout
import nbformat
import pytest
from bs4 import BeautifulSoup
from conftest import ROOT
from toc import notebooks

from vgutils import theory

BOOK = ROOT / "_build" / "html"
SHEET = (ROOT / "cheatsheet.md").read_text("utf-8")
TEACHING = (ROOT / "instructors.md").read_text("utf-8")
CHAPTERS = [path for path in notebooks() if path.parent != ROOT]
NAMES = [path.relative_to(ROOT).as_posix() for path in CHAPTERS]


def minutes(chapter: Path) -> int:
    """How long the chapter says that it takes."""
    opening = nbformat.read(chapter, as_version=4).cells[0].source
    return int(re.search(r"\*\*Time:\*\* about (\d+) minutes", opening)[1])


# --- the page for teachers ------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_every_chapter_has_its_place_in_class(name):
    section = re.search(
        rf"^### \[.+\]\({name}\)\n(.+?)(?=^#|\Z)", TEACHING, re.M | re.S
    )
    assert section is not None
    said = re.search(r"\*\*(\d+) minutes\.\*\*", section[1])
    assert int(said[1]) == minutes(ROOT / name)
    for part in ("Needs", "**Goal.**", "**Expect.**", "**Ten minutes in class.**"):
        assert part in section[1]


def test_the_weeks_hold_every_chapter_or_leave_it_for_a_project():
    schedule = TEACHING.split("## Thirteen weeks")[1].split("## One day")[0]
    weeks = re.findall(r"^\| (\d+) \| (.+) \| (\d+) \|$", schedule, re.M)
    assert [int(week) for week, _, _ in weeks] == list(range(1, 14))
    for _, chapters, said in weeks:
        linked = re.findall(r"\]\(([^)]+)\)", chapters)
        assert int(said) == sum(minutes(ROOT / name) for name in linked)
    assert set(re.findall(r"\]\((chapters/[^)]+)\)", schedule)) == set(NAMES)


def test_the_day_has_no_two_things_at_a_time():
    day = TEACHING.split("## One day")[1].split("## The chapters")[0]
    rows = re.findall(r"^\| (\d\d):(\d\d) \| (\d+) \|", day, re.M)
    starts = [60 * int(hour) + int(minute) for hour, minute, _ in rows]
    ends = [start + int(row[2]) for start, row in zip(starts, rows, strict=True)]
    assert len(rows) > 5
    assert all(end <= start for end, start in zip(ends, starts[1:], strict=False))


# --- hand-outs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("chapter", CHAPTERS, ids=NAMES)
def test_a_handout_is_the_chapter_without_its_solutions(chapter):
    whole = nbformat.read(chapter, as_version=4)
    sheet = handout.handout(whole)
    nbformat.validate(sheet)
    assert not [c for c in sheet.cells if "solution" in c.metadata.get("tags", [])]
    text = "\n".join(cell.source for cell in sheet.cells)
    before = "\n".join(cell.source for cell in whole.cells)
    assert "<summary>Solution" not in text
    for kept in ("<summary>Hint 1", "### Exercise", "vg.claim(", "## Quiz"):
        assert text.count(kept) == before.count(kept)
    assert text.count("<details>") == text.count("</details>")


def test_handouts_are_written_where_the_page_says(tmp_path, capsys):
    command = re.search(r"^\.venv/bin/python tools/handout\.py (\S+)$", TEACHING, re.M)
    assert handout.main(["--out", str(tmp_path), str(ROOT / command[1])]) == 0
    assert (tmp_path / command[1]).exists()
    assert capsys.readouterr().out.strip() == str(tmp_path / command[1])
    assert f"`_build/handouts/{command[1]}`" in TEACHING


def test_the_key_has_every_exercise_and_its_solution(chromium):
    name = "chapters/1_problem/sigmoid"
    key = BeautifulSoup(handout.key(chromium, [name], BOOK), "html.parser")
    assert [part.text for part in key.find_all("h2")] == ["The problem"]
    page = BeautifulSoup((BOOK / f"{name}.html").read_text("utf-8"), "html.parser")
    asked = [title.next for title in page.select("#exercises h3")]
    assert [title.text for title in key.find_all("h4")] == asked
    answers = " ".join(answer.text for answer in key.select(".solution"))
    for solution in page.select("#exercises .tag_solution pre"):
        assert solution.text.strip() in answers
    assert len(key.select(".solution")) == len(
        page.select("#exercises .tag_solution, #exercises section > details:has(> p)")
    ) - len([hint for hint in page.select("summary") if "Hint" in hint.text])
    assert not key.select("details, link, script")
    assert "Hint 1" not in key.text
    assert "Not attempted" not in key.text
    assert key.select("mjx-container")


def test_the_key_is_written_where_the_page_says(tmp_path, monkeypatch, capsys):
    assert ".venv/bin/python tools/handout.py --key\n" in TEACHING
    assert "`_build/key.html`" in TEACHING
    monkeypatch.setattr(handout, "key", lambda chromium, names, folder: names[0])
    monkeypatch.setattr(handout.browser, "launched", contextlib.nullcontext)
    target = tmp_path / "key.html"
    assert handout.main(["--key", "--out", str(target), str(CHAPTERS[0])]) == 0
    assert target.read_text("utf-8") == NAMES[0].removesuffix(".ipynb")
    assert capsys.readouterr().out.strip() == str(target)


# --- the cheat sheet ------------------------------------------------------------------------------

ROWS = re.findall(
    r"^\| (\w+) \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \|", SHEET, re.MULTILINE
)


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_gains_are_those_of_the_theory(row):
    name, forward, backward, chi_1 = row[0].lower(), *map(float, row[1:])
    assert forward == pytest.approx(theory.gain(name), abs=6e-4)
    assert backward == pytest.approx(theory.gain(name, backward=True), abs=6e-4)
    # Where a signal fades to nothing, the slopes next to 0 count; ReLU's are the same at any size.
    q = 1.0 if name == "relu" else max(theory.fixed_point(name, sigma_w=1.0), 1e-9)
    assert chi_1 == pytest.approx(theory.chi_1(name, q, sigma_w=1.0), abs=6e-4)


def test_the_other_numbers_are_too():
    assert len(ROWS) == 8
    for name, sigma_b in (("tanh", 0.05**0.5), ("sigmoid", 0.0)):
        row = re.search(rf"^\| {name} \|.*$", SHEET, re.MULTILINE)[0]
        edge = theory.critical_sigma_w(name, sigma_b=sigma_b)
        assert f"\\sigma_w = {edge:.3f}$" in row


# --- paper ----------------------------------------------------------------------------------------


@pytest.fixture
def opened(chromium):
    """Open a page of the built book as a reader who prefers the dark, formulas set."""
    contexts = []

    def open_(page: str, width: int = 1280):
        context = chromium.new_context(viewport={"width": width, "height": 900})
        contexts.append(context)
        tab = context.new_page()
        for key in ("mode", "theme"):
            tab.add_init_script(f"localStorage.setItem('{key}', 'dark')")
        tab.goto((BOOK / page).as_uri())
        tab.wait_for_function("window.MathJax?.startup?.promise !== undefined")
        tab.evaluate("MathJax.startup.promise")
        return tab

    yield open_
    for context in contexts:
        context.close()


def test_the_cheat_sheet_is_two_light_pages(opened):
    pypdf = pytest.importorskip("pypdf")
    tab = opened("cheatsheet.html")
    theme = "document.documentElement.dataset.theme"
    tab.evaluate(f"addEventListener('beforeprint', () => window.printed = {theme})")
    sheet = tab.pdf(format="A4", print_background=True)
    assert len(pypdf.PdfReader(io.BytesIO(sheet)).pages) == 2
    assert tab.evaluate("window.printed") == "light"
    assert tab.evaluate(theme) == "dark"


@pytest.mark.parametrize("page", ["cheatsheet", NAMES[2].removesuffix(".ipynb")])
def test_on_paper_nothing_is_cut_and_only_the_text_is_left(opened, page):
    tab = opened(f"{page}.html", width=680)  # A4 without its margins, in CSS pixels
    tab.emulate_media(media="print")
    wide = "[...document.querySelectorAll('.bd-article :is(table, pre, figure, mjx-container)')]"
    beyond = (
        f"{wide}.filter(e => e.getBoundingClientRect().right > innerWidth + 1).length"
    )
    assert tab.evaluate(beyond) == 0
    for hidden in ("#pst-primary-sidebar", ".bd-header-article", ".prev-next-footer"):
        assert not tab.locator(hidden).first.is_visible()
    hints = tab.locator(".bd-article details:not(.vg-numbers) > p").all()
    assert all(hint.is_visible() for hint in hints)
    numbers = tab.locator(".vg-numbers").all()
    assert not any(told.is_visible() for told in numbers)
    assert hints or "chapters" not in page
