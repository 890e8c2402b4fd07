"""Checks of the chapter on production."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


@exercise("production.drift")
def drift(answer: Callable[[np.ndarray, np.ndarray], Any]) -> None:
    """Take `drift(window, reference)`: how far their means differ, in standard errors."""
    rng = np.random.default_rng(0)
    window, reference = rng.normal(3.0, 0.5, 8), rng.normal(2.0, 2.0, 20)
    moved = window.mean() - reference.mean()
    s, w, n = reference.std(ddof=1), len(window), len(reference)
    right = moved / (s * (1 / w + 1 / n) ** 0.5)
    got = answer(window, reference)
    if isinstance(got, int | float | np.number):
        for wrong, hint in {
            moved / (s / w**0.5): "The reference is a sample too: where does 1/n go?",
            moved / (window.std(ddof=1) * (1 / w + 1 / n) ** 0.5): (
                "That is the window's standard deviation. A shift may change it; the reference's "
                "is the yardstick."
            ),
            moved / (reference.std() * (1 / w + 1 / n) ** 0.5): (
                "Divide the squares by n - 1: `std(ddof=1)`."
            ),
            moved
            / s: "Means of many vary less than one number: by the root of 1/w + 1/n.",
            -right: "The sign: a brighter window has a positive z.",
        }.items():
            if np.isclose(got, wrong, rtol=1e-4):
                raise NotYet(hint)
    close(got, right, hint="It is the difference of the means over s √(1/w + 1/n).")


@exercise("production.enough_inputs")
def enough_inputs(answer: Callable[..., Any]) -> None:
    """Take `enough_inputs(delta, n, z=4.0)`: the window at which a shift gives z on average."""
    got = answer(0.5, 400)
    if got is None or got is ...:
        raise NotAttempted
    if isinstance(got, int | float | np.number) and np.isclose(got, 64, rtol=1e-4):
        raise NotYet("That would do if the reference were known exactly. It has 1/n.")
    # A count may be rounded up.
    if got != math.ceil(1 / (1 / 64 - 1 / 400)):
        close(got, 1 / (1 / 64 - 1 / 400), hint="Solve eq. (2) for w.")
    never = answer(0.1, 400)
    if not (np.ndim(never) == 0 and never == np.inf):
        raise NotYet(
            f"With delta 0.1 and n 400, z stays below {0.1 * 20:g} for any window: return infinity."
        )
