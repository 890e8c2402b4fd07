"""Run every notebook as a stranger does: alone, in an empty folder, with vgutils from a wheel.

`python tools/alone.py --python .venv-colab/bin/python` builds the wheel, installs it into that
environment without touching what is there, and executes the notebooks with it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from execute import Execution, execute
from toc import ROOT, notebooks


def install(python: str, root: Path, folder: Path) -> None:
    """Build the wheel of vgutils and put it into the environment of `python`.

    Args:
        python: An interpreter that has what vgutils depends on.
        root: The book's folder.
        folder: Where the wheel may lie.
    """
    pip = ["-m", "pip", "--disable-pip-version-check"]
    # Nothing is downloaded: what builds the wheel is in requirements.txt.
    offline = ["--no-deps", "--no-build-isolation", "-q"]
    subprocess.run(
        [sys.executable, *pip, "wheel", *offline, "-w", folder, root], check=True
    )
    wheel = next(folder.glob("vgutils-*.whl"))
    again = ["--force-reinstall", "--no-deps", "--no-index", "-q"]
    subprocess.run([python, *pip, "install", *again, wheel], check=True)


def run_notebooks(
    python: str, paths: Sequence[Path], folder: Path, workers: int | None
) -> int:
    """Execute copies of the notebooks, each in its own folder, and say how it went.

    Args:
        python: The interpreter that runs the cells.
        paths: The notebooks.
        folder: Where their folders may lie.
        workers: How many run at a time; the number of cores if not given.

    Returns:
        How many failed.
    """
    homes = {}
    for number, path in enumerate(paths):
        home = folder / str(number)
        home.mkdir()
        copy = shutil.copy(path, home)
        homes[Path(copy)] = home

    def start(path: Path) -> None:
        print(f"  {path.name} alone ...", flush=True)

    def end(done: Execution) -> None:
        verdict = "FAILED after" if done.failure else "done in"
        print(f"  {done.path.name} {verdict} {done.seconds:.1f} s", flush=True)

    # It could lead to the vgutils of the book's folder.
    os.environ.pop("PYTHONPATH", None)
    before = _packages(python)
    runs = execute(homes, on_start=start, on_end=end, python=python, workers=workers)
    failed = [(run.path.name, run.failure) for run in runs if run.failure]
    for name, failure in failed:
        print(f"\n{failure.explain(name)}", file=sys.stderr)
    changed = sorted(_packages(python) ^ before)
    if changed:
        print(f"\nA notebook changed packages: {', '.join(changed)}", file=sys.stderr)
    return len(failed) + len(changed)


def _packages(python: str) -> set[str]:
    """The packages of an environment, each as `name==version`."""
    command = [python, "-m", "pip", "--disable-pip-version-check", "freeze", "--all"]
    listed = subprocess.run(command, check=True, capture_output=True, text=True)
    return set(listed.stdout.splitlines())


def run_tests(python: str, root: Path, folder: Path) -> int:
    """Run the unit tests of vgutils, from a folder in which only the wheel can be imported.

    Args:
        python: The interpreter that runs the tests.
        root: The book's folder.
        folder: Where the tests may be copied.

    Returns:
        The exit code of pytest.
    """
    # What lies in `book` needs the environment of the book: its builder, its pages, a browser.
    unit = shutil.ignore_patterns("book")
    shutil.copytree(root / "tests", folder / "tests", ignore=unit)
    shutil.copy(root / "pyproject.toml", folder)
    command = [python, "-m", "pytest", "-m", "not slow", "tests"]
    return subprocess.run(command, cwd=folder).returncode


def main(arguments: Sequence[str] | None = None) -> int:
    """Install, test and execute; the exit code is 0 only if everything passes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--python", default=sys.executable, help="an interpreter, or its path"
    )
    parser.add_argument("--tests", action="store_true", help="run the unit tests first")
    parser.add_argument("--workers", type=int, help="notebooks that run at a time")
    parser.add_argument(
        "notebooks", nargs="*", type=Path, help="all of the book if not given"
    )
    options = parser.parse_args(arguments)
    # An environment's python is a link: its path must stay as it is.
    python = shutil.which(options.python)
    if python is None:
        parser.error(f"there is no interpreter {options.python}")
    python = str(Path(python).absolute())
    with tempfile.TemporaryDirectory(prefix="alone-") as name:
        folder = Path(name)
        install(python, ROOT, folder)
        tests = run_tests(python, ROOT, folder) if options.tests else 0
        failures = run_notebooks(
            python, options.notebooks or notebooks(), folder, options.workers
        )
    # The notebooks print much: what failed before them is said again.
    if tests:
        print("\nThe unit tests fail: see above the notebooks.", file=sys.stderr)
    print(
        "Not every notebook runs alone." if failures else "Every notebook runs alone."
    )
    return bool(tests or failures)


if __name__ == "__main__":
    sys.exit(main())
