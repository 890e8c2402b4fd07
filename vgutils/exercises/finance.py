"""Checks of the chapter on 200 days of prices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


def _same(got: Any, wrong: Any) -> bool:
    got, wrong = np.asarray(got), np.asarray(wrong)
    return got.shape == wrong.shape and bool(np.allclose(got, wrong, rtol=1e-4))


def _means(v: np.ndarray) -> np.ndarray:
    """The means of the last 1, 5 and 22 days, for each day from the 22nd on."""
    days = range(21, len(v))
    return np.stack(
        [[v[t - count + 1 : t + 1].mean() for t in days] for count in (1, 5, 22)],
        axis=1,
    )


_MISSING = "One row is missing, at one of the ends: the last day counts, and the 22nd is the first."


@exercise("finance.har_regressors")
def har_regressors(answer: Callable[[Any], Any]) -> None:
    """Take `har_regressors(v)`: (days,) values to (days - 21, 3) means of 1, 5 and 22 days."""
    v = np.random.default_rng(0).normal(size=60)
    got = answer(v)
    if got is None or got is ...:
        raise NotAttempted
    right = _means(v)
    for wrong, hint in [
        (
            right.T,
            "A row a day is expected, and a column for each mean: transpose it.",
        ),
        (right[:-1], _MISSING),
        (right[1:], _MISSING),
        (
            right[:, ::-1],
            "The order of the columns is 1, 5 and 22 days.",
        ),
        (
            right * [1, 5, 22],
            "These are sums. Divide each by its number of days.",
        ),
    ]:
        if _same(got, wrong):
            raise NotYet(hint)
    if np.shape(got) == right.shape:
        got = np.asarray(got)
        early = [v[: len(right)], v[20:-1]]
        if any(_same(got[:, 0], column) for column in early):
            raise NotYet(
                "Your rows belong to earlier days: the first row is that of day 22, `v[21]`."
            )
        for column, count in enumerate((1, 5, 22)):
            wide = [np.mean(v[max(t - count, 0) : t + 1]) for t in range(21, len(v))]
            if _same(got[:, column], wide):
                raise NotYet(
                    f"The mean of {count} days has {count + 1} in it: off by one at its start."
                )
        after = [v[t : t + 5].mean() for t in range(len(right))]
        if _same(got[:, 1], after):
            raise NotYet(
                "The mean of 5 days belongs to other days than the row: with "
                '"valid", its first entry ends on day 5, so drop the first 22 − 5.'
            )
    close(
        got,
        right,
        hint="Row 0 is day 22: `v[21]`, the mean of `v[17:22]`, the mean of `v[0:22]`.",
    )


@exercise("finance.first_end")
def first_end(answer: Callable[[int, int], Any]) -> None:
    """Take `first_end(last, length)`: the last day of the test's first window."""
    got = answer(100, 7)
    if got is None or got is ...:
        raise NotAttempted
    for wrong, hint in [
        (
            101,
            "A window that ends there still reaches back into the training days: it is "
            "`length` days long.",
        ),
        (
            108,
            "One day too careful: the window may begin on day `last + 1`.",
        ),
        (
            106,
            "One day too early: this window begins on day `last`, which training used.",
        ),
        (
            93,
            "That lies before the end of training. Time runs the other way.",
        ),
    ]:
        if _same(got, wrong):
            raise NotYet(hint)
    close(got, 107, hint="It begins on day `last + 1` and has `length` days.")
    close(
        [answer(50, 1), answer(0, 200)],
        [51, 200],
        hint="It should hold for every `last` and `length`.",
    )
