"""Every budget of the design beside what is measured here: `python benchmarks/budgets.py`.

Ratios are measured side by side in one run. The book's own times come from its last build, so
build it first (`make book`), on a machine that does nothing else.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from depth import compile_ratio
from probe_overhead import overheads
from sweep import loop_over_one_program

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "tools"))

from timings import timings  # noqa: E402 (it is found there)

Row = tuple[str, float, str, bool]


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


def rebuild_seconds() -> float:
    """Seconds of a build in which nothing changed."""
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, ROOT / "tools" / "build.py"], check=True, capture_output=True
    )
    return time.perf_counter() - start


def rows() -> Iterator[Row]:
    """Name, measurement, budget in words, and whether it is met."""
    for name, seconds in chapter_seconds():
        yield f"seconds: {name}", seconds, "at most 60", seconds <= 60
    unchanged = rebuild_seconds()
    yield (
        "seconds: build with nothing changed",
        unchanged,
        "at most 20",
        unchanged <= 20,
    )
    name, heaviest = max(page_megabytes(), key=lambda page: page[1])
    yield f"megabytes: heaviest page, {name}", heaviest, "at most 1.5", heaviest <= 1.5
    light = import_ratio()
    yield (
        "ratio: import vgutils over jax and flax",
        light,
        "at most 1.15",
        light <= 1.15,
    )
    deep = compile_ratio()
    yield "ratio: compile 10,000 layers over 10", deep, "at most 1.5", deep <= 1.5
    sweep = loop_over_one_program()
    yield (
        "ratio: 64 networks in a loop over one program",
        sweep,
        "at least 3",
        sweep >= 3,
    )
    for name, cost in overheads():
        yield (
            f"ratio: step with probe over bare, {name}",
            cost,
            "at most 1.05",
            cost <= 1.05,
        )


def main() -> int:
    """Print a line for each budget; the exit code is 1 if one is missed."""
    missed = 0
    for name, value, budget, met in rows():
        missed += not met
        print(
            f"{'ok    ' if met else 'MISSED'}  {value:7.2f}  {budget:<13} {name}",
            flush=True,
        )
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
