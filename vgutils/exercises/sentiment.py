"""Checks of the chapter on reviews."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


def _same(got: Any, wrong: Any) -> bool:
    got, wrong = np.asarray(got), np.asarray(wrong)
    return got.shape == wrong.shape and bool(np.allclose(got, wrong, rtol=1e-4))


@exercise("sentiment.at_the_end")
def at_the_end(answer: Callable[[Any, Any], Any]) -> None:
    """Take `at_the_end(states, mask)`: the (batch, units) states at the last True of each row."""
    states = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
    lengths = np.array([1, 3, 5, 2])
    mask = np.arange(5) < lengths[:, None]
    got = answer(jnp.asarray(states), jnp.asarray(mask))
    if got is None or got is ...:
        raise NotAttempted
    rows = np.arange(4)
    for wrong, hint in [
        (
            states[:, -1],
            "That is the state after the padding. Where does the text of each row end?",
        ),
        (
            states[rows, np.minimum(lengths, 4)],
            "Off by one: a text of n tokens has its last state at index n − 1.",
        ),
        (
            states[rows, mask.argmax(axis=1)],
            "That is the state after the first token. `argmax` finds the first True.",
        ),
        (
            (states * mask[:, :, None]).sum(1) / lengths[:, None],
            "That is the mean over the text. Take the last state alone.",
        ),
    ]:
        if _same(got, wrong):
            raise NotYet(hint)
    close(
        got,
        states[rows, lengths - 1],
        hint="One state from each row: at the index of its last True.",
    )


@exercise("sentiment.f1")
def f1(answer: Callable[[Any, Any], Any]) -> None:
    """Take `f1(said, y)`, the F1 of the class 1."""
    y = np.array([1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
    said = np.array([1, 1, 0, 1, 1, 0, 0, 0, 0, 0])
    got = answer(said, y)
    if got is None or got is ...:
        raise NotAttempted
    for wrong, hint in [
        (
            0.7,
            "That is the accuracy. F1 does not count the zeros that were said to be zeros.",
        ),
        (0.5, "That is the precision. F1 needs the recall as well."),
        (2 / 3, "That is the recall. F1 needs the precision as well."),
        (
            7 / 12,
            "That is the mean of precision and recall. F1 is their harmonic mean.",
        ),
        (10 / 13, "That is F1 of the class 0. Count the ones."),
        (2 / 7, "Is there a factor of 2 missing?"),
    ]:
        if _same(got, wrong):
            raise NotYet(hint)
    close(got, 4 / 7, hint="2 TP / (2 TP + FP + FN), with TP = 2, FP = 2, FN = 1.")
    nothing = np.zeros(4, int)
    close(
        answer(nothing, nothing),
        0.0,
        hint="If nothing was liked, and nothing called so, F1 is 0 and not 0/0.",
    )
