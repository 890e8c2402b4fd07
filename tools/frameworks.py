"""Run the same networks in all frameworks, and compare: `make frameworks`.

Each framework runs in its own process (`frameworks/run_*.py`), with the interpreter that has it.
One that is not there keeps its recorded row; with VG_FRAMEWORKS=all, a missing row is a failure.
The rows go to `_build/frameworks.json`, where the chapter finds them; `--record` writes them into
the table that ships with the package, too.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from toc import ROOT

from vgutils import frameworks
from vgutils.frameworks import Row, Table

RUNNERS = ROOT / "frameworks"
RECORD = ROOT / "vgutils" / "data" / "frameworks.json"
LIVE = ROOT / "_build" / "frameworks.json"
OTHERS = ROOT / ".venv-frameworks" / "bin" / "python"
CNTK = ROOT / ".venv-cntk"
STUBS = ("libmpi.so.12", "libmpi_cxx.so.1")
SECONDS = 300  # for one framework
ROWS = {  # the runner, and what it finds in its environment
    "flax": ("run_flax.py", {}),
    "torch": ("run_torch.py", {}),
    "tensorflow": ("run_tensorflow.py", {}),
    "keras-jax": ("run_keras.py", {"KERAS_BACKEND": "jax"}),
    "keras-tensorflow": ("run_keras.py", {"KERAS_BACKEND": "tensorflow"}),
    "keras-torch": ("run_keras.py", {"KERAS_BACKEND": "torch"}),
    "cntk": ("run_cntk.py", {}),
}


class RunFailed(Exception):
    """A framework could not be set up or did not run; the message says why."""


def main(arguments: list[str] | None = None) -> int:
    """Run, compare, print, and say by the exit status whether everything agrees."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="write the shipped table")
    options = parser.parse_args(arguments)
    required = os.environ.get("VG_FRAMEWORKS", "")
    if required not in ("", "all"):
        print(f"VG_FRAMEWORKS must be all, or not set; got {required!r}")
        return 2
    shipped = frameworks.recorded() if RECORD.exists() else None
    table, problems = run_all(demand=required == "all")
    if shipped:
        problems += against(shipped, table)
    show(table, shipped)
    for problem in problems:
        print(problem)
    if problems:
        return 1
    LIVE.parent.mkdir(exist_ok=True)
    write(LIVE, table)
    if options.record:
        kept = shipped.rows if shipped else {}
        write(RECORD, dataclasses.replace(table, rows={**kept, **table.rows}))
    return 0


def run_all(*, demand: bool) -> tuple[Table, list[str]]:
    """Run every framework that is here.

    Args:
        demand: Whether one that is not here is a problem (CNTK only where a Python 3.6 is).

    Returns:
        The rows that ran, and what is wrong.
    """
    rows, problems = {}, []
    with tempfile.TemporaryDirectory() as folder:
        given, expected = Path(folder) / "in.npz", Path(folder) / "reference.npz"
        np.savez(given, allow_pickle=False, **frameworks.inputs())
        run(Path(sys.executable), "reference.py", given, expected, {})
        reference = dict(np.load(expected))
        for name, (runner, switches) in ROWS.items():
            try:
                python, libraries = interpreter(name)
                if python is None:
                    if demand and name != "cntk":
                        problems.append(
                            f"{name}: not here; `make frameworks` sets it up"
                        )
                    continue
                print(f"{name} ...", flush=True)
                found = Path(folder) / f"{name}.npz"
                run(python, runner, given, found, {**switches, **libraries})
                rows[name], wrong = row(dict(np.load(found)), reference)
                problems += [f"{name}, {what}" for what in wrong]
            except (RunFailed, ValueError) as error:
                problems.append(f"{name}: {error}")
    return Table(frameworks.norms(reference), rows), problems


def run(
    python: Path, runner: str, given: Path, found: Path, switches: Mapping[str, str]
) -> None:
    """Run one file of `frameworks/` in its own process.

    Raises:
        RunFailed: It failed, or took too long; the message has the end of what it printed.
    """
    quiet = {
        "OMP_NUM_THREADS": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "JAX_PLATFORMS": "cpu",
    }
    command = [str(python), str(RUNNERS / runner), str(given), str(found)]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **quiet, **switches},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        raise RunFailed(f"{runner} took longer than {SECONDS} s") from None
    except OSError as error:
        raise RunFailed(f"{runner} did not start: {error}") from error
    if done.returncode:
        raise RunFailed(f"{runner} failed:\n{done.stdout[-2000:]}")


def row(
    found: Mapping[str, Any], reference: Mapping[str, Any]
) -> tuple[Row, list[str]]:
    """What a runner wrote, as a row, and which of its gradients are not the reference's."""
    shared = {
        name: value
        for name, value in found.items()
        if name.split("/")[0] in frameworks.NETWORKS
    }
    errors = frameworks.compare(shared, reference)
    defaults = {}
    for name, value in found.items():
        kind, _, rest = name.partition("/")
        if kind == "default":
            if value.ndim == 2:  # (seed, layer): the last layer has no activation
                value = value[:, 0] / value[:, -1 if rest == "lstm" else -2]
            activation, _, part = rest.partition("/")
            part = {"": "", "biases": "hidden/", "weights": "weights/"}[part]
            defaults[part + activation] = [float(v) for v in value]
    notes = {}
    for name, value in found.items():
        kind, _, rest = name.partition("/")
        if kind == "convention":
            notes[rest] = float(value)
        if kind == "second":
            right = reference[f"lstm/{rest}"]
            gap = np.linalg.norm(value - right) / np.linalg.norm(right)
            notes[f"BlockLSTMV2/{rest}"] = float(gap)
    made = Row(
        versions=json.loads(str(found["versions"])),
        date=datetime.date.today().isoformat(),
        norms=frameworks.norms(shared),
        worst=frameworks.worst(errors),
        defaults=defaults,
        notes=notes,
    )
    return made, frameworks.failures(errors)


def against(shipped: Table, table: Table) -> list[str]:
    """Where what ran differs from what is recorded, beyond rounding."""
    problems = []
    pairs = [("reference", shipped.reference, table.reference)]
    for name, live in table.rows.items():
        if name in shipped.rows:
            pairs.append((name, shipped.rows[name].norms, live.norms))
    for name, old, new in pairs:
        # Each is within TOLERANCE of the reference, so that they are within twice that.
        far = [
            key
            for key in old
            if not abs(new.get(key, np.nan) / old[key] - 1) <= 2 * frameworks.TOLERANCE
        ]
        if far:
            problems.append(f"{name}: not as recorded: {', '.join(far[:5])}")
    for name, live in table.rows.items():
        kept = shipped.rows.get(name)
        if kept and kept.versions == live.versions:
            for key, values in kept.defaults.items():
                drawn, limit = live.defaults.get(key, []), frameworks.ARRAY_TOLERANCE
                if len(drawn) != len(values) or not np.allclose(
                    drawn, values, limit, 0
                ):
                    problems.append(f"{name}: default {key} is not as recorded")
    return problems


def write(path: Path, table: Table) -> None:
    """Write a table as JSON, with nine digits a number: float32 has no more."""

    def rounded(value: Any) -> Any:
        if isinstance(value, float):
            return float(f"{value:.9g}")
        if isinstance(value, dict):
            return {key: rounded(item) for key, item in value.items()}
        return [rounded(item) for item in value] if isinstance(value, list) else value

    ordered = {
        name: rounded(dataclasses.asdict(table.rows[name]))
        for name in ROWS
        if name in table.rows
    }
    content = {"reference": rounded(table.reference), "rows": ordered}
    path.write_text(json.dumps(content, indent=1) + "\n", "utf-8")


def show(table: Table, shipped: Table | None) -> None:
    """Print the worst relative difference of each network, and the ratios of the defaults."""
    rows = {**(shipped.rows if shipped else {}), **table.rows}
    columns = (*frameworks.NETWORKS, "steps")
    print(
        f"\n{'worst error of a norm':18}" + "".join(f"{name:>10}" for name in columns)
    )
    for name in (name for name in ROWS if name in rows):
        state = "live" if name in table.rows else f"recorded {rows[name].date}"
        versions = ", ".join(" ".join(item) for item in rows[name].versions.items())
        errors = "".join(f"{rows[name].worst[column]:10.1e}" for column in columns)
        print(f"{name:21}{errors}  {state} ({versions})")
    kinds = ("hidden/sigmoid", "hidden/tanh", "hidden/relu", "weights/relu", "lstm")
    print(f"\n{'defaults, first/last':21}" + "".join(f"{kind:>15}" for kind in kinds))
    for name in (name for name in ROWS if name in rows and rows[name].defaults):
        medians = [np.median(rows[name].defaults[kind]) for kind in kinds]
        print(f"{name:21}" + "".join(f"{value:15.1e}" for value in medians))


# Which Python has what.


def interpreter(name: str) -> tuple[Path | None, dict[str, str]]:
    """The Python of a row, or None if there is none, and what it needs in its environment.

    Raises:
        RunFailed: CNTK's environment could not be made.
    """
    if name == "flax":
        return Path(sys.executable), {}
    if name != "cntk":
        return (OTHERS if OTHERS.exists() else None), {}
    python = python36()
    if python is None:
        return None, {}
    set_up_cntk(python)
    libraries = _output(
        python, "import sysconfig; print(sysconfig.get_config_var('LIBDIR'))"
    )
    return CNTK / "bin" / "python", {"LD_LIBRARY_PATH": f"{CNTK / 'mpi'}:{libraries}"}


def python36() -> Path | None:
    """A Python 3.6 on Linux: on the PATH, or one of pyenv's."""
    if sys.platform != "linux":
        return None
    found = shutil.which("python3.6")
    candidates = [Path(found)] if found else []
    candidates += Path.home().glob(".pyenv/versions/3.6*/bin/python3.6")
    for python in candidates:  # the one on the PATH may be a shim that leads nowhere
        if _output(python, "import sys; print(sys.version_info[:2])") == "(3, 6)":
            return python
    return None


def set_up_cntk(python: Path) -> None:
    """Make `.venv-cntk` once: CNTK, and the two libraries that it wants of OpenMPI 1.10.

    Raises:
        RunFailed: A step failed; the message has what it printed.
    """
    stamp, requirements = CNTK / ".ready", RUNNERS / "requirements-cntk.txt"
    sources = requirements, RUNNERS / "mpi_stub.c"
    if stamp.exists() and stamp.stat().st_mtime > max(
        f.stat().st_mtime for f in sources
    ):
        return
    print("Setting up .venv-cntk (once, half a minute) ...", flush=True)
    pip = [str(CNTK / "bin" / "python"), "-m", "pip", "install", "-q"]
    steps = [
        [str(python), "-m", "venv", str(CNTK)],
        [*pip, "--disable-pip-version-check", "-r", str(requirements)],
        ["mkdir", "-p", str(CNTK / "mpi")],
    ]
    for name in STUBS:
        library = ["-o", str(CNTK / "mpi" / name), f"-Wl,-soname,{name}"]
        steps.append(["cc", "-shared", "-fPIC", *library, str(sources[1])])
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True)
        except OSError as error:
            raise RunFailed(f"{step[0]} did not start: {error}") from error
        if done.returncode:
            raise RunFailed(f"{' '.join(step)} failed:\n{done.stderr[-2000:]}")
    stamp.touch()


def _output(python: Path, code: str) -> str:
    try:
        done = subprocess.run(
            [str(python), "-c", code], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
