"""What several test files share: the outputs of a cell, a browser to open them in, a tiny book."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Bundle = dict[str, Any]


@pytest.fixture(scope="module", autouse=True)
def forget_programs() -> Iterator[None]:
    """Drop compiled programs after each file: a process may map only so many pieces of memory."""
    yield
    if "jax" in sys.modules:
        sys.modules["jax"].clear_caches()


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Bundle]:
    """The MIME bundles that a notebook would have received, in order."""
    bundles: list[Bundle] = []
    monkeypatch.setattr("vgutils.html._display", bundles.append)
    return bundles


@pytest.fixture(scope="module")
def chromium_path() -> str:
    """Where the browser is. Where `CI` is set, a machine without one is no excuse."""
    path = (
        os.environ.get("CHROMIUM")
        or shutil.which("chromium")
        or shutil.which("google-chrome")
    )
    if path is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("no Chromium on this machine: install it, or set CHROMIUM to its path")
    return str(path)


# For one file, not for the session: as long as it is open, no other event loop can run here.
@pytest.fixture(scope="module")
def chromium(chromium_path: str) -> Iterator[Any]:
    """A headless browser."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=chromium_path, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture
def open_page(chromium: Any) -> Iterator[Callable[..., Any]]:
    """Open outputs as one page; any request, console message or page error fails the test."""
    complaints: list[str] = []
    pages = []

    def open_(
        *bundles: Bundle, width: int = 800, theme: str = "light", scripts: bool = True
    ) -> Any:
        context = chromium.new_context(
            viewport={"width": width, "height": 800}, java_script_enabled=scripts
        )
        page = context.new_page()
        pages.append(context)
        page.on("request", lambda request: complaints.append(f"request {request.url}"))
        page.on("pageerror", lambda error: complaints.append(f"error {error}"))
        page.on("console", lambda message: complaints.append(f"console {message.text}"))
        colors = {
            "light": "color:#222;background:#fff",
            "dark": "color:#ddd;background:#14181e",
        }
        body = "".join(bundle["text/html"] for bundle in bundles)
        page.set_content(
            f'<!doctype html><html lang="en" data-theme="{theme}"><title>Outputs</title>'
            f'<body style="{colors[theme]}"><main><h1>Outputs</h1>{body}</main></body>'
        )
        return page

    yield open_
    for context in pages:
        context.close()
    assert not complaints


ROOT = Path(__file__).resolve().parent.parent
Cell = tuple[str, ...]  # "markdown" or "code", the source, and tags


def write_notebook(path: Path, *cells: Cell) -> None:
    """Write a notebook in the book's form."""
    import nbformat
    from notebooks import canonical

    notebook = nbformat.v4.new_notebook()
    for kind, source, *tags in cells:
        make = getattr(nbformat.v4, f"new_{kind}_cell")
        notebook.cells.append(make(source, metadata={"tags": tags}))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(canonical(nbformat.writes(notebook)), "utf-8")


CLAIM = """import vgutils as vg

vg.claim("Two and two make four", 2 + 2, equals=4, source="derivation: counting")"""


def write_tiny_book(root: Path) -> None:
    """Write a book of two notebooks, with the configuration and the extensions of the real one."""
    for name in ("_config.yml", "requirements.txt", "pyproject.toml", "ledger.md"):
        shutil.copy(ROOT / name, root)
    for name in ("_ext", "_static"):
        shutil.copytree(ROOT / name, root / name)
    script = root / "_vendor" / "mathjax" / "es5" / "tex-chtml.js"
    script.parent.mkdir(parents=True)
    script.write_text("// MathJax", "utf-8")
    (root / "references.bib").write_text(
        "@phdthesis{writer1991, author={Anna Writer}, title={A thesis}, school={X}, year=1991}\n"
        "@article{four2020, author={A One and B Two and C Three and D Four}, title={T},"
        " journal={J}, year=2020}\n",
        "utf-8",
    )
    (root / "bibliography.md").write_text(
        "# Bibliography\n\n```{bibliography}\n:all:\n```\n", "utf-8"
    )
    pages = ["chapters/one", "ledger", "bibliography"]
    (root / "_toc.yml").write_text(
        "format: jb-book\nroot: intro\nparts:\n  - caption: Part\n    numbered: 1\n"
        "    chapters:\n" + "".join(f"      - file: {page}\n" for page in pages),
        "utf-8",
    )
    write_notebook(
        root / "intro.ipynb",
        ("markdown", "# A tiny book\n\n> **Predict.** How much is it?"),
        ("code", "print(6 * 7)"),
    )
    write_notebook(
        root / "chapters" / "one.ipynb",
        (
            "markdown",
            "# One\n\nBack to [the start](../intro.ipynb), by {cite:t}`writer1991`.",
        ),
        ("code", CLAIM),
    )


@pytest.fixture(scope="session")
def built_book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny book that was built; tests that change it take a copy, `tiny_book`."""
    import build

    root = tmp_path_factory.mktemp("book")
    write_tiny_book(root)
    assert build.main(["--book", str(root)]) == 0
    return root


@pytest.fixture
def tiny_book(
    built_book: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A copy of the built tiny book, with its cache."""
    monkeypatch.delenv("VG_SEED", raising=False)
    return shutil.copytree(built_book, tmp_path / "book")
