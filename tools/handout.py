"""Write chapters without their solutions, to hand out: `python tools/handout.py [NOTEBOOK ...]`.

Hints and checks stay. Without arguments, every notebook of the book is written, under
`_build/handouts`, in the same folders, so that links between chapters hold.
"""

from __future__ import annotations

import argparse
import copy
import re
from collections.abc import Sequence
from pathlib import Path

import nbformat
from toc import ROOT, notebooks

SOLUTION = re.compile(
    r"\n*<details><summary>Solution</summary>.*?</details>", re.DOTALL
)


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the hand-outs and name them."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "_build" / "handouts")
    parser.add_argument("notebooks", nargs="*", type=Path, help="all if not given")
    options = parser.parse_args(arguments)
    for path in options.notebooks or notebooks():
        target = options.out / path.resolve().relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(handout(nbformat.read(path, as_version=4)), target)
        print(target)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
