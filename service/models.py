"""Versions of the model on the disk: whole and ours, or refused by name.

A version is a folder named by its number; the newest has the highest:

    00000001/model.stablehlo   the program with its weights, as `jax.export` serializes it
    00000001/manifest.json     what it takes and gives, its SHA-256, what made it, and a seal

The seal is the SHA-256 of the manifest without it, so no byte of either file can change unseen.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from service.drift import Drift

log = logging.getLogger("service")

MANIFEST, PROGRAM = "manifest.json", "model.stablehlo"
FEATURES, CLASSES = 784, 10
CONTRACT = {
    "model": "digits",
    "input": ["batch", FEATURES],
    "dtype": "float32",
    "output": ["batch", CLASSES],
}
"""What a manifest must say: the service's addresses and schemas promise the same."""
BATCHES = (1, 8, 64)
"""The sizes that are compiled before a version serves; a batch is filled up to the next."""
PROBE = np.sin(np.arange(8 * FEATURES, dtype=np.float32)).reshape(8, FEATURES)
PROBE_TOLERANCE = 1e-2
"""Other machines round otherwise, matrix units by 1e-3; a wrong program is off by tenths."""


class Refused(Exception):
    """A version that must not be used; the message says why."""


@dataclass(frozen=True)
class Model:
    """A version in memory, ready to answer."""

    version: str
    about: dict[str, Any]
    program: Callable[[np.ndarray], jax.Array]
    drift: Drift

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The probabilities (n, 10) for (n, 784) float32 pixels, n at most `BATCHES[-1]`."""
        size = next(size for size in BATCHES if size >= len(x))
        filled = np.zeros((size, FEATURES), np.float32)
        filled[: len(x)] = x
        return np.asarray(self.program(filled))[: len(x)]


def seal(about: dict[str, Any]) -> bytes:
    """The manifest that says `about`."""
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
    return json.dumps(about | {"seal": digest}, indent=1, sort_keys=True).encode()


def versions(folder: Path) -> list[Path]:
    """All that have a version's name, oldest first; none where there is no folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.name.isdigit())


def load(path: Path) -> Model:
    """Verify a version, compile it for each size of batch, and see that it computes what it did.

    Raises:
        Refused: It is damaged, of another model, or this machine cannot run it.
    """
    about, program = _read(path)
    try:
        exported = export.deserialize(bytearray(program))
        drift = Drift(about["drift"])
        model = Model(path.name, about, jax.jit(exported.call), drift)
        got = model(PROBE)
        for size in BATCHES:
            model(np.zeros((size, FEATURES), np.float32))
    except Exception as error:  # Whatever a foreign program may raise.
        made = about.get("versions")
        log.debug("version %s: %s", path.name, error)
        raise Refused(f"jax {jax.__version__} cannot run it; made by {made}") from None
    expected = np.array(about.get("probe"), np.float32)
    if got.shape != expected.shape or not np.all(abs(got - expected) < PROBE_TOLERANCE):
        raise Refused("it does not compute what it did when it was written")
    return model


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    """The manifest and the program of a version, or `Refused`."""
    try:
        written, program = (path / MANIFEST).read_bytes(), (path / PROGRAM).read_bytes()
    except OSError as error:
        raise Refused(f"{Path(error.filename).name} cannot be read") from None
    try:
        about = json.loads(written)
        del about["seal"]
    except (ValueError, KeyError, TypeError):
        raise Refused(f"{MANIFEST} is damaged") from None
    if seal(about) != written:
        raise Refused(f"{MANIFEST} has changed since it was written")
    for key, ours in CONTRACT.items():
        if about.get(key) != ours:
            raise Refused(f"its {key} is {about.get(key)}, ours is {ours}")
    if about.get("sha256") != hashlib.sha256(program).hexdigest():
        raise Refused(f"{PROGRAM} has changed since it was written")
    return about, program


class Store:
    """The newest good versions of a folder, in memory.

    `models` is replaced by one assignment when a version comes or goes, and a request keeps the
    model that it began with: nobody waits, nobody meets half a change.
    """

    def __init__(self, folder: Path, keep: int = 3) -> None:
        self.folder, self.keep = folder, keep
        self.models: dict[str, Model] = {}  # Newest first.
        self.refused: dict[str, str] = {}

    def refresh(self) -> None:
        """Look at the folder again; what is in memory already is not read twice.

        If it has no good version any more, those in memory go on serving.
        """
        models: dict[str, Model] = {}
        refused: dict[str, str] = {}
        for path in reversed(versions(self.folder)):
            if len(models) == self.keep:
                break
            try:
                models[path.name] = self.models.get(path.name) or load(path)
            except Refused as reason:
                refused[path.name] = str(reason)
                if self.refused.get(path.name) != str(reason):
                    log.warning("version %s is refused: %s", path.name, reason)
        before, self.refused = self.current, refused
        self.models = models or self.models
        if self.current and self.current is not before:
            log.info("version %s serves", self.current.version)

    @property
    def current(self) -> Model | None:
        """The newest good version; None where there is none."""
        return next(iter(self.models.values()), None)
