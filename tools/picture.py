"""Take the README's pictures from the built book: `python tools/picture.py`, after `make book`."""

from __future__ import annotations

import sys

import browser
from toc import ROOT

PAGE = ROOT / "_build" / "html" / "intro.html"
WIDTH, HEIGHT = 1180, 900


def main() -> int:
    """Write `_static/page-light.png` and `_static/page-dark.png`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        chromium = started.chromium.launch(
            executable_path=browser.chromium(), args=["--no-sandbox"]
        )
        for theme in ("light", "dark"):
            page = chromium.new_page(color_scheme=theme)
            page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
            page.goto(PAGE.as_uri())
            page.wait_for_load_state("networkidle")
            page.evaluate(
                "document.querySelector('.vg-figure').scrollIntoView({block: 'center'})"
            )
            page.wait_for_timeout(500)  # The header follows the scrolling.
            page.screenshot(path=ROOT / "_static" / f"page-{theme}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
