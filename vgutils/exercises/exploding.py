"""Checks of the chapter on exploding gradients and number formats."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


@exercise("exploding.clip")
def clip(answer: Callable[[Any, float], Any]) -> None:
    """Take `clip(gradient, threshold)`: `gradient` (n,), shortened to `threshold` if longer."""
    import jax.numpy as jnp

    long, short = jnp.array([6.0, 8.0]), jnp.array([0.3, -0.4])
    got = answer(long, 2.0)
    if got is None or got is ...:
        raise NotAttempted
    if np.allclose(got, [2.0, 2.0]):
        raise NotYet(
            "That is clipping by value: each entry is cut, the direction turns."
        )
    if np.allclose(got, [0.12, 0.16]):
        raise NotYet("You divide by the squared length. Take its root.")
    close(got, [1.2, 1.6], hint="A gradient of length 10 times 2/10 has length 2.")
    if np.allclose(answer(short, 2.0), [1.2, -1.6]):
        raise NotYet("A gradient shorter than the threshold was made longer. Leave it.")
    close(answer(short, 2.0), short, hint="A short gradient stays as it was.")
    nothing = np.asarray(answer(jnp.zeros(2), 2.0))
    if np.isnan(nothing).any():
        raise NotYet(
            "A gradient of 0 becomes NaN: 0 times infinity. Limit the factor to 1."
        )
    close(nothing, [0.0, 0.0], hint="A gradient of 0 stays 0.")


@exercise("exploding.next_scale")
def next_scale(answer: Callable[[float, int, bool], tuple[float, int]]) -> None:
    """Take `next_scale(scale, good, finite)`: the next loss scale, and how many good steps."""
    got = answer(1024.0, 7, False)
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise NotYet("Return two things, the scale and the number of good steps.")
    if any(part is None or part is ... for part in got):
        raise NotAttempted
    close(got, [512.0, 0], hint="After a bad step: half the scale, and count from 0.")
    close(
        answer(1024.0, 7, True),
        [1024.0, 8],
        hint="After a good step the scale stays, and the count goes up by one.",
    )
    if tuple(answer(1024.0, 1999, True)) == (1024.0, 2000):
        raise NotYet("The step that makes it 2,000 in a row doubles the scale already.")
    close(
        answer(1024.0, 1999, True),
        [2048.0, 0],
        hint="At the 2,000th good step in a row: twice the scale, and count from 0.",
    )


@exercise("exploding.width_needed")
def width_needed(answer: Callable[[float, float], float]) -> None:
    """Take `width_needed(depth, kept)`: the width at which `kept` of the squared norm arrives."""
    right = 2.5 * 100 / np.log(10)
    got = answer(100, 0.1)
    for wrong, hint in {
        2 * right: "You took the variance, 5β. Typical is the exponential of the mean.",
        right / 2.5: "The factor 5/2 of equation (4) is missing.",
        -right: "A width below 0: ln(kept) is negative, ln(1/kept) is not.",
    }.items():
        if isinstance(got, int | float) and np.isclose(got, wrong, rtol=1e-6):
            raise NotYet(hint)
    close(got, right, hint="Solve exp(−5/2 · depth / width) = kept for the width.")
