"""The browser that draws and prints pages, and the built book opened in it."""

from __future__ import annotations

import mimetypes
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, Route, sync_playwright
from toc import repository


def chromium() -> str:
    """The path of Chromium or Chrome: `CHROMIUM`, or what the system finds.

    Raises:
        SystemExit: There is none.
    """
    path = (
        os.environ.get("CHROMIUM")
        or shutil.which("chromium")
        or shutil.which("google-chrome")
    )
    if path is None:
        raise SystemExit(
            "No Chromium on this machine: install it, or set CHROMIUM to its path"
        )
    return path


@contextmanager
def launched() -> Iterator[Browser]:
    """A browser without a window, as long as it is needed."""
    with sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox"]
        )
        yield browser
        browser.close()


def home() -> str:
    """The public address of the book, with a slash at its end."""
    owner, project = repository().split("/")
    return f"https://{owner}.github.io/{project}/"


def opened(browser: Browser, names: Sequence[str], folder: Path) -> Iterator[Page]:
    """Open pages of the built book one after the other, as they are printed.

    Each has its public address, yet comes from a folder, and nothing comes from the network.

    Args:
        browser: From `launched`.
        names: Pages of the book, such as `chapters/1_problem/sigmoid`.
        folder: Where their HTML is.

    Yields:
        The page, its formulas set; the same object each time.

    Raises:
        SystemExit: The book was not built.
    """
    if not (folder / "index.html").exists():
        raise SystemExit("There is no book yet: make book")

    def answer(route: Route) -> None:
        path = folder / urlsplit(route.request.url.removeprefix(home())).path
        if path.name == "book.css":
            route.fulfill(
                body=patient(path.read_text("utf-8")), content_type="text/css"
            )
        elif route.request.url.startswith(home()) and path.is_file():
            kind = mimetypes.guess_type(path.name)[0]
            route.fulfill(path=path, content_type=kind)
        else:
            route.abort()

    page = browser.new_page(color_scheme="light")
    page.emulate_media(media="print")
    page.route("**/*", answer)
    for name in names:
        page.goto(f"{home()}{name}.html", wait_until="load")
        if page.locator(".math").count():
            page.wait_for_function("window.MathJax?.startup?.promise !== undefined")
            page.evaluate("MathJax.startup.promise")
        page.evaluate("document.fonts.ready")
        yield page
    page.close()


def patient(style: str) -> str:
    """A style that waits for its fonts: what is printed has no next page for them."""
    return style.replace("font-display: optional", "font-display: block")


def title(page: Page) -> str:
    """The title of a page of the book, without the book's own."""
    return page.title().split(" — ")[0]
