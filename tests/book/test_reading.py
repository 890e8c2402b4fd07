"""`make pages` must see what is wrong with a page: each fault, planted alone, is named."""

from __future__ import annotations

from contextlib import nullcontext

import pages
import pytest

PAGE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>A page</title>'
    '<meta name="viewport" content="width=device-width, initial-scale=1">'
    '<link rel="icon" href="data:,"><body><main><h1>A page</h1>{}</main></body></html>'
)
JUMP = (
    '<p id="late"></p><p style="height: 600px; background: #ccf">Text that is read</p>'
    '<script>setTimeout(() => document.getElementById("late").style.height = "300px", 200)</script>'
)


@pytest.fixture
def visit(chromium, tmp_path):
    """Write a page with the body that is given, and open it."""

    def visit_(body, size=pages.DESK):
        (tmp_path / "a.html").write_text(PAGE.format(body), "utf-8")
        with pages.served(tmp_path) as address:
            return pages.visit(chromium, f"{address}/a.html", size)

    return visit_


@pytest.mark.parametrize("size", [pages.DESK, pages.PHONE])
def test_a_sound_page_has_no_fault(visit, size):
    found = visit(
        '<figure class="vg-figure"><figcaption>Words</figcaption></figure>', size
    )
    assert found.faults == []
    assert found.offers["figures"] == 1
    assert found.offers["told"] == found.offers["claims"] == 0
    assert found.kilobytes == pytest.approx(found.loaded)
    assert found.shift < 0.01


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ('<img src="lost.png" alt="Nothing">', "lost: "),
        ('<img src="https://example.org/a.png" alt="Far away">', "not local: "),
        ("<script>console.warn('beware')</script>", "console: beware"),
        ("<script>throw new Error('broken')</script>", "error: broken"),
        ('<div style="width:3000px">Wide</div>', "wider than 1280 pixels"),
        ('<p style="color:#ddd;background:#fff">Faint</p>', "color-contrast: "),
        ('<img src="data:," >', "image-alt: "),
        (JUMP, "moves by "),
        (f"<p>{'long ' * 400_000}</p>", "weighs 2000 kB"),
    ],
)
def test_a_fault_is_named(visit, body, fault):
    assert any(found.startswith(fault) for found in visit(body).faults)


def test_the_table_ends_with_the_faults(chromium, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "_build" / "html"
    folder.mkdir(parents=True)
    (folder / "index.html").write_text(PAGE.format("<p>Fine</p>"), "utf-8")
    (folder / "bad.html").write_text(
        PAGE.format("<script>console.error('no')</script>"), "utf-8"
    )
    monkeypatch.setattr(pages, "ROOT", tmp_path)
    monkeypatch.setattr(pages, "launched", lambda: nullcontext(chromium))
    assert pages.main(["--only", "index"]) == 0
    assert "1 pages, 0 faults" in capsys.readouterr().out
    assert pages.main([]) == 1
    told = capsys.readouterr().out
    assert "bad.html: console: no" in told
    assert "2 pages, 2 faults" in told  # On a desk, and on a phone.
