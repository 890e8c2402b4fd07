"""Models and initializers against numpy, and depth as data."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import vgutils as vg
from vgutils import activations, initializers, models


@settings(deadline=None, max_examples=8)
@given(
    st.integers(1, 5),
    st.integers(1, 7),
    st.sampled_from(sorted(activations.ACTIVATIONS)),
)
def test_an_mlp_equals_numpy(depth, width, name):
    model = vg.MLP(
        3,
        width,
        depth,
        2,
        name,
        bias_init=jax.nn.initializers.normal(),
        rngs=nnx.Rngs(1),
    )
    x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    layers = [(model.first.linear.kernel[...], model.first.linear.bias[...])]
    if depth > 1:
        hidden = model.hidden.linear
        layers += list(zip(hidden.kernel[...], hidden.bias[...], strict=True))
    h = x
    for w, b in layers:
        h = np.asarray(activations.get(name)(h @ np.asarray(w) + np.asarray(b)))
    expected = h @ np.asarray(model.readout.kernel[...]) + np.asarray(
        model.readout.bias[...]
    )
    np.testing.assert_allclose(model(jnp.asarray(x)), expected, rtol=1e-4, atol=1e-5)


def test_activations_equal_their_formulas():
    z = np.linspace(-4, 4, 81)
    formulas = {
        "linear": z,
        "sigmoid": 1 / (1 + np.exp(-z)),
        "tanh": np.tanh(z),
        "relu": np.maximum(z, 0),
        "leaky_relu": np.where(z > 0, z, 0.01 * z),
        "elu": np.where(z > 0, z, np.expm1(z)),
        "selu": 1.0507009873554805
        * np.where(z > 0, z, 1.6732632423543772 * np.expm1(z)),
        "gelu": z / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))),
        "silu": z / (1 + np.exp(-z)),
        "softplus": np.log1p(np.exp(z)),
        "softsign": z / (1 + np.abs(z)),
        "hard_tanh": np.clip(z, -1, 1),
    }
    assert set(formulas) == set(activations.ACTIVATIONS)
    for name, expected in formulas.items():
        got = activations.get(name)(jnp.asarray(z, jnp.float32))
        np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-6, err_msg=name)


def test_layers_of_a_stack_differ():
    kernel = vg.MLP(3, 4, 6, 2, rngs=nnx.Rngs(0)).hidden.linear.kernel[...]
    assert kernel.shape == (5, 4, 4)
    assert len(np.unique(np.asarray(kernel))) == kernel.size


def test_what_layers_share_reaches_each():
    class Add(nnx.Module):
        def __init__(self, rngs):
            self.bias = nnx.Param(jnp.ones(2))

        def __call__(self, h, times):
            return h + times * self.bias[...]

    layers = models.stack(Add, 3, nnx.Rngs(0))
    assert np.array_equal(models.scan_layers(layers, jnp.zeros(2), 5.0), [15.0, 15.0])


def test_depth_is_data():
    """The compiled program does not grow with depth."""

    def lines(depth):
        model = vg.MLP(3, 4, depth, 2, rngs=nnx.Rngs(0))
        graphdef, state = nnx.split(model)
        program = jax.jit(
            jax.grad(lambda state, x: jnp.sum(nnx.merge(graphdef, state)(x)))
        )
        return program.lower(state, jnp.ones((1, 3))).as_text().count("\n")

    assert lines(10) == lines(1000)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtypes(dtype):
    model = vg.MLP(3, 4, 3, 2, dtype=dtype, param_dtype=dtype, rngs=nnx.Rngs(0))
    assert model(jnp.ones((2, 3), dtype)).dtype == dtype
    assert model.hidden.linear.kernel[...].dtype == dtype


VARIANCE = {  # times fan_in, for a square matrix
    "lecun_normal": 1,
    "glorot_uniform": 1,
    "glorot_normal": 1,
    "he_normal": 2,
    "he_uniform": 2,
    "torch_uniform": 1 / 3,
    "orthogonal": 1,
    "zeros": 0,
}


@pytest.mark.parametrize("name", sorted(VARIANCE))
def test_initializers_have_their_variance(name):
    w = initializers.get(name)(jax.random.key(0), (400, 400), jnp.float32)
    # 160,000 draws: the standard error of a variance is sqrt(2 / 160,000), 0.4 %.
    assert float(w.var() * 400) == pytest.approx(VARIANCE[name], rel=0.02)
    assert abs(float(w.mean())) < 0.001


def test_every_initializer_by_name_is_tested():
    assert {*VARIANCE, "delta_orthogonal"} == {*initializers.INITIALIZERS}


def test_delta_orthogonal_kernels_are_orthogonal_at_their_centre():
    kernel = initializers.scaled_delta_orthogonal(1.5)(
        jax.random.key(0), (3, 3, 8, 12), jnp.float32
    )
    centre = np.asarray(kernel[1, 1])
    np.testing.assert_allclose(centre @ centre.T, 1.5**2 * np.eye(8), atol=1e-5)
    assert np.count_nonzero(kernel) == np.count_nonzero(centre)


def test_rectangular_initializers_use_the_right_fan():
    shape, key = (100, 900), jax.random.key(0)  # fan_in 100, fan_out 900
    for name, expected in [("lecun_normal", 1 / 100), ("glorot_normal", 2 / 1000)]:
        variance = float(initializers.get(name)(key, shape, jnp.float32).var())
        assert variance == pytest.approx(expected, rel=0.03)
    bound = float(
        jnp.abs(initializers.get("torch_uniform")(key, shape, jnp.float32)).max()
    )
    assert 0.98 * 0.1 < bound <= 0.1


def test_scaled_initializers():
    key = jax.random.key(0)
    w = initializers.scaled_normal(3.0)(key, (500, 300), jnp.float32)
    assert float(w.std() * np.sqrt(500)) == pytest.approx(3, rel=0.02)
    singular = jnp.linalg.svd(
        initializers.scaled_orthogonal(0.7)(key, (50, 50)), compute_uv=False
    )
    np.testing.assert_allclose(singular, 0.7, rtol=1e-4)


def normalized(name, z, epsilon):
    """The three norms by hand: over the batch, or over the features of each example."""
    if name == "rms":
        return z / np.sqrt((z**2).mean(-1, keepdims=True) + epsilon)
    axis = 0 if name == "batch" else -1
    centred = z - z.mean(axis, keepdims=True)
    return centred / np.sqrt(z.var(axis, keepdims=True) + epsilon)


@pytest.mark.parametrize("name", sorted(models.NORMS))
def test_a_normalized_mlp_equals_numpy(name):
    model = vg.MLP(3, 6, 4, 2, norm=name, rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).normal(size=(7, 3))
    h = x
    kernels = [model.first.linear.kernel[...], *model.hidden.linear.kernel[...]]
    for kernel in kernels:
        h = np.tanh(normalized(name, h @ np.asarray(kernel), model.first.norm.epsilon))
    expected = h @ np.asarray(model.readout.kernel[...])
    np.testing.assert_allclose(model(jnp.asarray(x, jnp.float32)), expected, rtol=1e-4)


def test_running_statistics_come_back_through_the_scan():
    model = vg.MLP(3, 6, 3, 2, norm="batch", rngs=nnx.Rngs(0))
    x = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    h = np.tanh(normalized("batch", x @ np.asarray(model.first.linear.kernel[...]), 0))
    z = h @ np.asarray(model.hidden.linear.kernel[...][0])
    model(x)
    keep = model.hidden.norm.momentum
    mean = np.asarray(model.hidden.norm.mean[...])
    np.testing.assert_allclose(mean[0], (1 - keep) * z.mean(0), rtol=1e-2, atol=1e-5)
    assert np.any(mean[1] != 0)


def test_scanned_layers_run_where_an_outer_transformation_closes_over_them():
    layers = vg.MLP(4, 4, 5, 2, rngs=nnx.Rngs(0)).hidden
    h = jnp.ones(4) / 2

    def unrolled(h):
        for kernel in layers.linear.kernel[...]:
            h = jnp.tanh(h @ kernel)
        return h

    def scanned(h):
        return models.scan_layers(layers, h)

    for transform, inputs in (
        (lambda f: jax.grad(lambda h: f(h).sum()), h),
        (jax.jacobian, h),
        (jax.vmap, jnp.stack([h, 2 * h])),
    ):
        got, expected = transform(scanned)(inputs), transform(unrolled)(inputs)
        np.testing.assert_allclose(got, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: vg.MLP(3, 4, 1, 2, norm="bach", rngs=nnx.Rngs(0)),
            ValueError,
            "norm must be one of .*did you mean 'batch'",
        ),
        (
            lambda: vg.MLP(3, 4, -1, 2, rngs=nnx.Rngs(0)),
            ValueError,
            "depth must be at least 1",
        ),
        (
            lambda: vg.MLP(3, 0, 1, 2, rngs=nnx.Rngs(0)),
            ValueError,
            "width must be at least 1",
        ),
        (
            lambda: vg.MLP(3, 4.0, 1, 2, rngs=nnx.Rngs(0)),
            TypeError,
            "width must be an integer",
        ),
        (
            lambda: vg.MLP(3, 4, True, 2, rngs=nnx.Rngs(0)),
            TypeError,
            "depth must be an integer",
        ),
        (
            lambda: vg.MLP(3, 4, 1, 2, "sigmod", rngs=nnx.Rngs(0)),
            ValueError,
            "activation must be one of .*did you mean 'sigmoid'",
        ),
        (
            lambda: vg.MLP(3, 4, 1, 2, kernel_init="he", rngs=nnx.Rngs(0)),
            ValueError,
            "initializer must be one of",
        ),
        (lambda: vg.MLP(3, 4, 1, 2, rngs=0), TypeError, "rngs must be flax.nnx.Rngs"),
        (
            lambda: vg.MLP(3, 4, 1, 2, rngs=nnx.Rngs(0))(jnp.ones((2, 5))),
            ValueError,
            r"last axis of 3 features, got shape \(2, 5\)",
        ),
        (
            lambda: models.stack(lambda r: r, 0, nnx.Rngs(0)),
            ValueError,
            "size must be at least 1",
        ),
        (
            lambda: initializers.scaled_normal(0),
            ValueError,
            "sigma_w must be finite and above 0",
        ),
        (
            lambda: initializers.scaled_orthogonal("1"),
            TypeError,
            "sigma_w must be a number",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
