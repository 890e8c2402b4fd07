"""What depth costs before training: compile time at 10,000 layers over 10."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
from flax import nnx

import vgutils as vg


def compile_seconds(depth: int) -> float:
    """Seconds to compile the gradient of an MLP's loss, from cold, weights made beforehand."""
    model = vg.MLP(8, 16, depth, 4, "tanh", rngs=nnx.Rngs(0))
    graphdef, state = nnx.split(model)
    x, y = jnp.ones((32, 8)), jnp.zeros(32, jnp.int32)

    def loss(state: nnx.State) -> jax.Array:
        return vg.training.cross_entropy(nnx.merge(graphdef, state), x, y)

    start = time.perf_counter()
    jax.jit(jax.grad(loss)).lower(state).compile()
    return time.perf_counter() - start


def compile_ratio(repeats: int = 5) -> float:
    """The least compile time at 10,000 layers over the least at 10, taken in turn."""
    compile_seconds(10)  # the first one also loads the compiler
    pairs = [(compile_seconds(10_000), compile_seconds(10)) for _ in range(repeats)]
    return min(a for a, _ in pairs) / min(b for _, b in pairs)
