"""Checks of the chapter on diagnosis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


@exercise("diagnosis.lost_share")
def lost_share(answer: Callable[[np.ndarray, np.ndarray], Any]) -> None:
    """Take `lost_share(w, u)`: the share of float32 weights that float64 updates do not change."""
    random = np.random.default_rng(0)
    w = random.normal(size=2000).astype(np.float32)
    u = w.astype(np.float64) * 2.0 ** random.uniform(-28, -20, size=2000)
    right = float(np.mean(w + u.astype(np.float32) == w))
    got = answer(w, u)
    for wrong, hint in {
        float(np.mean(w + u == w)): (
            "The sum was computed in float64, where nothing is lost. Make the update float32 "
            "first."
        ),
        1 - right: "That is the share that moves. Which is left as it was?",
        float(np.mean(np.abs(u) < 2.0**-24)): (
            "The update's size alone does not decide: a small weight takes a smaller step."
        ),
    }.items():
        if isinstance(got, int | float | np.number) and np.isclose(
            got, wrong, rtol=1e-6
        ):
            raise NotYet(hint)
    close(got, right, hint="Add in float32, and compare the sum with the weight.")


@exercise("diagnosis.confusion")
def confusion(answer: Callable[[np.ndarray, np.ndarray], Any]) -> None:
    """Take `confusion(sick, called)`: the counts found, missed, fine, accused."""
    sick = np.array([True] * 9 + [False] * 6)
    called = np.array([True] * 7 + [False] * 2 + [True] + [False] * 5)
    got = answer(sick, called)
    if got is None or got is ...:
        raise NotAttempted
    try:
        counts = tuple(int(n) for n in got)
    except (TypeError, ValueError) as error:
        raise NotYet(f"Return four counts; yours returns {got!r}.") from error
    if len(counts) != 4:
        raise NotYet(f"Return four counts; yours returns {len(counts)}.")
    if counts == (7, 1, 5, 2):
        raise NotYet(
            "Missed is sick and not called so. You have it the other way round."
        )
    if sum(counts) != len(sick):
        raise NotYet(
            f"Every case falls into one of the four: they must add up to {len(sick)}, yours add "
            f"up to {sum(counts)}."
        )
    if counts != (7, 2, 5, 1):
        raise NotYet(f"The counts are (7, 2, 5, 1) here; yours are {counts}.")
