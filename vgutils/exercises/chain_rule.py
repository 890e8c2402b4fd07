"""Checks of the chapter on the chain rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vgutils.exercises import NotYet, close, exercise


@exercise("chain_rule.vjp")
def vjp(answer: Callable[[Any, Any, Any], Any]) -> None:
    """Take `vjp(W, h, g)`, the gradient with respect to h, for h ↦ tanh(W h).

    W is (n_out, n_in), h is (n_in,), g is (n_out,), the gradient with respect to the output.
    """
    random = np.random.default_rng(0)
    weights = random.normal(size=(3, 2)).astype(np.float32)
    hidden, gradient = (random.normal(size=n).astype(np.float32) for n in (2, 3))
    slope = 1 - np.tanh(weights @ hidden) ** 2
    right = weights.T @ (slope * gradient)

    got = answer(weights, hidden, gradient)
    if np.shape(got) == (2,) and np.allclose(got, weights.T @ gradient, rtol=1e-4):
        raise NotYet(
            "You have Wᵀg. Multiply g by the slope of tanh *before* it meets Wᵀ."
        )
    if np.shape(got) == (3,):
        raise NotYet(
            "You have one number for each *output*: the way back is Wᵀ, not W."
        )
    close(got, right, hint="Going back, the slope comes first: Wᵀ(tanh′(W h) ⊙ g).")
