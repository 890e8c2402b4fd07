"""Jacobians and singular values against numpy and the chain rule."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import vgutils as vg
from vgutils import models, spectra


def layers(depth=3, width=5, seed=0):
    def layer(rngs):
        return models.Layer(width, width, jnp.tanh, rngs=rngs)

    return models.stack(layer, depth, nnx.Rngs(seed))


@pytest.mark.parametrize("shape", [(4, 4), (3, 6), (6, 3)])
def test_singular_values_of_a_matrix_are_those_of_numpy(shape):
    matrix = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    got = spectra.singular_values(lambda x: matrix @ x, jnp.ones(shape[1]))
    expected = np.linalg.svd(matrix, compute_uv=False)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_singular_values_are_those_at_the_input():
    # The Jacobian of an elementwise square is diag(2 x).
    x = jnp.array([3.0, -1.0, 0.5])
    np.testing.assert_allclose(spectra.singular_values(lambda x: x**2, x), [6, 2, 1])


def test_layer_jacobians_are_those_of_single_layers_in_order():
    stack, h = layers(), jax.random.normal(jax.random.key(1), (5,))
    got = spectra.layer_jacobians(stack, h)
    for index in range(3):
        kernel = np.asarray(stack.linear.kernel[...][index])
        h = np.tanh(h @ kernel)
        np.testing.assert_allclose(
            got[index], (1 - h**2)[:, None] * kernel.T, rtol=2e-5
        )


def test_their_product_is_the_jacobian_of_the_stack():
    stack, h = layers(depth=4), jax.random.normal(jax.random.key(2), (5,))
    product = np.linalg.multi_dot(np.asarray(spectra.layer_jacobians(stack, h))[::-1])
    whole = jax.jacobian(lambda h: vg.models.scan_layers(stack, h))(h)
    np.testing.assert_allclose(product, whole, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: spectra.singular_values(3, jnp.ones(2)),
            TypeError,
            "function must be callable",
        ),
        (
            lambda: spectra.singular_values(jnp.tanh, jnp.ones((2, 2))),
            ValueError,
            "x must",
        ),
        (
            lambda: spectra.singular_values(jnp.tanh, jnp.array([jnp.nan])),
            ValueError,
            "x must",
        ),
        (
            lambda: spectra.singular_values(jnp.tanh, jnp.arange(3)),
            TypeError,
            "x must",
        ),
        (lambda: spectra.singular_values(jnp.sum, jnp.ones(2)), ValueError, "vector"),
        (
            lambda: spectra.layer_jacobians(jnp.tanh, jnp.ones(2)),
            TypeError,
            "layers must",
        ),
        (
            lambda: spectra.layer_jacobians(layers(), jnp.ones((1, 5))),
            ValueError,
            "h must",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
