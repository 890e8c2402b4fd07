"""What several test files share: the outputs of a cell, and a browser to open them in."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

Bundle = dict[str, Any]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Bundle]:
    """The MIME bundles that a notebook would have received, in order."""
    bundles: list[Bundle] = []
    monkeypatch.setattr("vgutils.html._display", bundles.append)
    return bundles


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A headless browser. Where `CI` is set, a machine without one is no excuse."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = (
        os.environ.get("CHROMIUM")
        or shutil.which("chromium")
        or shutil.which("google-chrome")
    )
    if path is None:
        missing = pytest.fail if os.environ.get("CI") else pytest.skip
        missing("no Chromium on this machine: install it, or set CHROMIUM to its path")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
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
