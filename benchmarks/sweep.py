"""What a sweep costs: a loop over 64 networks and their steps, over one program for all."""

from __future__ import annotations

import jax
import optax
from flax import nnx
from timing import ratio

import vgutils as vg

NETWORKS, STEPS, BATCH = 64, 100, 32


def loop_over_one_program() -> float:
    """Seconds of a loop that calls one jitted step at a time, over those of `train_seeds`."""
    x = jax.random.normal(jax.random.key(0), (256, 16))
    y = (x[:, 0] > 0).astype(int)
    models = [vg.MLP(16, 16, 4, 2, rngs=nnx.Rngs(seed)) for seed in range(NETWORKS)]
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

    def together() -> jax.Array:
        options = {"steps": STEPS, "batch_size": BATCH}
        return vg.train_seeds(models, optimizer, x, y, **options)[1].loss  # type: ignore[arg-type]

    return ratio(loop, together, repeats=3)
