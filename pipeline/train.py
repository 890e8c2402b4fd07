"""Train a network on records; killed at any moment, the run goes on bit for bit.

`python -m pipeline.train` from the repository's root; `--help` lists the options.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import logging
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import vgutils as vg
from pipeline import checkpoints, ingest, scale
from vgutils import errors
from vgutils.training import accuracy, cross_entropy

log = logging.getLogger("pipeline")

State = dict[str, Any]
Update = Callable[[State, jax.Array, jax.Array], tuple[State, jax.Array]]
EXPECTED = (
    checkpoints.Busy,
    checkpoints.Refused,
    ingest.BadRecord,
    ingest.SourceUnavailable,
    FloatingPointError,
)
"""What can go wrong without a mistake in the program: one line for the reader, no traceback."""


@dataclasses.dataclass(frozen=True)
class Recipe:
    """What decides the weights after a step, beside the data."""

    width: int = 64
    depth: int = 3
    learning_rate: float = 0.02
    momentum: float = 0.9
    noise: float = 0.3  # Added to the pixels, in their standard deviations.
    batch_size: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("width", "depth", "batch_size"):
            errors.integer(name, getattr(self, name), minimum=1)
        errors.integer("seed", self.seed, minimum=0)


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long to train, and how often to save; a run may go on with another plan."""

    steps: int = 600
    save_every: int = 100
    keep: int = 3

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            errors.integer(name, value, minimum=1)


@functools.cache
def build(recipe: Recipe) -> tuple[Any, State, Update]:
    """What a recipe makes; compiled once, however often a process trains by it.

    Returns:
        The network's graph, the state at step 0 (weights, the optimizer's slots, the random key),
        and one step of training: (state, x, y) -> (state after it, loss before it).
    """
    model = vg.MLP(
        ingest.FEATURES,
        recipe.width,
        recipe.depth,
        ingest.CLASSES,
        "relu",
        kernel_init="he_normal",
        rngs=nnx.Rngs(recipe.seed),
    )
    graph, weights = nnx.split(model)
    optimizer = optax.sgd(recipe.learning_rate, recipe.momentum)

    @jax.jit
    def update(state: State, x: jax.Array, y: jax.Array) -> tuple[State, jax.Array]:
        key, now = jax.random.split(jax.random.wrap_key_data(state["key"]))
        x = x + recipe.noise * jax.random.normal(now, x.shape)

        def objective(weights: Any) -> jax.Array:
            return cross_entropy(nnx.merge(graph, weights), x, y)

        weights = state["weights"]
        loss, slopes = jax.value_and_grad(objective)(weights)
        changes, slots = optimizer.update(slopes, state["slots"], weights)
        weights = optax.apply_updates(weights, changes)
        key = jax.random.key_data(key)
        return {"weights": weights, "slots": slots, "key": key}, loss

    key = jax.random.key_data(jax.random.key(recipe.seed))
    state = {"weights": weights, "slots": optimizer.init(weights), "key": key}
    return graph, state, update


def train(
    folder: Path,
    source: ingest.Source,
    recipe: Recipe = Recipe(),
    plan: Plan = Plan(),
) -> tuple[Any, int]:
    """Train from the newest good checkpoint in `folder`, or from the start.

    On all devices of one machine. Many hosts take the same step on the same batches (`build`,
    `scale`), but who of them writes checkpoints is not settled here.

    Args:
        folder: Where the checkpoints are.
        source: Where the records are.
        recipe: What to train.
        plan: How long.

    Returns:
        The trained model, and the step at which this run began.

    Raises:
        SourceUnavailable, BadRecord: The source cannot be read, or a record is none.
        Foreign: `folder` belongs to another training, or the records are not those it began with.
        FloatingPointError: The loss is not finite. The last checkpoint is from before.
        Busy: Another run is training in `folder`.
    """
    with checkpoints.locked(folder):
        graph, state, update = build(recipe)
        same = identity(recipe, state)
        found = checkpoints.latest(folder, flat(state), same)
        about = found[1] if found else {}
        records = source.read(about.get("records"))
        data = {"records": len(records), "sha256": ingest.check(records)}
        batches: Any = ingest.batches(records, recipe.batch_size, recipe.seed)
        if found:
            then = {name: about[name] for name in data}
            if then != data:
                raise checkpoints.Foreign(f"training began with {then}, got {data}")
            state = unflat(state, found[0])
            batches.set_state(about["position"])
        start = about.get("step", 0)
        mesh = scale.mesh()
        state = scale.copy(state, mesh)
        for step in range(start + 1, plan.steps + 1):
            state, loss = update(state, *scale.split(next(batches), mesh))
            if step % plan.save_every == 0 or step == plan.steps:
                if not math.isfinite(loss):
                    raise FloatingPointError(f"the loss is {loss} at step {step}")
                about = same | data | {"step": step, "position": batches.get_state()}
                checkpoints.save(folder, flat(state), about, plan.keep)
                log.info("step %d: loss %.4f, saved", step, loss)
    return nnx.merge(graph, state["weights"]), start


def identity(recipe: Recipe, state: State) -> dict[str, Any]:
    """What a checkpoint says of itself, and must say to be one of this training."""
    arrays = {k: f"{leaf.dtype}{list(leaf.shape)}" for k, leaf in flat(state).items()}
    return {"recipe": dataclasses.asdict(recipe), "arrays": arrays}


def flat(state: State) -> checkpoints.Arrays:
    """The arrays of a state by name, on the host."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    name = jax.tree_util.keystr
    return {name(p, simple=True, separator="."): np.asarray(leaf) for p, leaf in leaves}


def unflat(like: State, arrays: checkpoints.Arrays) -> State:
    """The state that `flat` took apart, in the form of `like`."""
    leaves = [arrays[name] for name in flat(like)]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def digest(state: Any) -> str:
    """The SHA-256 of all the bytes of a state or a model, in hexadecimal."""
    whole = hashlib.sha256()
    for leaf in jax.tree.leaves(state):
        whole.update(np.asarray(leaf).tobytes())
    return whole.hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, then say how well the held-out digits are read."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("_build/pipeline"))
    parser.add_argument(
        "--source",
        default="digits:",
        help="digits: (the default), file:path, kafka://server:port/topic or s3://bucket/prefix",
    )
    for kind in (Recipe, Plan):
        for field in dataclasses.fields(kind):
            option = f"--{field.name.replace('_', '-')}"
            parser.add_argument(
                option,
                type=type(field.default),
                default=field.default,
                help="%(default)s",
            )
    options = vars(parser.parse_args(arguments))
    try:
        source = ingest.open_source(options["source"])
        recipe = Recipe(**{name: options[name] for name in vars(Recipe())})
        plan = Plan(**{name: options[name] for name in vars(Plan())})
    except ValueError as error:
        parser.error(str(error))
    logging.basicConfig(level=logging.WARNING, format="%(message)s", force=True)
    log.setLevel(logging.INFO)
    try:
        model, _ = train(options["folder"], source, recipe, plan)
    except EXPECTED as error:
        print(f"pipeline: {error}", file=sys.stderr)
        return 1
    held_out = vg.datasets.digits()
    share = float(accuracy(model, jnp.asarray(held_out.x_test), held_out.y_test))
    count = len(held_out.y_test)
    spread = 1.96 * math.sqrt(share * (1 - share) / count)
    print(f"accuracy {share:.3f} ± {spread:.3f} on {count} held-out digits (95 %)")
    print(f"weights {digest(nnx.state(model))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
