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


def simulated_pair(phi, c, n=200_000):
    """E[phi(u) phi(v)] and its standard error, from draws."""
    u, w = np.random.default_rng(0).normal(size=(2, n))
    product = phi(u) * phi(c * u + np.sqrt(1 - c**2) * w)
    return product.mean(), product.std() / np.sqrt(n)


@given(st.floats(-1, 1), st.floats(0.01, 9))
def test_pairs_of_relu_have_the_arc_cosine_kernel(c, variance):
    # Cho and Saul (2009), their kernel of degree 1, halved.
    angle = np.arccos(c)
    expected = (np.sin(angle) + (np.pi - angle) * c) / (2 * np.pi) * variance
    got = theory.expectation_of_pair(jax.nn.relu, c, variance=variance)
    assert got == pytest.approx(expected, abs=1e-12)


@given(st.floats(-1, 1), st.floats(0.01, 9))
def test_pairs_of_erf_have_the_arc_sine_kernel(c, variance):
    # Williams (1997): 2/pi asin(2 c q / (1 + 2 q)).
    expected = 2 / np.pi * np.arcsin(2 * c * variance / (1 + 2 * variance))
    got = theory.expectation_of_pair(jax.scipy.special.erf, c, variance=variance)
    assert got == pytest.approx(expected, abs=1e-9)


def test_pairs_of_tanh_agree_with_draws():
    for c in (-0.7, 0.2, 0.9):
        mean, error = simulated_pair(np.tanh, c)
        assert abs(theory.expectation_of_pair(jnp.tanh, c) - mean) < 5 * error


@settings(deadline=None, max_examples=10)
@given(st.floats(0, 0.98), st.floats(1.1, 3))
def test_chi_is_the_slope_of_the_correlation_map(c, sigma_w):
    q = theory.fixed_point("tanh", sigma_w=sigma_w, sigma_b=0.2)
    up, down = (
        theory.correlation_map("tanh", c + d, q=q, sigma_w=sigma_w, sigma_b=0.2)
        for d in (1e-5, -1e-5)
    )
    slope = theory.chi("tanh", c, q=q, sigma_w=sigma_w)
    assert (up - down) / 2e-5 == pytest.approx(slope, rel=1e-6)


def test_two_equal_inputs_are_one_input():
    q = theory.fixed_point("gelu", sigma_w=1.0, sigma_b=0.5)
    point = {"sigma_w": 1.0, "sigma_b": 0.5}
    assert theory.correlation_map("gelu", 1.0, q=q, **point) == pytest.approx(1)
    one = theory.chi_1("gelu", q, sigma_w=1.0)
    assert theory.chi("gelu", 1.0, q=q, sigma_w=1.0) == pytest.approx(one, rel=1e-9)


def test_correlations_settle_where_iteration_of_the_map_leads():
    for sigma_w in (1.2, 1.5, 2.5):
        point = {"sigma_w": sigma_w, "sigma_b": 0.05**0.5}
        q, c = theory.fixed_point("tanh", **point), 0.3
        for _ in range(300):
            c = theory.correlation_map("tanh", c, q=q, **point)
        assert theory.fixed_correlation("tanh", **point) == pytest.approx(c, abs=1e-6)


def test_depth_scales_of_two_inputs():
    ordered = {"sigma_w": 1.0, "sigma_b": 0.05**0.5}
    both = theory.depth_scale, theory.correlation_depth_scale
    one, two = (scale("tanh", **ordered) for scale in both)
    assert one == two
    # In chaos, the rate at which the map nears c*, from two steps near it.
    chaos = {"sigma_w": 2.5**0.5, "sigma_b": 0.05**0.5}
    q, c = (f("tanh", **chaos) for f in (theory.fixed_point, theory.fixed_correlation))
    off = theory.correlation_map("tanh", c + 1e-5, q=q, **chaos) - c
    rate = -1 / np.log(off / 1e-5)
    assert theory.correlation_depth_scale("tanh", **chaos) == pytest.approx(rate, 1e-3)


@settings(deadline=None, max_examples=10)
@given(st.floats(0.01, 5))
def test_the_edge_of_chaos_is_a_fixed_point_with_factor_one(q):
    sigma_w, sigma_b = theory.edge_of_chaos("tanh", q)
    assert theory.chi_1("tanh", q, sigma_w=sigma_w) == pytest.approx(1, rel=1e-10)
    one_on = theory.length_map("tanh", q, sigma_w=sigma_w, sigma_b=sigma_b)
    assert one_on == pytest.approx(q, rel=1e-10)
    assert theory.critical_sigma_w("tanh", sigma_b=sigma_b) == pytest.approx(sigma_w)


def test_gains_keep_what_they_say():
    assert theory.gain("relu") == pytest.approx(np.sqrt(2), rel=1e-12)
    assert theory.gain("relu", 7.0, backward=True) == pytest.approx(np.sqrt(2))
    for q in (0.3, 2.0):
        forward, backward = (theory.gain("tanh", q, backward=b) for b in (False, True))
        assert theory.length_map("tanh", q, sigma_w=forward) == pytest.approx(q)
        assert theory.chi_1("tanh", q, sigma_w=backward) == pytest.approx(1)


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
            "no finite fixed point.*a layer still changes it by",
        ),
        (
            lambda: theory.chi_1(jax.nn.softmax, 1.0, sigma_w=1),
            TypeError,
            "activation must map each element alone",
        ),
        (
            lambda: theory.chi_1(lambda z: z - z.mean(), 1.0, sigma_w=1),
            TypeError,
            "activation must map each element alone",
        ),
        (lambda: theory.expectation(jnp.sum), TypeError, "each element alone"),
        (lambda: theory.expectation(jnp.log), ValueError, "function must be finite"),
        (lambda: theory.expectation_of_pair(jnp.tanh, 1.1), ValueError, "c must be"),
        (
            lambda: theory.correlation_map("tanh", 0.5, q=0, sigma_w=1),
            ValueError,
            "q must be finite and above 0",
        ),
        (
            lambda: theory.edge_of_chaos(jnp.cos, 0.1),
            ValueError,
            "no fixed point on the edge",
        ),
        (
            lambda: theory.critical_sigma_w("relu", sigma_b=1.0),
            ValueError,
            "not on the edge of chaos",
        ),
        (lambda: theory.gain(jnp.zeros_like), ValueError, "lets nothing through"),
        (lambda: theory.gain("tanh", 0.0), ValueError, "q must be"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
