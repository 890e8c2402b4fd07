"""Closed forms against mpmath, scipy and simulated networks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize

import vgutils as vg
from vgutils import theory


@pytest.mark.parametrize("power", range(9))
def test_moments_of_a_gaussian(power):
    expected = 0 if power % 2 else float(mpmath.fac2(power - 1))
    assert theory.expectation(lambda z: z**power) == pytest.approx(
        expected, abs=1e-12, rel=1e-12
    )


@settings(deadline=None, max_examples=20)
@given(
    st.sampled_from(["sigmoid", "tanh", "relu", "gelu", "softplus"]),
    st.floats(0.01, 9.0),
)
def test_expectations_equal_adaptive_quadrature(name, variance):
    phi = vg.activations.get(name)

    def integrand(z):
        with theory.float64():
            return float(phi(jnp.asarray(z))) ** 2 * np.exp(-(z**2) / (2 * variance))

    reach = 10 * np.sqrt(variance)
    whole, _ = integrate.quad(
        integrand, -reach, reach, points=[0], epsabs=1e-10, limit=200
    )
    expected = whole / np.sqrt(2 * np.pi * variance)
    got = theory.expectation(lambda z: phi(z) ** 2, variance=variance)
    assert got == pytest.approx(expected, rel=1e-8)


def test_published_values():
    slope = theory.slope("sigmoid")
    with mpmath.workdps(20):
        exact = mpmath.quad(
            lambda z: (
                (mpmath.exp(-z) / (1 + mpmath.exp(-z)) ** 2) ** 2 * mpmath.npdf(z)
            ),
            [-12, 0, 12],
        )
    assert theory.expectation(lambda z: slope(z) ** 2) == pytest.approx(
        float(exact), rel=1e-12
    )
    # He et al. (2015): a factor 2 keeps the variance of a ReLU network, at any variance.
    for q in (0.3, 1.0, 7.0):
        assert theory.chi_1("relu", q, sigma_w=np.sqrt(2)) == pytest.approx(
            1, rel=1e-12
        )
        assert theory.length_map("relu", q, sigma_w=np.sqrt(2)) == pytest.approx(
            q, rel=1e-12
        )


def test_fixed_point_is_a_root_of_the_length_map():
    settings = {"sigma_w": 1.5, "sigma_b": 0.3}
    q = theory.fixed_point("tanh", **settings)
    root = optimize.brentq(
        lambda q: theory.length_map("tanh", q, **settings) - q, 1e-3, 10
    )
    assert q == pytest.approx(root, rel=1e-9)
    assert theory.fixed_point("tanh", sigma_w=0.5) == pytest.approx(0, abs=1e-12)


def test_depth_scale_is_infinite_only_at_the_edge():
    assert theory.depth_scale("tanh", sigma_w=1.0, sigma_b=0.3) < 100
    assert theory.depth_scale("linear", sigma_w=0.5) == pytest.approx(
        1 / np.log(4), rel=1e-9
    )


def test_gradient_profile_is_the_product_of_the_factors():
    profile = theory.gradient_profile("tanh", 5, q=2.0, sigma_w=1.2, sigma_b=0.1)
    q, factors = 2.0, []
    for _ in range(4):
        factors.append(theory.chi_1("tanh", q, sigma_w=1.2))
        q = theory.length_map("tanh", q, sigma_w=1.2, sigma_b=0.1)
    expected = [np.sqrt(np.prod(factors[layer:])) for layer in range(5)]
    np.testing.assert_allclose(profile, expected, rtol=1e-12)
    assert profile[-1] == 1


def test_gradient_profile_of_a_simulated_wide_network():
    width, depth, sigma_w = 512, 6, 1.4
    q = sigma_w**2  # inputs of unit variance

    def loss(model, x, direction):
        return jnp.sum(model(x) * direction)

    def ratios(seed):
        init = vg.initializers.scaled_normal(sigma_w)
        model = vg.MLP(
            width, width, depth, 8, "tanh", kernel_init=init, rngs=nnx.Rngs(seed)
        )
        x, direction = (
            jax.random.normal(jax.random.key(seed + i), (4, n))
            for i, n in ((99, width), (77, 8))
        )
        norms = (
            vg.profile(model, loss, x, direction, at="*linear")
            .at("*.linear")
            .gradient_norm
        )
        return np.asarray(norms / norms[-1])

    sample = np.array([ratios(seed) for seed in range(6)])
    error = 4 * sample.std(0, ddof=1) / np.sqrt(len(sample))
    expected = theory.gradient_profile("tanh", depth, q=q, sigma_w=sigma_w)
    # Beyond chance, a width of 512 may differ from the limit by a few layers / width.
    assert np.all(np.abs(sample.mean(0) - expected) <= error + expected * depth / width)


def test_theory_is_float64_and_leaves_the_default_alone():
    with theory.float64():
        assert jnp.ones(1).dtype == jnp.float64
    assert jnp.ones(1).dtype == jnp.float32


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: theory.expectation(jnp.tanh, variance=-1),
            ValueError,
            "variance must be",
        ),
        (
            lambda: theory.chi_1("tahn", 1.0, sigma_w=1.0),
            ValueError,
            "did you mean 'tanh'",
        ),
        (
            lambda: theory.chi_1(3, 1.0, sigma_w=1.0),
            TypeError,
            "activation must be one of",
        ),
        (
            lambda: theory.chi_1("tanh", 1.0, sigma_w=0),
            ValueError,
            "sigma_w must be finite and",
        ),
        (lambda: theory.chi_1("tanh", -1.0, sigma_w=1), ValueError, "variance must be"),
        (
            lambda: theory.length_map("tanh", 1.0, sigma_w=1, sigma_b=np.nan),
            ValueError,
            "sigma_b",
        ),
        (
            lambda: theory.gradient_profile("tanh", -3, q=1, sigma_w=1),
            ValueError,
            "depth must be at least 1, got -3",
        ),
        (
            lambda: theory.gradient_profile("tanh", 2.5, q=1, sigma_w=1),
            TypeError,
            "depth must be an integer",
        ),
        (
            lambda: theory.fixed_point("linear", sigma_w=2.0),
            ValueError,
            "no finite fixed point",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
