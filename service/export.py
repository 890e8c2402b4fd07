"""Write a trained model as a version that a service can load without any training code.

`python -m service.export` from the repository's root trains, or goes on to the end of a training,
and publishes what came out if it is new.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import logging
import os
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import export

import vgutils as vg
from pipeline import checkpoints, ingest, train
from service import drift, models

PLATFORMS = ("cpu", "cuda", "tpu")


def publish(
    folder: Path,
    model: Callable[[jax.Array], jax.Array],
    held_out: np.ndarray,
    about: dict[str, Any] | None = None,
) -> Path:
    """Write the next version. Readers see all of it or nothing.

    Args:
        folder: Where the versions are.
        model: (batch, 784) float32 pixels to (batch, 10) logits.
        held_out: (n, 784) float32 pixels that the model did not learn from: drift is measured
            against them.
        about: What else the manifest should say.

    Returns:
        The version's folder.

    Raises:
        Busy: Another run is publishing there.
    """

    @jax.jit
    def predict(x: jax.Array) -> jax.Array:
        return jax.nn.softmax(model(x))

    shape = export.symbolic_shape(f"batch, {models.FEATURES}")
    argument = jax.ShapeDtypeStruct(shape, jnp.float32)
    program = bytes(export.export(predict, platforms=PLATFORMS)(argument).serialize())
    manifest = models.seal(
        {
            **(about or {}),
            **models.CONTRACT,
            "sha256": hashlib.sha256(program).hexdigest(),
            "platforms": PLATFORMS,
            "versions": {n: importlib.metadata.version(n) for n in ("jax", "flax")},
            "probe": np.asarray(predict(models.PROBE)).tolist(),
            "drift": drift.reference(held_out, np.asarray(predict(held_out))),
        }
    )
    with checkpoints.locked(folder):
        unfinished = folder / "unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        for name, content in {
            models.PROGRAM: program,
            models.MANIFEST: manifest,
        }.items():
            (unfinished / name).write_bytes(content)
        there = models.versions(folder)
        path = folder / f"{int(there[-1].name) + 1 if there else 1:08d}"
        os.rename(unfinished, path)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Train to the plan's end, then publish unless the newest good version has these weights."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--checkpoints", type=Path, default=Path("_build/pipeline"))
    parser.add_argument("--models", type=Path, default=Path("_build/models"))
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", force=True)
    try:
        model, _ = train.train(options.checkpoints, ingest.Digits())
        weights = train.digest(nnx.state(model))
        store = models.Store(options.models, keep=1)
        store.refresh()
        there = store.current.about if store.current else {}
        if weights in (there.get("weights"), there.get("retrained", {}).get("began")):
            print("the newest version has these weights, or goes on from them")
        else:
            held_out = vg.datasets.digits().x_test
            path = publish(options.models, model, held_out, {"weights": weights})
            print(f"version {path.name} is published")
    except train.EXPECTED as error:
        print(f"service: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
