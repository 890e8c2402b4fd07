"""The checks of the chapter on simpler models: right answers, and what wrong ones are told."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vgutils.exercises import check


def half(d, train, test, *, t=None, ddof=1):
    t = stats.t.ppf(0.975, len(d) - 1) if t is None else t
    return t * np.std(d, ddof=ddof) * np.sqrt(1 / len(d) + test / train)


def scale(x, by):
    return (x - by.mean(0)) / by.std(0)


def leak(train, test):
    both = np.concatenate([train, test])
    return scale(train, both), scale(test, both)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("half_width", half),
        ("standardize", lambda a, b: (scale(a, a), scale(b, a))),
    ],
)
def test_right(shown, name, answer):
    assert check(f"shallow.{name}", answer)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("half_width", lambda d, a, b: half(d, a, 0), "independent"),
        ("half_width", lambda d, a, b: half(d, b, a), "test over train"),
        ("half_width", lambda d, a, b: half(d, a, b, ddof=0), "ddof=1"),
        ("half_width", lambda d, a, b: half(d, a, b, t=1.96), "Student"),
        (
            "half_width",
            lambda d, a, b: half(d, a, b, t=stats.t.ppf(0.95, len(d) - 1)),
            "2.5 % on each side",
        ),
        ("half_width", lambda d, a, b: half(d, a, b) ** 2, "Take the root"),
        ("half_width", lambda d, a, b: 2 * half(d, a, b), "whole width"),
        ("half_width", lambda d, a, b: 7.0, "1/J + test/train"),
        ("half_width", lambda d, a, b: ..., "Not attempted"),
        ("standardize", leak, "That is the leak"),
        ("standardize", lambda a, b: (scale(a, a), scale(b, b)), "single new case"),
        (
            "standardize",
            lambda a, b: ((a - a.mean()) / a.std(), (b - a.mean()) / a.std()),
            "axis=0",
        ),
        ("standardize", lambda a, b: (scale(a, a), b), "test rows"),
        ("standardize", lambda a, b: scale(a, a), "two arrays"),
        ("standardize", lambda a, b: (..., ...), "Not attempted"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"shallow.{name}", answer)
    assert hint in shown[-1]["text/plain"].replace("\n", " ")
