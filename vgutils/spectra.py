"""Jacobians as matrices, and their singular values: how a network stretches each direction."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from vgutils import errors


def singular_values(
    function: Callable[[jax.Array], jax.Array], x: jax.Array
) -> jax.Array:
    """The singular values of a function's Jacobian at one input, the largest first.

    Args:
        function: (n,) -> (m,), floating.
        x: (n,), finite.

    Returns:
        (min(n, m),), in the dtype of the function's output.

    Raises:
        TypeError: `function` is not callable, or `x` not floating.
        ValueError: `x` is empty, not one vector, or not finite; `function` gives no vector.
    """
    if not callable(function):
        raise TypeError(f"function must be callable, got {function!r}")
    x = jnp.asarray(errors.array("x", x, ndim=1, floating=True))
    out = jax.eval_shape(function, x)
    if getattr(out, "ndim", None) != 1:
        raise ValueError(f"function must map a vector to a vector, got {out} from it")
    return jnp.linalg.svd(jax.jacobian(function)(x), compute_uv=False)


def layer_jacobians(layers: Any, h: jax.Array) -> jax.Array:
    """The Jacobian of each layer of a `stack`, where one input's signal passes it.

    Their product, the last layer on the left, is the Jacobian of the whole stack.

    Args:
        layers: From `vgutils.models.stack`; each maps (width,) to (width,).
        h: (width,), what enters the first.

    Returns:
        (size, width, width), entry [l, i, j] = d h_{l+1, i} / d h_{l, j}.

    Raises:
        TypeError: `layers` is not an NNX module, or `h` not floating.
        ValueError: `h` is empty, not one vector, or not finite.
    """
    if not isinstance(layers, nnx.Module):
        raise TypeError(
            f"layers must be a flax.nnx.Module, got {type(layers).__name__}"
        )
    h = jnp.asarray(errors.array("h", h, ndim=1, floating=True))
    graphdef, weights = nnx.split(layers)

    def one(h: jax.Array, weights: Any) -> tuple[jax.Array, jax.Array]:
        def layer(h: jax.Array) -> jax.Array:
            return nnx.merge(graphdef, weights)(h)

        return layer(h), jax.jacobian(layer)(h)

    return jax.lax.scan(one, h, weights)[1]
