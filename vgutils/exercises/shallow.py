"""Checks of the chapter on simpler models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


@exercise("shallow.half_width")
def half_width(answer: Callable[[np.ndarray, int, int], Any]) -> None:
    """Take `half_width(differences, train, test)` of a 95 % interval for a mean over splits."""
    from scipy import stats

    differences = np.array([0.010, 0.031, -0.004, 0.022, 0.015, 0.008, 0.027])
    count, train, test = len(differences), 400, 100
    got = answer(differences, train, test)
    t = stats.t.ppf(0.975, count - 1)
    s = differences.std(ddof=1)
    right = t * s * np.sqrt(1 / count + test / train)
    if isinstance(got, int | float | np.number):
        for wrong, hint in {
            t * s / np.sqrt(count): (
                "You take the splits for independent. Their training sets share most rows: add "
                "test/train to 1/J."
            ),
            t
            * s
            * np.sqrt(1 / count + train / test): "The second term is test over train.",
            t * differences.std() * np.sqrt(1 / count + test / train): (
                "Divide the sum of squares by J − 1: `ddof=1`."
            ),
            1.96 * s * np.sqrt(1 / count + test / train): (
                "1.96 is for many splits. With few, take Student's t with J − 1 degrees of freedom."
            ),
            stats.t.ppf(0.95, count - 1) * right / t: (
                "An interval of 95 % leaves 2.5 % on each side."
            ),
            right**2: "That is the square. Take the root.",
            2 * right: "That is the whole width. Half of it is asked for.",
        }.items():
            if np.isclose(got, wrong, rtol=1e-3):
                raise NotYet(hint)
    close(got, right, hint="It is t · s · √(1/J + test/train).")


@exercise("shallow.standardize")
def standardize(answer: Callable[[np.ndarray, np.ndarray], Any]) -> None:
    """Take `standardize(train, test)`: both scaled by what the training rows alone say."""
    random = np.random.default_rng(0)
    train = random.normal([3, -50, 0.2], [2, 10, 0.1], size=(40, 3))
    test = random.normal([5, -20, 0.3], [2, 10, 0.1], size=(10, 3))
    got = answer(train, test)
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise NotYet("Return two arrays: `return train_scaled, test_scaled`.")
    if any(part is None or part is ... for part in got):
        raise NotAttempted
    mean, std = train.mean(axis=0), train.std(axis=0)
    both = np.concatenate([train, test])
    seen = np.asarray(got[0], np.float64), np.asarray(got[1], np.float64)
    if [part.shape for part in seen] == [train.shape, test.shape]:
        if np.allclose(seen[0], (train - both.mean(0)) / both.std(0)):
            raise NotYet(
                "You looked at the test rows: mean and deviation are those of all the data. "
                "That is the leak."
            )
        if np.allclose(seen[1], (test - test.mean(0)) / test.std(0)):
            raise NotYet(
                "The test rows are scaled by their own mean and deviation. A single new case has "
                "none: use the training rows'."
            )
        if np.allclose(seen[0], (train - train.mean()) / train.std()):
            raise NotYet(
                "You took one mean for the whole table. Each column has its own: `axis=0`."
            )
    for name, part, raw in [("training", seen[0], train), ("test", seen[1], test)]:
        close(
            part,
            (raw - mean) / std,
            hint=f"Look at the {name} rows: minus the training mean, over the training deviation.",
        )
