"""The checks of the chapter on prices: right answers, and what wrong ones are told."""

from __future__ import annotations

import numpy as np
import pytest

from vgutils.exercises import check


def means(v, counts=(1, 5, 22), *, shift=None):
    columns = [np.convolve(v, np.ones(k) / k, "valid") for k in counts]
    rows = len(v) - 21
    starts = [22 - k if shift is None else shift for k in (1, 5, 22)]
    return np.stack(
        [c[s : s + rows] for c, s in zip(columns, starts, strict=True)], axis=1
    )


def cumulative(v):
    sums = np.concatenate([[0], np.cumsum(v)])
    ends = np.arange(22, len(v) + 1)
    return np.stack([(sums[ends] - sums[ends - k]) / k for k in (1, 5, 22)], axis=1)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("har_regressors", means),
        ("har_regressors", cumulative),
        ("first_end", lambda last, length: last + length),
    ],
)
def test_right(shown, name, answer):
    assert check(f"finance.{name}", answer)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("har_regressors", lambda v: means(v).T, "transpose"),
        ("har_regressors", lambda v: means(v)[:-1], "One row is missing"),
        ("har_regressors", lambda v: means(v)[1:], "One row is missing"),
        ("har_regressors", lambda v: means(v)[:, ::-1], "The order"),
        ("har_regressors", lambda v: means(v) * [1, 5, 22], "These are sums"),
        ("har_regressors", lambda v: means(v, shift=0), "earlier days"),
        (
            "har_regressors",
            lambda v: np.stack(
                [
                    means(v)[:, 0],
                    [v[t - 5 : t + 1].mean() for t in range(21, len(v))],
                    means(v)[:, 2],
                ],
                axis=1,
            ),
            "5 days has 6 in it",
        ),
        (
            "har_regressors",
            lambda v: np.stack(
                [
                    means(v)[:, 0],
                    np.convolve(v, np.ones(5) / 5, "valid")[: len(v) - 21],
                    means(v)[:, 2],
                ],
                axis=1,
            ),
            "drop the first",
        ),
        ("har_regressors", lambda v: 0 * means(v), "Row 0 is day 22"),
        ("har_regressors", lambda v: ..., "Not attempted"),
        ("first_end", lambda last, length: last + 1, "reaches back"),
        ("first_end", lambda last, length: last + length + 1, "too careful"),
        ("first_end", lambda last, length: last + length - 1, "too early"),
        ("first_end", lambda last, length: last - length, "other way"),
        ("first_end", lambda last, length: 107, "every"),
        ("first_end", lambda last, length: 0, "It begins on day"),
        ("first_end", lambda last, length: None, "Not attempted"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"finance.{name}", answer)
    assert hint in shown[-1]["text/plain"].replace("\n", " ")
