"""Checks of the chapter on normalization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


@exercise("normalization.layer_norm_back")
def layer_norm_back(answer: Callable[[np.ndarray, np.ndarray], Any]) -> None:
    """Take `layer_norm_back(z, dy)`: the gradient through LayerNorm, (rows, n) each."""
    random = np.random.default_rng(0)
    z, dy = 2 * random.normal(size=(2, 5, 8)) + 1
    centred = z - z.mean(-1, keepdims=True)
    spread = np.sqrt((centred**2).mean(-1, keepdims=True))
    y = centred / spread
    mean = dy.mean(-1, keepdims=True)
    along = y * (dy * y).mean(-1, keepdims=True)
    got = answer(z, dy)
    if got is None or got is ...:
        raise NotAttempted
    for wrong, hint in [
        (dy / spread, "You hold mean and spread fixed. Both depend on z."),
        (
            (dy - mean) / spread,
            "That is the way through the mean. The spread depends on z, too: what part of `dy` "
            "would change it?",
        ),
        (
            (dy - along) / spread,
            "That is RMSNorm's way back, for centred rows. LayerNorm subtracts a mean, too.",
        ),
        (dy - mean - along, "The directions are right. Divide by the spread."),
        (
            (dy - mean - 8 * along) / spread,
            "The part along `y` is `y` times a *mean* over the units: |y|² is their number.",
        ),
    ]:
        if np.shape(got) == wrong.shape and np.allclose(got, wrong, rtol=1e-6):
            raise NotYet(hint)
    close(
        got,
        (dy - mean - along) / spread,
        hint="A row of the result must sum to 0, and be orthogonal to `y`. Does yours?",
    )


@exercise("normalization.shift")
def shift(answer: Callable[[Callable[[Any], Any]], Any]) -> None:
    """Take `shift(phi)`: what to subtract so that LayerNorm's factor is BatchNorm's."""
    import jax.numpy as jnp

    from vgutils import activations, theory

    for name in ("relu", "softplus"):
        phi = activations.get(name)
        mean = theory.expectation(phi)
        got = answer(phi)
        if got is None or got is ...:
            raise NotAttempted
        if np.ndim(got) == 0 and np.isclose(float(got), -mean, rtol=1e-6):
            raise NotYet("The sign: the shift is *subtracted*.")
        if np.ndim(got) == 0 and np.isclose(
            float(got), float(phi(jnp.zeros(()))), rtol=1e-6
        ):
            raise NotYet(
                f"That is the value of {name} at 0. Its mean over the Gaussian is another number."
            )
        close(
            got,
            mean,
            hint=f"For {name}: where do the mean square and the variance agree?",
        )
