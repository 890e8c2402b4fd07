"""What the probe costs: an instrumented training step over the bare one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import jax
import optax
from flax import nnx
from timing import ratio

import vgutils as vg


def training_step(model: Any, at: str | None, batch: tuple[jax.Array, jax.Array]) -> Callable:
    """A jitted SGD step of `model`; with `at` it also returns the profile of those submodules."""
    loss, optimizer = vg.training.cross_entropy, optax.sgd(0.01)
    if at is not None:
        model = vg.instrument(model, loss, *batch, at=at)
    graphdef, weights, sinks, rest = nnx.split(model, vg.probe.WEIGHTS, vg.probe.Sink, ...)
    slots = optimizer.init(weights)

    @jax.jit
    def step(weights: Any, sinks: Any) -> Any:
        def objective(weights: Any, sinks: Any) -> jax.Array:
            return loss(nnx.merge(graphdef, weights, sinks, rest), *batch)

        value, (slopes, sunk) = jax.value_and_grad(objective, argnums=(0, 1))(weights, sinks)
        profile = None
        if at is not None:
            tapped = nnx.merge(graphdef, weights, sinks, rest)
            profile = vg.read(tapped, nnx.merge_state(slopes, sunk))
        updates, _ = optimizer.update(slopes, slots, weights)
        return optax.apply_updates(weights, updates), value, profile

    return lambda: step(weights, sinks)


def main() -> None:
    """Print the overhead at depth 10, 100 and 1,000."""
    print("probe overhead, instrumented over bare step (budget 1.05)")
    for depth, width in [(10, 256), (100, 128), (1000, 64)]:
        model = vg.MLP(784, width, depth, 10, "tanh", rngs=nnx.Rngs(0))
        x = jax.random.normal(jax.random.key(0), (128, 784))
        batch = (x, jax.random.randint(jax.random.key(1), (128,), 0, 10))
        bare = training_step(model, None, batch)
        for at in ["hidden", "*"]:
            cost = ratio(training_step(model, at, batch), bare)
            print(f"  depth {depth:>5} width {width:>4}  at={at!r:<9} {cost:.3f}")


if __name__ == "__main__":
    sys.exit(main())
