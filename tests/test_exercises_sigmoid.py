"""The checks of the chapter on the sigmoid: right answers, and what wrong ones are told."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vgutils import theory
from vgutils.exercises import check


def squared_slope(z):
    return (jax.nn.sigmoid(z) * jax.nn.sigmoid(-z)) ** 2


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("stable_slope", lambda z: jax.nn.sigmoid(z) * jax.nn.sigmoid(-z)),
        ("stable_slope", lambda z: 1 / (2 + 2 * jnp.cosh(z))),
        ("twin_layer", lambda kernel, bias: (4 * kernel, 2 * bias - 2 * kernel.sum(0))),
        (
            "critical_sigma_w",
            lambda q: theory.expectation(squared_slope, variance=q) ** -0.5,
        ),
    ],
)
def test_right(shown, name, answer):
    assert check(f"sigmoid.{name}", answer)


def naive(z):
    return jnp.exp(-z) / (1 + jnp.exp(-z)) ** 2


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        (
            "stable_slope",
            lambda z: jax.nn.sigmoid(z) * (1 - jax.nn.sigmoid(z)),
            "exactly 0",
        ),
        ("stable_slope", naive, "left end"),
        ("stable_slope", jax.vmap(jax.grad(jax.nn.sigmoid)), "At z = 20"),
        ("stable_slope", lambda z: z / 0, "NaN or infinity"),
        ("stable_slope", jax.nn.sigmoid, "needs no subtraction"),
        ("stable_slope", lambda z: ..., "Not attempted"),
        ("twin_layer", lambda kernel, bias: (2 * kernel, 2 * bias), "first layer"),
        ("twin_layer", lambda kernel, bias: (4 * kernel, 2 * bias), "goes through"),
        (
            "twin_layer",
            lambda kernel, bias: (4 * kernel, 2 * bias - 2 * kernel.sum(1)),
            "inputs",
        ),
        ("twin_layer", lambda kernel, bias: 4 * kernel, "two things"),
        ("twin_layer", lambda kernel, bias: (..., ...), "Not attempted"),
        ("critical_sigma_w", lambda q: 4.0, "spread"),
        (
            "critical_sigma_w",
            lambda q: 1 / theory.expectation(squared_slope, variance=q),
            "root",
        ),
        (
            "critical_sigma_w",
            lambda q: (
                1 / theory.expectation(lambda z: squared_slope(z) ** 0.5, variance=q)
            ),
            "squared",
        ),
        ("critical_sigma_w", lambda q: np.float64(3.0), "Set equation (6)"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"sigmoid.{name}", answer)
    assert hint in shown[-1]["text/plain"]
