"""Write chapters without their solutions, to hand out: `python tools/handout.py [NOTEBOOK ...]`.

Hints and checks stay. Without arguments, every notebook of the book is written, under
`_build/handouts`, in the same folders, so that links between chapters hold. With `--key`, it is the
other half: the exercises of the built book and their solutions, part by part, in `_build/key.html`.
"""

from __future__ import annotations

import argparse
import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import browser
import nbformat
from pieces import articles, document, exercises, nameless
from playwright.sync_api import Browser
from toc import ROOT, notebooks, parts

SOLUTION = re.compile(
    r"\n*<details><summary>Solution</summary>.*?</details>", re.DOTALL
)
KEY_STYLE = """
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere;
  font: 1.05rem/1.55 "Source Serif 4", Georgia, serif; color: #1d2430; background: #fff; }
h2 { margin-top: 3rem; break-before: page; }
h3 { margin-top: 2rem; border-bottom: 1px solid #d3d9e0; }
h3, h4 { break-after: avoid; }
pre { padding: 0.6rem; white-space: pre-wrap; font-size: 0.8rem; background: #f5f7f9; }
a { color: #1f5c99; }
mjx-container[display="true"] { overflow: auto hidden; }
.solution { padding-left: 1rem; border-left: 4px solid #00694f; }
.solution > :first-child { margin: 0; font-weight: 700; color: #00694f; }
"""


def handout(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A copy of a chapter without cells tagged `solution` and without written solutions."""
    sheet = copy.deepcopy(notebook)
    sheet.cells = [
        cell for cell in sheet.cells if "solution" not in cell.metadata.get("tags", [])
    ]
    for cell in sheet.cells:
        if cell.cell_type == "markdown":
            cell.source = SOLUTION.sub("", cell.source)
    return sheet


def answered(exercise: Any) -> str:
    """An exercise and its solution, open, without hints and without what its check says."""
    exercise.h3.name = "h4"
    for output in exercise.select(".cell:not(.tag_solution) .cell_output"):
        output.decompose()
    for folded in exercise.find_all("details"):
        if folded.summary.get_text().strip().startswith("Hint"):
            folded.decompose()
        else:
            folded.name, folded["class"] = "div", "solution"
            label = folded.summary
            label.name, label.string = "p", "Solution"
    return nameless(exercise)


def key(chromium: Browser, wanted: Sequence[str], folder: Path) -> str:
    """Exercises and their solutions as one HTML file.

    Args:
        chromium: From `browser.launched`.
        wanted: Pages of the book, such as `chapters/1_problem/sigmoid`.
        folder: Where the book's HTML is.
    """
    title = "Exercises and their solutions"
    body, styles = [f"<main><h1>{title}</h1>"], []
    for caption, names in parts():
        chosen = [name for name in names if name in wanted and "/" in name]
        body += [f"<h2>{caption}</h2>"] * bool(chosen)
        for article in articles(chromium, chosen, folder):
            body.append(f"<h3>{article.title}</h3>")
            body += map(answered, exercises(article))
            styles += article.styles
    return document(title, "".join([*body, "</main>"]), [*styles, KEY_STYLE], folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the hand-outs, or the key, and name them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--key", action="store_true", help="write the solutions")
    parser.add_argument("--book", type=Path, default=ROOT / "_build" / "html")
    parser.add_argument("--out", type=Path, help="where to; a file for the key")
    parser.add_argument("notebooks", nargs="*", type=Path, help="all if not given")
    options = parser.parse_args(arguments)
    chosen = [
        path.resolve().relative_to(ROOT) for path in options.notebooks or notebooks()
    ]
    if options.key:
        names = [path.with_suffix("").as_posix() for path in chosen]
        target = options.out or ROOT / "_build" / "key.html"
        with browser.launched() as chromium:
            target.write_text(key(chromium, names, options.book), "utf-8")
        print(target)
        return 0
    for path in chosen:
        target = (options.out or ROOT / "_build" / "handouts") / path
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(handout(nbformat.read(ROOT / path, as_version=4)), target)
        print(target)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
