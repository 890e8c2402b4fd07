"""The checks of the chapter on ReLU: right answers, and what wrong ones are told."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest

from vgutils.exercises import check


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("dead_units", lambda h: (h == 0).all(axis=0)),
        ("dead_units", lambda h: ~(h > 0).any(axis=0)),
        ("elu", lambda z: jnp.where(z > 0, z, jnp.expm1(jnp.minimum(z, 0.0)))),
        ("elu", jax.nn.elu),
        ("slope_gradient", lambda z, dh: jnp.sum(jnp.minimum(z, 0.0) * dh)),
    ],
)
def test_right(shown, name, answer):
    assert check(f"relu.{name}", answer)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("dead_units", lambda h: (h == 0).all(axis=1), "each *example*"),
        ("dead_units", lambda h: (h == 0).any(axis=0), "*some* example"),
        ("dead_units", lambda h: (h > 0).any(axis=0), "Turn it around"),
        ("dead_units", lambda h: (h == 0).mean(axis=0), "not a verdict"),
        ("dead_units", lambda h: (h == 0).mean(axis=0) > 0.8, "it is not dead"),
        ("dead_units", lambda h: (h == 0).all(), "one answer for each unit"),
        ("dead_units", lambda h: (h < 0).all(axis=0), "exactly 0"),
        ("dead_units", lambda h: None, "Not attempted"),
        (
            "elu",
            lambda z: jnp.where(z > 0, z, jnp.exp(z) - 1),
            "is NaN",
        ),
        ("elu", jax.nn.relu, "minus 1 below"),
        ("elu", lambda z: ..., "Not attempted"),
        (
            "elu",
            lambda z: jax.lax.stop_gradient(jax.nn.elu(z)) + 0.0 * z,
            "The slope is 1",
        ),
        ("slope_gradient", lambda z, dh: jnp.sum(z * dh), "all z"),
        (
            "slope_gradient",
            lambda z, dh: jnp.sum(jnp.maximum(z, 0) * dh),
            "positive side",
        ),
        (
            "slope_gradient",
            lambda z, dh: jnp.sum(jnp.where(z < 0, dh, 0)),
            "left it out",
        ),
        (
            "slope_gradient",
            lambda z, dh: jnp.mean(jnp.minimum(z, 0) * dh),
            "mean",
        ),
        (
            "slope_gradient",
            lambda z, dh: jnp.sum(jnp.minimum(z, 0) * dh, axis=0),
            "share one slope",
        ),
        ("slope_gradient", lambda z, dh: 0.0, "where z is negative"),
        ("slope_gradient", lambda z, dh: None, "Not attempted"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"relu.{name}", answer)
    text = shown[-1]["text/plain"]
    assert hint in text.replace("\n", " ")
