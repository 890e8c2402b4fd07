"""Checkpoints that are whole or refused: Orbax writes the arrays, checksums vouch for every byte.

A checkpoint is a folder named by its step:

    00000100/state/       the arrays, as Orbax writes them
    00000100/about.json   the step, the position in the data, whose weights these are
    00000100/SHA256SUMS   of each file; `sha256sum -c SHA256SUMS` reads it too

It gets its name by one rename when all of it is written, so a killed run leaves a checkpoint or
none. A machine that loses its power may leave less than that; the checksums tell.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import orbax.checkpoint as ocp

log = logging.getLogger("pipeline")

SUMS, ABOUT, STATE = "SHA256SUMS", "about.json", "state"
UNFINISHED = "unfinished-"
REFUSED = "refused-"
Arrays = dict[str, np.ndarray]


class Refused(Exception):
    """A checkpoint that must not be used; the message says why."""


class Foreign(Refused):
    """A sound checkpoint, but of another model, another recipe or other data."""


class Busy(Exception):
    """Another run is writing to the folder."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one run at a time write to `folder`; the system frees it when a run dies.

    Raises:
        Busy: Another run is writing to it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy(f"another run is training in {folder}") from None
        yield


def save(folder: Path, arrays: Arrays, about: dict[str, Any], keep: int) -> Path:
    """Write a checkpoint, then forget all but the newest `keep`.

    Args:
        folder: Where the checkpoints are.
        arrays: The whole state of the training, by name.
        about: What else is needed to go on; `about["step"]` names the checkpoint.
        keep: At least 1.

    Returns:
        The checkpoint's folder.
    """
    path = folder / f"{about['step']:08d}"
    unfinished = folder / f"{UNFINISHED}{path.name}"
    with _orbax() as orbax:
        orbax.save(unfinished.absolute() / STATE, arrays)
    (unfinished / ABOUT).write_text(json.dumps(about, indent=1), "utf-8")
    lines = [f"{sha256}  {name}\n" for name, sha256 in _digests(unfinished).items()]
    (unfinished / SUMS).write_text("".join(lines), "utf-8")
    os.rename(unfinished, path)
    for old in _checkpoints(folder)[:-keep]:
        # First away from its name: half deleted, it would look damaged.
        shutil.rmtree(old.rename(folder / f"{UNFINISHED}{old.name}"))
    return path


def latest(
    folder: Path, like: Arrays, same: dict[str, Any]
) -> tuple[Arrays, dict[str, Any]] | None:
    """The newest checkpoint that is whole and ours.

    What is refused is logged, and moved aside as `refused-…`: nothing of it is deleted.

    Args:
        folder: Where the checkpoints are; call it with the folder `locked`.
        like: Arrays of the names, shapes and dtypes expected.
        same: What `about` must say.

    Returns:
        The arrays and `about`; None where there is no checkpoint, or only damaged ones.

    Raises:
        Foreign: There are checkpoints, but no good one of this model: it is the wrong folder.
    """
    for rest in folder.glob(f"{UNFINISHED}*"):
        shutil.rmtree(rest)
    found, refused = None, []
    for path in reversed(_checkpoints(folder)):
        try:
            found = _read(path, like, same)
            break
        except Refused as reason:
            log.warning("checkpoint %s is refused: %s", path.name, reason)
            refused.append((path, reason))
    foreign = [reason for _, reason in refused if isinstance(reason, Foreign)]
    if found is None and foreign:
        raise Foreign(f"{folder} holds no checkpoint of this training: {foreign[0]}")
    for path, _ in refused:
        aside = folder / f"{REFUSED}{path.name}"
        shutil.rmtree(aside, ignore_errors=True)
        path.rename(aside)
    if found:
        log.info("going on from checkpoint %08d", found[1]["step"])
    return found


def _read(
    path: Path, like: Arrays, same: dict[str, Any]
) -> tuple[Arrays, dict[str, Any]]:
    """One checkpoint, or `Refused`."""
    _verify(path)
    about = json.loads((path / ABOUT).read_text("utf-8"))
    for key, ours in same.items():
        if about.get(key) != ours:
            raise Foreign(f"its {key} is {about.get(key)}, ours is {ours}")
    if f"{about['step']:08d}" != path.name:
        raise Refused(f"it is of step {about['step']}")
    with _orbax() as orbax:
        return orbax.restore(path.absolute() / STATE, like), about


def _verify(path: Path) -> None:
    """Compare every file of a checkpoint with its checksum."""
    try:
        lines = (path / SUMS).read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise Refused(f"{SUMS} is missing or damaged") from None
    listed = {}
    for line in lines:
        sha256, _, name = line.partition("  ")
        listed[name] = sha256
    there = _digests(path)
    for name in sorted(listed.keys() | there.keys()):
        if name not in there:
            raise Refused(f"{name} is missing")
        if name not in listed:
            raise Refused(f"{name} is not in {SUMS}")
        if listed[name] != there[name]:
            raise Refused(f"{name} has changed since it was written")


def _digests(path: Path) -> dict[str, str]:
    """The SHA-256 of each file under a checkpoint but the list itself."""
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {
        str(file.relative_to(path)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file != path / SUMS
    }


def _checkpoints(folder: Path) -> list[Path]:
    """Those that have their name, oldest first."""
    return sorted(path for path in folder.iterdir() if path.name.isdigit())


def _orbax() -> Any:
    """Orbax's checkpointer: what it has saved is on the disk when the call comes back."""
    return ocp.Checkpointer(ocp.StandardCheckpointHandler())
