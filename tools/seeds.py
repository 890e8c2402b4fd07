"""Execute the book from other random numbers: `python tools/seeds.py 1 2 3 4 5`.

A claim that holds at one seed only is luck. Nothing is rendered and nothing is cached.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from execute import Execution, execute
from toc import notebooks


def run(seed: int, paths: Sequence[Path], workers: int | None) -> list[Execution]:
    """Execute notebooks at one seed, in their own folders; say each that ends."""

    def end(done: Execution) -> None:
        verdict = "FAILED after" if done.failure else "done in"
        print(f"  seed {seed}: {done.path.name} {verdict} {done.seconds:.1f} s")
        sys.stdout.flush()

    os.environ["VG_SEED"] = str(seed)
    folders = {path: path.parent for path in paths}
    return execute(folders, on_start=lambda _: None, on_end=end, workers=workers)


def table(runs: dict[int, list[Execution]]) -> str:
    """A row for each notebook, a column for each seed: how many claims hold, or FAILED."""
    rows = [f"{'chapter':<20}" + "".join(f"{f'seed {seed}':>9}" for seed in runs)]
    for done in zip(*runs.values(), strict=True):
        marks = ["FAILED" if one.failure else f"{claims(one)}" for one in done]
        rows.append(
            f"{done[0].path.stem:<20}" + "".join(f"{mark:>9}" for mark in marks)
        )
    return "\n".join(rows)


def claims(run: Execution) -> int:
    """How many claims a notebook made."""
    return sum(
        "application/vnd.vgutils.claim+json" in output.get("data", {})
        for cell in run.notebook.cells
        for output in cell.get("outputs", [])
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Execute and print the table; the exit code is 0 only if every claim holds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("seeds", nargs="+", type=int)
    parser.add_argument("--notebooks", nargs="+", type=Path, help="all if not given")
    parser.add_argument("--workers", type=int, help="notebooks that run at a time")
    options = parser.parse_args(arguments)
    paths = options.notebooks or notebooks()
    runs = {seed: run(seed, paths, options.workers) for seed in options.seeds}
    print("\n" + table(runs))
    failed = {
        f"seed {seed}, {done.path.name}": done.failure
        for seed, whole in runs.items()
        for done in whole
        if done.failure
    }
    for name, failure in failed.items():
        print(f"\n{failure.explain(name)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
