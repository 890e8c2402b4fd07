"""Checks of the chapter on visual quality control."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


def _is(got: Any, wrong: float) -> bool:
    return np.shape(got) == () and bool(np.isclose(float(got), wrong))


@exercise("inspection.threshold")
def threshold(answer: Callable[[Any, Any, float], Any]) -> None:
    """Take `threshold(scores, labels, recall)`: the largest that finds such a share of the ones."""
    scores = np.array([0.9, 0.45, 0.8, 0.65, 0.6, 0.5, 0.4, 0.95, 0.2, 0.3])
    labels = np.array([1, 0, 1, 0, 1, 0, 1, 0, 1, 0])  # ones at .9 .8 .6 .4 .2
    got = answer(scores, labels, 0.7)
    if got is None or got is ...:
        raise NotAttempted
    for wrong, hint in (
        (0.6, "With this one, three of five are found, 60 %. Round the count up."),
        (0.2, "All are found, but a larger threshold does it, too. Off by one?"),
        (0.45, "You took all parts. Only those with label 1 count for the recall."),
        (0.8, "You began with the smallest scores: the *largest* are flagged first."),
    ):
        if _is(got, wrong):
            raise NotYet(hint)
    close(got, 0.4, hint="Four of the five damaged parts must be at it or above.")
    close(
        [answer(scores, labels, 0.8), answer(scores, labels, 1.0)],
        [0.4, 0.2],
        hint="A recall that is met exactly needs no further part.",
    )


@exercise("inspection.no_look")
def no_look(answer: Callable[[float, float, float], Any]) -> None:
    """Take `no_look(prevalence, recall, passed)`: the share of parts that nobody looks at."""
    prevalence, recall, passed = 0.1, 0.95, 0.7
    got = answer(prevalence, recall, passed)
    if got is None or got is ...:
        raise NotAttempted
    for wrong, hint in (
        (0.9 * 0.7, "Damaged parts that slip are not looked at either."),
        (
            0.9 * 0.7 + 0.1 * 0.95,
            "A share `recall` is flagged. The rest of them slips.",
        ),
        (0.1 * 0.7 + 0.9 * 0.05, "`prevalence` is the share of *damaged* parts."),
        (1 - (0.9 * 0.7 + 0.1 * 0.05), "That is the share somebody looks at."),
    ):
        if _is(got, wrong):
            raise NotYet(hint)
    close(
        got,
        0.9 * 0.7 + 0.1 * 0.05,
        hint="Add the good parts that are passed and the slips.",
    )
    close(answer(0.5, 1.0, 0.8), 0.4, hint="It should hold for all three numbers.")
