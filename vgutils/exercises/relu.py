"""Checks of the chapter on ReLU and its family."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


@exercise("relu.dead_units")
def dead_units(answer: Callable[[Any], Any]) -> None:
    """Take `dead_units(h)`: for ReLU outputs (examples, units), which units are dead: (units,)."""
    h = np.random.default_rng(0).uniform(0.1, 1.0, size=(6, 5)).astype(np.float32)
    h[:, 1] = 0.0  # dead
    h[:5, 3] = 0.0  # alive on one example only
    h[2, :] = 0.0  # an example on which every unit is silent
    right = np.array([False, True, False, False, False])
    got = answer(jnp.asarray(h))
    if got is None or got is ...:
        raise NotAttempted
    got = np.asarray(got)
    if got.shape == (6,):
        raise NotYet(
            "You have one answer for each *example*. The batch is axis 0: that is the one to go."
        )
    if got.shape != right.shape:
        raise NotYet(
            f"The shape should be `(5,)`, one answer for each unit; yours is `{got.shape}`."
        )
    if got.dtype != bool:
        raise NotYet(
            f"Return `True` or `False` for each unit; yours has dtype `{got.dtype}`. A share of "
            "silent examples is not a verdict."
        )
    if np.array_equal(got, ~right):
        raise NotYet("You have the units that are alive. Turn it around.")
    if np.array_equal(got, (h == 0).any(axis=0)):
        raise NotYet(
            "A unit that is silent on *some* example is doing its work. Dead is silent on all."
        )
    if got[3]:
        raise NotYet(
            "The fourth unit is active on one of six examples: that is rare, but it is not dead."
        )
    if not np.array_equal(got, right):
        raise NotYet("Dead is: exactly 0, on every example of the batch.")


@exercise("relu.elu")
def elu(answer: Callable[[Any], Any]) -> None:
    """Take `elu(z)`, elementwise, with a right gradient for z (n,) float32 from -100 to 100."""
    z = np.array([-100, -5, -1, -1e-6, 1e-6, 1, 5, 100], np.float32)
    wide = z.astype(np.float64)
    got = answer(jnp.asarray(z))
    if got is None or got is ...:
        raise NotAttempted
    close(
        got,
        np.where(wide > 0, wide, np.expm1(wide)),
        hint="z above 0, and the exponential of z minus 1 below.",
    )
    slope = np.asarray(jax.vmap(jax.grad(lambda point: answer(point)))(jnp.asarray(z)))
    if np.isnan(slope).any():
        raise NotYet(
            f"The values are right, but the gradient at z = {z[np.isnan(slope)][0]:g} is NaN: the "
            "branch that is not taken overflows, and 0 times infinity is NaN."
        )
    close(
        slope,
        np.where(wide > 0, 1.0, np.exp(wide)),
        hint="The slope is 1 above 0 and the exponential below.",
    )


@exercise("relu.slope_gradient")
def slope_gradient(answer: Callable[[Any, Any], Any]) -> None:
    """Take `slope_gradient(z, dh)`: the gradient of PReLU's one slope; z, dh (examples, units)."""
    z, dh = np.random.default_rng(1).normal(size=(2, 7, 4))
    negative = z < 0
    terms = np.where(negative, z, 0.0) * dh
    got = answer(jnp.asarray(z), jnp.asarray(dh))
    if got is None or got is ...:
        raise NotAttempted
    for wrong, hint in [
        (
            np.sum(z * dh),
            "You took all z. Above 0 the output does not depend on the slope.",
        ),
        (
            np.sum(np.where(negative, 0.0, z) * dh),
            "You took the positive side. The slope acts on the negative one.",
        ),
        (
            np.sum(np.where(negative, dh, 0.0)),
            "The derivative of a z by a is z. You left it out.",
        ),
        (
            np.mean(terms),
            "That is the mean. The chain rule *adds* what comes back.",
        ),
        (
            terms.sum(axis=0),
            "You have one gradient for each unit. Here all units share one slope: add them too.",
        ),
    ]:
        if np.shape(got) == np.shape(wrong) and np.allclose(got, wrong, rtol=1e-4):
            raise NotYet(hint)
    close(got, terms.sum(), hint="Sum z times dh where z is negative.")
