"""Where the time of the last build went, as it recorded it: nothing is executed again."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jupyter_cache import get_cache
from toc import ROOT, notebooks


@dataclass(frozen=True)
class Timing:
    """What a notebook cost when it was last executed.

    Attributes:
        name: Its path in the book.
        seconds: By the clock, beside whatever else was running.
        cpu_seconds: Of all cores together.
        cells: Seconds, number as a reader counts, and first line of each code cell; slowest first.
    """

    name: str
    seconds: float
    cpu_seconds: float
    cells: list[tuple[float, int, str]]


def timings(root: Path = ROOT) -> list[Timing]:
    """What the notebooks cost that are in the newest cache, in the order of the book."""
    caches = sorted(
        (root / "_build" / "cache").glob("*/seed-*"), key=lambda f: f.stat().st_mtime
    )
    if not caches:
        return []
    cache = get_cache(caches[-1])
    records = sorted(cache.list_cache_records(), key=lambda record: record.created)
    newest = {record.uri: record for record in records}
    found = []
    for path in notebooks(root):
        name = path.relative_to(root).as_posix()
        data = newest[name].data if name in newest else {}
        if "cells" in data:
            cells = sorted(map(tuple, data["cells"]), reverse=True)
            wall, cpu = data["execution_seconds"], data["cpu_seconds"]
            found.append(Timing(name, wall, cpu, cells))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a line for each notebook, and its slowest cells."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--book", type=Path, default=ROOT, help="the book's folder")
    parser.add_argument("--cells", type=int, default=3, help="cells of each notebook")
    options = parser.parse_args(arguments)
    found = timings(options.book.resolve())
    if not found:
        print("No build has recorded its times here: make book", file=sys.stderr)
        return 1
    print("seconds    CPU  notebook")
    for timing in sorted(found, key=lambda timing: -timing.cpu_seconds):
        print(f"{timing.seconds:7.1f}{timing.cpu_seconds:7.1f}  {timing.name}")
        for seconds, number, line in timing.cells[: options.cells]:
            print(f"{seconds:7.1f}         cell {number}: {line[:60]}")
    total = (sum(t.seconds for t in found), sum(t.cpu_seconds for t in found))
    print(f"{total[0]:7.1f}{total[1]:7.1f}  all {len(found)} notebooks")
    return 0


if __name__ == "__main__":
    sys.exit(main())
