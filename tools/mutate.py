"""Plant bugs, one at a time, and see the book catch them: `python tools/mutate.py`.

The bugs are in `tests/mutants.toml`. Each goes into a copy of the package or of a chapter, and the
chapter runs in a folder of its own beside that copy. A bug is caught when the chapter fails.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
from execute import Execution, execute
from toc import ROOT

MUTANTS = ROOT / "tests" / "mutants.toml"


@dataclass(frozen=True)
class Mutant:
    """One bug: in `file` the text `find`, which stands there once, becomes `put`.

    Attributes:
        what: The bug in words.
        file: A chapter or a file of the package, from the book's folder.
        find: What is replaced.
        put: What takes its place.
        chapter: What runs; `file` itself if that is a chapter.
    """

    what: str
    file: str
    find: str
    put: str
    chapter: str = ""

    def plant(self, home: Path) -> Path:
        """Write the chapter, and the package where the bug is there, into a folder.

        Args:
            home: An empty folder. A kernel that starts there imports what lies there first.

        Returns:
            The copy of the chapter.

        Raises:
            SystemExit: `find` does not stand exactly once in the code of `file`.
        """
        chapter = ROOT / (self.chapter or self.file)
        copy = home / chapter.name
        notebook = nbformat.read(chapter, as_version=4)
        if self.chapter:
            package = self.file.split("/")[0]
            shutil.copytree(ROOT / package, home / package)
            text = (ROOT / self.file).read_text("utf-8")
            (home / self.file).write_text(self._replaced([text])[0], "utf-8")
        else:
            cells = [c for c in notebook.cells if c.cell_type == "code"]
            sources = self._replaced([cell.source for cell in cells])
            for cell, source in zip(cells, sources, strict=True):
                cell.source = source
        nbformat.write(notebook, copy)
        return copy

    def _replaced(self, texts: list[str]) -> list[str]:
        found = sum(text.count(self.find) for text in texts)
        if found != 1:
            raise SystemExit(
                f"{self.file} has {found} times, not once: {self.find!r} ({self.what})"
            )
        return [text.replace(self.find, self.put) for text in texts]


def mutants() -> list[Mutant]:
    """The bugs that are listed, in their order."""
    listed = tomllib.loads(MUTANTS.read_text("utf-8"))["mutant"]
    return [Mutant(**entry) for entry in listed]


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant and run; the exit code is 0 only if every bug is caught."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", default="", help="bugs whose file or words have this")
    parser.add_argument("--workers", type=int, help="notebooks that run at a time")
    options = parser.parse_args(arguments)
    chosen = [m for m in mutants() if options.only in m.file + m.chapter + m.what]
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        planted = {}
        for number, mutant in enumerate(chosen):
            home = Path(folder, str(number))
            home.mkdir()
            planted[mutant.plant(home)] = mutant

        def end(run: Execution) -> None:
            verdict = "caught" if run.failure else "MISSED"
            print(f"{verdict}  {planted[run.path].what} ({planted[run.path].file})")
            if run.failure:
                print(f"        {run.failure.reason.strip().splitlines()[0]}")
            sys.stdout.flush()

        runs = execute(
            {path: path.parent for path in planted},
            on_start=lambda _: None,
            on_end=end,
            workers=options.workers,
        )
    missed = sum(run.failure is None for run in runs)
    print(f"\n{len(runs) - missed} of {len(runs)} planted bugs were caught.")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
