"""What a sweep costs: a loop over 64 networks and their steps, over one program for all.

The loop is ours, of jitted steps, or PyTorch's, of eager ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import jax
import optax
from beside import Work
from flax import nnx
from timing import ratio

import vgutils as vg

NETWORKS, STEPS, BATCH = 64, 100, 32


def networks() -> tuple[list[vg.MLP], jax.Array, jax.Array]:
    """Small tanh networks, and what they learn."""
    x = jax.random.normal(jax.random.key(0), (256, 16))
    models = [vg.MLP(16, 16, 4, 2, rngs=nnx.Rngs(seed)) for seed in range(NETWORKS)]
    return models, x, (x[:, 0] > 0).astype(int)


def one_program() -> Callable[[], jax.Array]:
    """All steps of all networks by `train_seeds`."""
    models, x, y = networks()
    optimizer = optax.sgd(0.1)

    def together() -> jax.Array:
        options = {"steps": STEPS, "batch_size": BATCH}
        return vg.train_seeds(models, optimizer, x, y, **options)[1].loss  # type: ignore[arg-type]

    return together


def eager_over_one_program(work: Work) -> float:
    """Seconds of PyTorch's loop over those of `train_seeds`: networks a second, ours over its.

    So small a network is faster there on one thread than on all; the faster of the two counts.
    """
    ratios = []
    for threads in {1, os.cpu_count() or 1}:
        options = {"networks": NETWORKS, "steps": STEPS, "batch": BATCH}
        eager = work("sweep", **options, threads=threads)
        ratios.append(ratio(eager, one_program(), repeats=3))
    return min(ratios)


def loop_over_one_program() -> float:
    """Seconds of a loop that calls one jitted step at a time, over those of `train_seeds`."""
    models, x, y = networks()
    optimizer = optax.sgd(0.1)
    graphdef = nnx.graphdef(models[0])

    @jax.jit
    def step(weights: nnx.State, slots: optax.OptState, key: jax.Array) -> tuple:
        def loss(weights: nnx.State) -> jax.Array:
            chosen = jax.random.randint(key, (BATCH,), 0, len(x))
            model = nnx.merge(graphdef, weights)
            return vg.training.cross_entropy(model, x[chosen], y[chosen])

        value, slopes = jax.value_and_grad(loss)(weights)
        updates, slots = optimizer.update(slopes, slots, weights)
        return optax.apply_updates(weights, updates), slots, value

    def loop() -> list[jax.Array]:
        losses = []
        for seed, model in enumerate(models):
            weights = nnx.state(model)
            slots = optimizer.init(weights)
            for key in jax.random.split(jax.random.key(seed), STEPS):
                weights, slots, value = step(weights, slots, key)
                losses.append(value)
        return losses

    return ratio(loop, one_program(), repeats=3)
