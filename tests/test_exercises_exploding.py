"""The checks of the chapter on exploding gradients: right answers, and what wrong ones are told."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from vgutils.exercises import check


def clip(g, threshold):
    return g * jnp.minimum(1.0, threshold / jnp.linalg.norm(g))


def next_scale(scale, good, finite):
    if not finite:
        return scale / 2, 0
    return (2 * scale, 0) if good == 1999 else (scale, good + 1)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("clip", clip),
        ("next_scale", next_scale),
        ("width_needed", lambda depth, kept: -2.5 * depth / np.log(kept)),
    ],
)
def test_right(shown, name, answer):
    assert check(f"exploding.{name}", answer)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("clip", lambda g, t: jnp.clip(g, -t, t), "by value"),
        ("clip", lambda g, t: g * t / jnp.sum(g**2), "squared length"),
        ("clip", lambda g, t: g * t / jnp.linalg.norm(g), "made longer"),
        (
            "clip",
            lambda g, t: (
                jnp.where(
                    jnp.linalg.norm(g) > t, 1, jnp.linalg.norm(g) / jnp.linalg.norm(g)
                )
                * clip(g, t)
            ),
            "NaN",
        ),
        ("clip", lambda g, t: g, "length 10"),
        ("clip", lambda g, t: ..., "Not attempted"),
        ("next_scale", lambda s, n, finite: (s, n + 1), "half the scale"),
        ("next_scale", lambda s, n, finite: s, "two things"),
        ("next_scale", lambda s, n, finite: (..., ...), "Not attempted"),
        (
            "next_scale",
            lambda s, n, finite: (s, n + 1) if finite else (s / 2, 0),
            "already",
        ),
        ("width_needed", lambda depth, kept: 5 * depth / -np.log(kept), "variance"),
        ("width_needed", lambda depth, kept: depth / -np.log(kept), "5/2"),
        ("width_needed", lambda depth, kept: 2.5 * depth / np.log(kept), "below 0"),
        ("width_needed", lambda depth, kept: 3.0, "Solve"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"exploding.{name}", answer)
    assert hint in shown[-1]["text/plain"]
