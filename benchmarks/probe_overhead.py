"""What the probe costs: an instrumented training step over the bare one.

`python benchmarks/probe_overhead.py` prints it, and PyTorch's step and hooks if PyTorch is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import optax
from beside import MISSING, Work, pytorch
from flax import nnx
from timing import ratio

import vgutils as vg

SHAPES = [(10, 256), (100, 256), (1000, 256)]  # (depth, width)
BATCH = 256


def training_step(
    model: Any, batch: tuple[jax.Array, jax.Array], *, probed: bool
) -> Callable:
    """A jitted SGD step; with `probed` it also returns the profile of every hidden layer."""
    loss, optimizer = vg.training.cross_entropy, optax.sgd(0.01)
    if probed:
        model = vg.instrument(model, loss, *batch, at=["first", "hidden"])
    graphdef, weights, sinks, rest = nnx.split(
        model, vg.probe.WEIGHTS, vg.probe.Sink, ...
    )
    slots = optimizer.init(weights)

    @jax.jit
    def step(weights: Any, sinks: Any) -> Any:
        def objective(weights: Any, sinks: Any) -> jax.Array:
            return loss(nnx.merge(graphdef, weights, sinks, rest), *batch)

        value, (slopes, sunk) = jax.value_and_grad(objective, argnums=(0, 1))(
            weights, sinks
        )
        updates, _ = optimizer.update(slopes, slots, weights)
        updated = optax.apply_updates(weights, updates)
        if not probed:
            return updated, value
        tapped = nnx.merge(graphdef, weights, sinks, rest)
        return updated, value, vg.read(tapped, nnx.merge_state(slopes, sunk))

    return lambda: step(weights, sinks)


def steps(depth: int, width: int) -> tuple[Callable, Callable]:
    """The probed step and the bare one, of one network."""
    model = vg.MLP(784, width, depth, 10, "tanh", rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (BATCH, 784))
    batch = (x, jax.random.randint(jax.random.key(1), (BATCH,), 0, 10))
    return (
        training_step(model, batch, probed=True),
        training_step(model, batch, probed=False),
    )


def overheads() -> Iterator[tuple[str, float]]:
    """A name and the ratio of the probed step over the bare one, for each shape of network."""
    for depth, width in SHAPES:
        probed, bare = steps(depth, width)
        # Short steps are disturbed more: as many seconds for each shape, about.
        repeats = max(15, 3000 // depth)
        yield f"depth {depth:,} width {width}", ratio(probed, bare, repeats)


def in_pytorch(work: Work) -> Iterator[tuple[str, float, float]]:
    """A name, PyTorch's bare step over ours, and its step with hooks over its bare one."""
    for depth, width in SHAPES:
        _, ours = steps(depth, width)
        bare, hooked = (
            work("step", depth=depth, width=width, batch=BATCH, hooked=hooked)
            for hooked in (False, True)
        )
        repeats = max(5, 300 // depth)
        name = f"depth {depth:,} width {width}"
        yield name, ratio(bare, ours, repeats), ratio(hooked, bare, repeats)


def main() -> None:
    """Print a line for each shape: the probe's ratio, then those of PyTorch."""
    for name, cost in overheads():
        print(f"{cost:5.2f}  step with probe over bare, {name}", flush=True)
    with pytorch() as work:
        if work is None:
            print(f"PyTorch: {MISSING}")
            return
        for name, bare, hooked in in_pytorch(work):
            print(f"{bare:5.2f}  PyTorch's bare step over ours, {name}")
            print(f"{hooked:5.2f}  PyTorch, with hooks over bare, {name}", flush=True)


if __name__ == "__main__":
    main()
