"""The checks of the chapter on normalization: right answers, and what wrong ones are told."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vgutils import theory
from vgutils.exercises import check


def norm(z):
    centred = z - z.mean(-1, keepdims=True)
    return centred / jnp.sqrt((centred**2).mean(-1, keepdims=True))


def back(z, dy, *, mean=1, along=1, divide=True):
    centred = z - z.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(-1, keepdims=True))
    y = centred / spread
    dz = dy - mean * dy.mean(-1, keepdims=True)
    dz = dz - along * y * (dy * y).mean(-1, keepdims=True)
    return dz / spread if divide else dz


def test_right_by_automatic_differentiation(shown):
    with theory.float64():
        assert check(
            "normalization.layer_norm_back", lambda z, dy: jax.vjp(norm, z)[1](dy)[0]
        )


@pytest.mark.parametrize(
    ("name", "answer"),
    [("layer_norm_back", back), ("shift", theory.expectation)],
)
def test_right(shown, name, answer):
    assert check(f"normalization.{name}", answer)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        (
            "layer_norm_back",
            lambda z, dy: back(z, dy, mean=0, along=0),
            "mean and spread fixed",
        ),
        ("layer_norm_back", lambda z, dy: back(z, dy, along=0), "spread depends"),
        ("layer_norm_back", lambda z, dy: back(z, dy, mean=0), "RMSNorm's way back"),
        ("layer_norm_back", lambda z, dy: back(z, dy, divide=False), "Divide by"),
        ("layer_norm_back", lambda z, dy: back(z, dy, along=8), "*mean* over"),
        ("layer_norm_back", lambda z, dy: z * dy, "sum to 0"),
        ("layer_norm_back", lambda z, dy: ..., "Not attempted"),
        ("shift", lambda phi: -theory.expectation(phi), "The sign"),
        ("shift", lambda phi: phi(0.0), "the value of relu at 0"),
        ("shift", lambda phi: 3.0, "where do the mean square"),
        ("shift", lambda phi: None, "Not attempted"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"normalization.{name}", answer)
    text = shown[-1]["text/plain"]
    assert hint in text.replace("\n", " ")
