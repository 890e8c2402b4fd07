"""Execute notebooks side by side, each in a fresh kernel of a given Python."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import nbformat
import psutil
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

CELL_SECONDS = 600
TRACEBACK_LINES = 25
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


@dataclass(frozen=True)
class Failure:
    """Why a notebook stopped.

    Attributes:
        reason: The error in one line, or a false claim's statement and numbers.
        cell: Which cell, counted from 1 as a reader counts; 0 where no cell is to blame.
        source: The cell's code.
        traceback: Where the error came from, without colours.
    """

    reason: str
    cell: int = 0
    source: str = ""
    traceback: str = ""

    def explain(self, name: str) -> str:
        """Say where the notebook `name` stopped: place, reason, code, end of the traceback."""
        parts = [f"{name}, cell {self.cell}:" if self.cell else f"{name}:", self.reason]
        if self.source:
            parts.append(textwrap.indent(self.source, "    | ", lambda line: True))
        if self.traceback:
            lines = self.traceback.splitlines()
            cut = ["..."] if len(lines) > TRACEBACK_LINES else []
            parts.append("\n".join([*cut, *lines[-TRACEBACK_LINES:]]))
        return "\n\n".join(parts)


@dataclass(frozen=True)
class Execution:
    """A notebook that ran.

    Attributes:
        path: Its source.
        notebook: The notebook with its outputs.
        seconds: How long it took.
        failure: Why it stopped, or None.
        cpu_seconds: What its kernel took of all cores together; the load of others is not in it.
        cell_seconds: How long each cell took, 0 for those that hold no code or did not run.
    """

    path: Path
    notebook: NotebookNode
    seconds: float
    failure: Failure | None
    cpu_seconds: float
    cell_seconds: list[float]


def execute(
    folders: Mapping[Path, Path],
    *,
    on_start: Callable[[Path], None],
    on_end: Callable[[Execution], None],
    python: str = sys.executable,
    workers: int | None = None,
) -> list[Execution]:
    """Execute notebooks, a few at a time.

    Args:
        folders: For each notebook, the folder that it runs in.
        on_start: Called when a notebook starts.
        on_end: Called when a notebook ends, before the next one takes its place.
        python: The interpreter that runs the cells; it needs ipykernel only.
        workers: How many run at a time; the number of cores if not given.

    Returns:
        What ran, in the order of `folders`.
    """
    workers = max(1, min(workers or _cores(), len(folders)))

    async def run_all() -> list[Execution]:
        free = asyncio.Semaphore(workers)

        async def run(path: Path) -> Execution:
            async with free:
                on_start(path)
                done = await _execute_one(path, folders[path], specs)
                on_end(done)
                return done

        return await asyncio.gather(*map(run, folders))

    # Kernels that share the cores would otherwise fight for them with a thread for each core.
    kernel = _kernel(python, _ONE_THREAD if workers > 1 else {})
    with kernel as specs, asyncio.Runner(loop_factory=_Loop) as runner:
        return runner.run(run_all())


class _Loop(asyncio.SelectorEventLoop):
    """Leaves Ctrl-C to Python: nbclient would only stop a kernel, and the next would start."""

    def add_signal_handler(self, *_: object) -> None:
        raise NotImplementedError


def _cores() -> int:
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # Not on macOS or Windows.
        return os.cpu_count() or 1


@contextmanager
def _kernel(python: str, environment: Mapping[str, str]) -> Iterator[KernelSpecManager]:
    """Describe a kernel that runs `python`, whatever kernels the machine knows of."""
    with tempfile.TemporaryDirectory(prefix="kernel-") as home:
        folder = Path(home, "kernels", "book")
        folder.mkdir(parents=True)
        flags = " ".join(
            filter(None, [os.environ.get("XLA_FLAGS"), environment.get("XLA_FLAGS")])
        )
        description = {
            "argv": [python, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
            "display_name": "book",
            "language": "python",
            # The reader's own IPython profile and plotting backend would change the pages.
            "env": dict(environment)
            | ({"XLA_FLAGS": flags} if flags else {})
            | {
                "IPYTHONDIR": home,
                "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            },
        }
        folder.joinpath("kernel.json").write_text(json.dumps(description), "utf-8")
        yield KernelSpecManager(
            kernel_dirs=[str(folder.parent)], ensure_native_kernel=False
        )


async def _execute_one(path: Path, folder: Path, specs: KernelSpecManager) -> Execution:
    notebook = nbformat.read(path, as_version=4)
    manager = AsyncKernelManager(kernel_name="book", kernel_spec_manager=specs)
    cells, began = [0.0] * len(notebook.cells), 0.0

    def start_cell(**_: object) -> None:
        nonlocal began
        began = time.monotonic()

    def end_cell(cell_index: int, **_: object) -> None:
        cells[cell_index] = time.monotonic() - began

    client = NotebookClient(
        notebook,
        km=manager,
        timeout=CELL_SECONDS,
        record_timing=False,
        on_cell_execute=start_cell,
        on_cell_executed=end_cell,
        resources={"metadata": {"path": str(folder)}},
    )
    started, cpu = time.monotonic(), 0.0
    failure = None
    try:
        await client.async_execute()
    except CellExecutionError:
        failure = _failed_cell(notebook)
    except (
        Exception
    ) as error:  # A kernel that dies or hangs is a failure of this notebook only.
        failure = Failure(f"{type(error).__name__}: {error}")
    finally:
        # Otherwise its heartbeat goes on, at a port that others take.
        if client.kc is not None:
            client.kc.stop_channels()
        if manager.has_kernel:
            cpu = _cpu_seconds(manager)
            await manager.shutdown_kernel(now=True)
    seconds = time.monotonic() - started
    return Execution(path, notebook, seconds, failure, cpu, cells)


def _cpu_seconds(manager: AsyncKernelManager) -> float:
    """What a kernel has taken so far; 0 if it died."""
    with suppress(psutil.Error, AttributeError):
        times = psutil.Process(manager.provisioner.pid).cpu_times()
        return times.user + times.system
    return 0.0


def _failed_cell(notebook: NotebookNode) -> Failure:
    for number, cell in enumerate(notebook.cells, 1):
        for output in cell.get("outputs", []):
            if output.output_type == "error":
                reason = output.evalue or output.ename
                if output.ename != "ClaimFailed":  # Whose message says all.
                    reason = f"{output.ename}: {output.evalue}"
                if output.ename == "ModuleNotFoundError":
                    reason += " (what chapters need is in requirements.txt: make setup)"
                traceback = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(output.traceback))
                return Failure(reason, number, cell.source, traceback)
    return Failure("a cell failed without saying why")
