"""What a sweep costs: 64 networks as one program, over a loop of jitted calls."""

from __future__ import annotations

from typing import Any

import jax
import optax
from flax import nnx
from timing import ratio

import vgutils as vg

NETWORKS, STEPS = 64, 20


def loop_over_one_program() -> float:
    """Seconds of 64 single training runs, each one compiled scan, over those of `train_seeds`."""
    x = jax.random.normal(jax.random.key(0), (256, 16))
    y = (x[:, 0] > 0).astype(int)
    models = [vg.MLP(16, 16, 4, 2, rngs=nnx.Rngs(seed)) for seed in range(NETWORKS)]
    options: Any = {"steps": STEPS, "batch_size": 32}
    optimizer = optax.sgd(0.1)  # one object, so that both compile once

    def together() -> jax.Array:
        return vg.train_seeds(models, optimizer, x, y, **options)[1].loss

    def in_turn() -> list[jax.Array]:
        return [vg.train(model, optimizer, x, y, **options)[1].loss for model in models]

    return ratio(in_turn, together, repeats=5)
