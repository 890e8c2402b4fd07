"""Every budget of the design beside what is measured here: `python benchmarks/budgets.py`.

Ratios are measured side by side in one run. The book's own times come from its last build, so
build it first (`make book`), on a machine that does nothing else. What is measured of a build is
measured in a copy of the book. `--clean` executes all of it there, instead of adding up.
"""

from __future__ import annotations

import argparse
import heapq
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from beside import MISSING, pytorch
from depth import compile_ratio
from probe_overhead import in_pytorch, overheads
from sweep import eager_over_one_program, loop_over_one_program

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tools"))

from timings import timings  # noqa: E402 (it is found there)

CHAPTER = "chapters/1_problem/chain_rule.ipynb"  # A quick one.


class Row(NamedTuple):
    """A line of the table: what it is, its number, and the bound that the number has to keep.

    `value` is None where nothing was measured; a row without a bound is for information.
    """

    name: str
    value: float | None
    at_most: float | None = None
    at_least: float | None = None

    @property
    def missed(self) -> bool:
        """Whether there is a number, and it is beyond its bound."""
        if self.value is None:
            return False
        above = self.at_most is not None and not self.value <= self.at_most
        return above or (self.at_least is not None and not self.value >= self.at_least)

    def __str__(self) -> str:
        """Verdict, number, bound, name."""
        if self.value is None:
            return f"        {'-':>7}  {'':<13} {self.name}; {MISSING}"
        verdict, bound = "MISSED" if self.missed else "ok", ""
        if self.at_most is not None:
            bound = f"at most {self.at_most:g}"
        elif self.at_least is not None:
            bound = f"at least {self.at_least:g}"
        else:
            verdict = ""
        return f"{verdict:<6}  {self.value:7.2f}  {bound:<13} {self.name}"


def import_ratio(repeats: int = 7) -> float:
    """The least time to import vgutils with jax and flax, over that of jax and flax alone."""

    def seconds(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
        return time.perf_counter() - start

    pairs = [
        (seconds("import jax, flax, vgutils"), seconds("import jax, flax"))
        for _ in range(repeats)
    ]
    return min(a for a, _ in pairs) / min(b for _, b in pairs)


def chapter_seconds() -> Iterator[tuple[str, float]]:
    """How long each notebook took when the book was last executed."""
    for timing in timings(ROOT):
        yield timing.name, timing.seconds


def page_megabytes() -> Iterator[tuple[str, float]]:
    """What each page of the built book weighs, without the assets that pages share."""
    pages = ROOT / "_build" / "html"
    for page in sorted(pages.rglob("*.html")):
        yield page.relative_to(pages).as_posix(), page.stat().st_size / 1e6


def build_seconds(root: Path) -> float:
    """Seconds of a build of the book in `root`, whatever it finds to do."""
    start = time.perf_counter()
    command = [sys.executable, str(ROOT / "tools" / "build.py"), "--book", str(root)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def copy_book(target: Path, *, executed: bool) -> Path:
    """The book without what is hidden or built; with what was executed, if that is wanted."""
    shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(".*", "_build"))
    if executed:
        shutil.copytree(ROOT / "_build" / "cache", target / "_build" / "cache")
    return target


def side_by_side(seconds: Sequence[float], workers: int) -> float:
    """How long notebooks take when each goes, in this order, to the worker that is free first."""
    free = [0.0] * workers
    for one in seconds:
        heapq.heapreplace(free, free[0] + one)
    return max(free)


def builds(*, clean: bool) -> Iterator[Row]:
    """The book from nothing, with nothing changed, and with one chapter changed."""
    with tempfile.TemporaryDirectory() as folder:
        book = copy_book(Path(folder) / "book", executed=True)
        rendering = build_seconds(book)
        if clean:
            empty = copy_book(Path(folder) / "empty", executed=False)
            yield Row("seconds: clean build", build_seconds(empty), at_most=720)
        else:
            took = [seconds for _, seconds in chapter_seconds()]
            whole = side_by_side(took, os.cpu_count() or 1) + rendering
            name = "seconds: clean build, as the sum of its parts"
            yield Row(name, whole, at_most=720)
        name = "seconds: build with nothing changed"
        yield Row(name, build_seconds(book), at_most=20)
        chapter = book / CHAPTER
        text = chapter.read_text("utf-8")
        chapter.write_text(
            text.replace("import jax\\n", "import jax  #\\n", 1), "utf-8"
        )
        changed = build_seconds(book)
        own = {timing.name: timing.seconds for timing in timings(book)}[CHAPTER]
        name = f"seconds: build with {CHAPTER} changed, beside its own {own:.0f}"
        yield Row(name, changed - own, at_most=30)


def rows(*, clean: bool = False) -> Iterator[Row]:
    """All rows of the design's table, and PyTorch's numbers for information."""
    yield from builds(clean=clean)
    for name, seconds in chapter_seconds():
        yield Row(f"seconds: {name}", seconds, at_most=60)
    name, heaviest = max(page_megabytes(), key=lambda page: page[1])
    yield Row(f"megabytes: heaviest page, {name}", heaviest, at_most=1.5)
    name = "ratio: import vgutils over jax and flax"
    yield Row(name, import_ratio(), at_most=1.15)
    name = "ratio: compile 10,000 layers over 10"
    yield Row(name, compile_ratio(), at_most=1.5)
    name = "ratio: 64 networks in a loop over one program"
    yield Row(name, loop_over_one_program(), at_least=3)
    with pytorch() as work:
        eager = eager_over_one_program(work) if work else None
        name = "ratio: 64 networks in PyTorch, eager, over one program"
        yield Row(name, eager, at_least=10)
        for name, cost in overheads():
            yield Row(f"ratio: step with probe over bare, {name}", cost, at_most=1.05)
        if work is None:
            yield Row("ratio: PyTorch's bare step over ours", None)
            yield Row("ratio: PyTorch, step with hooks over bare", None)
            return
        for name, bare, hooked in in_pytorch(work):
            yield Row(f"ratio: PyTorch's bare step over ours, {name}", bare)
            yield Row(f"ratio: PyTorch, step with hooks over bare, {name}", hooked)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each budget; the exit code is 1 if one is missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--clean", action="store_true", help="execute the whole book once more"
    )
    options = parser.parse_args(arguments)
    missed = 0
    for row in rows(clean=options.clean):
        missed += row.missed
        print(row, flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
