"""Checks of the chapter on attention."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


@exercise("transformers.softmax_back")
def softmax_back(answer: Callable[[np.ndarray, np.ndarray], Any]) -> None:
    """Take `softmax_back(p, g)`: (diag(p) - p p^T) g over the last axis."""
    random = np.random.default_rng(0)
    z, g = random.normal(size=(2, 3, 3, 5))
    p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    try:
        got = answer(p, g)
    except ValueError as error:
        raise NotYet(
            f"It stops with: {error}. The sum over the last axis must keep that axis "
            "(keepdims=True), or it does not broadcast."
        ) from None
    if got is None or got is ...:
        raise NotAttempted
    mean = np.sum(p * g, axis=-1, keepdims=True)
    for wrong, hint in [
        (
            p * g,
            "That is diag(p) g alone. Raising one logit lowers the others' weights.",
        ),
        (p * (1 - p) * g, "That is the diagonal of (3) only: a sigmoid for each key."),
        (p * (g + mean), "Look at the sign of the second term."),
        (g - mean, "The second factor is right. Where is p?"),
        (
            p * (g - np.sum(p * g)),
            "You summed over every axis. Each row is its own softmax.",
        ),
    ]:
        if np.shape(got) == g.shape and np.allclose(got, wrong, rtol=1e-6):
            raise NotYet(hint)
    close(got, p * (g - mean), hint="Multiply (3) out: diag(p) g, and p times pᵀg.")


@exercise("transformers.blocks_needed")
def blocks_needed(answer: Callable[[int, int], Any]) -> None:
    """Take `blocks_needed(length, window)`: blocks until the last position feels the first."""
    for length, window in [(128, 128), (129, 128), (10, 4), (11, 4), (1000, 2)]:
        got = answer(length, window)
        if got is None or got is ...:
            raise NotAttempted
        right = -(-(length - 1) // (window - 1))
        if got == right:
            continue
        case = f"{length} positions and a window of {window}"
        if got == -(-length // window):
            raise NotYet(
                f"For {case} it says {got}. Count hops, not tiles: one block crosses "
                "window − 1 positions, and there are length − 1 to cross."
            )
        if got == (length - 1) // (window - 1):
            raise NotYet(f"For {case} it says {got}: round up, not down.")
        if isinstance(got, float) and np.isclose(got, (length - 1) / (window - 1)):
            raise NotYet(
                f"For {case} it says {got:g}. A block is whole: round up to an integer."
            )
        raise NotYet(
            f"For {case} it says {got}. How far does one block carry a signal, and how far must "
            "it come?"
        )
