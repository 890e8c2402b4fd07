"""Open every page of the built book as its readers do: `python tools/pages.py`.

A page is opened twice, on a desk in light and on a phone in dark, with no network. A line says what
it offers, what it costs, and how many faults it has; a fault below the table is named. Colours do
not depend on the width, nor the layout on the theme, so that these two show all.
"""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from browser import launched
from playwright.sync_api import Browser, ConsoleMessage, Page, Response, Route
from serve import Quiet
from toc import ROOT

DESK, PHONE = (1280, 900, "light"), (360, 800, "dark")
# What a page weighs, and how far it jumps while it loads: a shift of 1 is a whole screen.
KILOBYTES, SHIFT = 1500, 0.1
# Of what passes nothing is listed, which halves the time; every violation still is.
AXE = {"preload": False, "resultTypes": ["violations"]}
OFFERS = {
    "figures": "figure.vg-figure",
    "told": "figure.vg-figure figcaption details",
    "turn": ".vg-explore",
    "claims": ".vg-claim",
    "exercises": "#exercises > section",
    "hints": "#exercises details",
    "quiz": ".vg-quiz fieldset",
}
# https://web.dev/articles/cls; what follows a reader's own click is no surprise.
WATCH_SHIFTS = """
  window.vgShift = 0;
  new PerformanceObserver(list => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.vgShift += entry.value;
  }).observe({type: "layout-shift", buffered: true});
"""


@dataclass(frozen=True)
class Visit:
    """A page that was opened.

    Attributes:
        offers: How many there are of each of `OFFERS`.
        kilobytes: The page's own weight.
        loaded: Kilobytes of all that it asked for, itself included, nothing being cached.
        shift: How far its content moved while it loaded, summed, in screens.
        faults: What went wrong, in words.
    """

    offers: dict[str, int]
    kilobytes: float
    loaded: float
    shift: float
    faults: list[str]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a folder on a local web server, as long as it is needed."""
    handler = partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def reading(
    browser: Browser, faults: list[str], size: tuple[int, int, str] = DESK
) -> Iterator[Page]:
    """A tab without a network, for addresses of this machine.

    Args:
        browser: From `browser.launched`.
        faults: What is asked of the network, lost, or complained of is appended.
        size: Width and height in pixels, and the theme.
    """
    width, height, theme = size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if theme == "dark" else "light",
    )
    context.add_init_script(WATCH_SHIFTS)

    def guard(route: Route) -> None:
        if route.request.url.startswith(
            ("http://127.0.0.1:", "file:", "data:", "blob:")
        ):
            route.continue_()
        else:
            faults.append(f"not local: {route.request.url}")
            route.abort()

    def answered(response: Response) -> None:
        if response.status >= 400:
            faults.append(f"lost: {response.url}")

    def said(message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            faults.append(f"console: {message.text}")

    page = context.new_page()
    context.route("**/*", guard)
    page.on("requestfailed", lambda request: faults.append(f"lost: {request.url}"))
    page.on("response", answered)
    page.on("pageerror", lambda error: faults.append(f"error: {error}"))
    page.on("console", said)
    yield page
    context.close()


def go(page: Page, url: str) -> None:
    """Open an address and wait until nothing more is asked for and formulas are set."""
    page.goto(url)
    page.wait_for_load_state("networkidle")
    if page.locator(".math").count():
        page.wait_for_function("window.MathJax?.startup?.promise !== undefined")
        page.evaluate("MathJax.startup.promise")


def formulas(page: Page) -> tuple[int, int]:
    """How many formulas a page has, and how many of them are set without an error."""
    written, fine = page.evaluate(
        "() => [document.querySelectorAll('.math').length,"
        " [...document.querySelectorAll('.math')].filter("
        "m => m.querySelector('mjx-container') && !m.querySelector('mjx-merror')).length]"
    )
    return written, fine


def visit(browser: Browser, url: str, size: tuple[int, int, str]) -> Visit:
    """Open a page once.

    Args:
        browser: From `browser.launched`.
        url: Its address on this machine.
        size: `DESK` or `PHONE`.
    """
    faults: list[str] = []
    weights: dict[str, int] = {}
    with reading(browser, faults, size) as page:
        page.on(
            "requestfinished",
            lambda request: weights.update(
                {request.url: request.sizes()["responseBodySize"]}
            ),
        )
        go(page, url)
        written, fine = formulas(page)
        if written != fine:
            faults.append(f"{written - fine} formulas are not set")
        if page.evaluate("document.documentElement.scrollWidth") > size[0]:
            faults.append(f"wider than {size[0]} pixels")
        shift = page.evaluate("window.vgShift")
        if shift > SHIFT:
            faults.append(f"moves by {shift:.2f} screens while it loads")
        if weights[url] > 1000 * KILOBYTES:
            faults.append(f"weighs {weights[url] / 1000:.0f} kB")
        for found in Axe().run(page, options=AXE).response["violations"]:
            if found["impact"] in {"serious", "critical"}:
                faults += [f"{found['id']}: {n['html'][:200]}" for n in found["nodes"]]
        offers = {
            name: page.locator(selector).count() for name, selector in OFFERS.items()
        }
    return Visit(
        offers, weights[url] / 1000, sum(weights.values()) / 1000, shift, faults
    )


def pages(folder: Path) -> list[str]:
    """The pages of a built book that have words of their own."""
    found = (path.relative_to(folder) for path in folder.rglob("*.html"))
    return sorted(
        path.as_posix()
        for path in found
        if path.parts[0] != "_static"
        and path.name not in {"search.html", "genindex.html"}
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Open and print; the exit code is 0 only if no page has a fault."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="pages whose name has this")
    only = parser.parse_args(arguments).only
    folder = ROOT / "_build" / "html"
    if not (folder / "index.html").exists():
        raise SystemExit("There is no book yet: make book")
    head = "".join(
        f"{name:>10}" for name in [*OFFERS, "kB", "loaded", "shift", "faults"]
    )
    print(f"{'page':<34}{head}")
    faults = {}
    with served(folder) as address, launched() as browser:
        for name in pages(folder):
            if only not in name:
                continue
            desk, phone = (
                visit(browser, f"{address}/{name}", size) for size in (DESK, PHONE)
            )
            faults[name] = [*desk.faults, *phone.faults]
            offers = "".join(f"{count or '':>10}" for count in desk.offers.values())
            costs = f"{desk.kilobytes:10.0f}{desk.loaded:10.0f}"
            shift = f"{max(desk.shift, phone.shift):10.2f}"
            print(
                f"{name:<34}{offers}{costs}{shift}{len(faults[name]):>10}", flush=True
            )
    for name, found in faults.items():
        for fault in found:
            print(f"{name}: {fault}")
    total = sum(map(len, faults.values()))
    print(f"\n{len(faults)} pages, {total} faults")
    print(f"A page may weigh {KILOBYTES} kB and move by {SHIFT} screens.")
    return bool(total)


if __name__ == "__main__":
    sys.exit(main())
