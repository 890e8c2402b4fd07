"""PyTorch beside us: a process of its own that does a piece of work whenever it is asked to."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-frameworks" / "bin" / "python"
SCRIPT = Path(__file__).with_name("pytorch.py")
MISSING = "not measured: make frameworks installs PyTorch"

Work = Callable[..., Callable[[], None]]


@contextmanager
def pytorch(python: Path = PYTHON, script: Path = SCRIPT) -> Iterator[Work | None]:
    """Give `work(name, **options)`, a function that does that work in PyTorch and waits for it.

    None where PyTorch is not installed.

    Raises:
        RuntimeError: From the function, where the process has stopped.
    """
    if not python.exists():
        yield None
        return
    process = subprocess.Popen(
        [python, "-W", "ignore", script],  # It warns of what we mean to do.
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    requests, answers = process.stdin, process.stdout

    def work(name: str, **options: int) -> Callable[[], None]:
        request = json.dumps([name, options]) + "\n"

        def run() -> None:
            try:
                requests.write(request)
                requests.flush()
            except BrokenPipeError:
                pass  # The answer, which is none, says so.
            if (answer := answers.readline()) != "done\n":
                raise RuntimeError(
                    f"PyTorch must answer done to {name!r}, got {answer!r}"
                )

        return run

    try:
        yield work
    finally:
        process.kill()
        process.communicate()
