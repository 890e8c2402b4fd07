"""Checks of the chapter on residual networks."""

from __future__ import annotations

from collections.abc import Callable
from math import comb
from typing import Any

import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


@exercise("resnet.looks_linear")
def looks_linear(answer: Callable[[np.ndarray], Any]) -> None:
    """Take `looks_linear(w)`: (m, m) to the mirrored (2m, 2m) of eq. (5)."""
    random = np.random.default_rng(0)
    w = random.normal(size=(3, 3))
    got = answer(w)
    if got is None or got is ...:
        raise NotAttempted
    got = np.asarray(got, float)
    if got.shape != (6, 6):
        raise NotYet(
            f"W is twice as wide and twice as high as w: (6, 6) for (3, 3). Yours is {got.shape}."
        )
    u = random.normal(size=(5, 3))
    out = np.maximum(np.concatenate([u, -u], axis=1), 0) @ got
    if not np.allclose(out[:, :3], -out[:, 3:]):
        raise NotYet(
            "What comes out must be a mirror pair again, or the next layer is not linear: its "
            "second half is minus its first. Look at the signs of the right half of W."
        )
    if np.allclose(out[:, :3], np.abs(u) @ w):
        raise NotYet(
            "Yours gives |u| w: φ(u) + φ(−u). A minus in the lower half makes it φ(u) − φ(−u)."
        )
    if np.allclose(out[:, :3], u @ w.T):
        raise NotYet("That is w transposed. In this chapter a layer is h W.")
    close(
        got,
        np.block([[w, -w], [-w, w]]),
        hint="The four parts are w, −w, −w and w. In which order?",
    )


@exercise("resnet.shares")
def shares(answer: Callable[[int, float], Any]) -> None:
    """Take `shares(blocks, a)`: the expected share of each path length, (blocks + 1,)."""
    for blocks, a in [(6, 0.5), (54, 0.5), (10, 1.0)]:
        got = answer(blocks, a)
        if got is None or got is ...:
            raise NotAttempted
        got = np.asarray(got, float)
        if got.shape != (blocks + 1,):
            raise NotYet(
                f"With {blocks} blocks there are {blocks + 1} lengths, from 0 to {blocks}. Yours "
                f"has shape {got.shape}."
            )
        k = np.arange(blocks + 1)
        count = np.array([comb(blocks, int(i)) for i in k], float)
        right = count * a ** (2.0 * k)
        if not np.isclose(got.sum(), 1):
            raise NotYet(
                f"Shares sum to 1; yours sum to {got.sum():.4g}. Divide by the sum."
            )
        for wrong, hint in [
            (
                count * a**k,
                "The *squared* gradient is multiplied by a² at each crossing, not by a.",
            ),
            (
                count,
                "You counted the paths. Each carries a² for every block it crosses.",
            ),
            (
                a ** (2.0 * k),
                "That is one path of each length. How many are there?",
            ),
        ]:
            if np.allclose(got, wrong / wrong.sum()) and not np.allclose(wrong, right):
                raise NotYet(hint)
        close(got, right / right.sum(), hint="C(blocks, k) times a²ᵏ, over the sum.")
