"""The checks of the chapter on diagnosis: right answers, and what wrong ones are told."""

from __future__ import annotations

import numpy as np
import pytest

from vgutils.exercises import check


def counts(sick, called):
    return [
        np.sum(sick & called),
        np.sum(sick & ~called),
        np.sum(~sick & ~called),
        np.sum(~sick & called),
    ]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("lost_share", lambda w, u: np.mean(w + u.astype(np.float32) == w)),
        ("confusion", counts),
    ],
)
def test_right(shown, name, answer):
    assert check(f"diagnosis.{name}", answer)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("lost_share", lambda w, u: np.mean(w + u == w), "float64"),
        ("lost_share", lambda w, u: np.mean(w + u.astype("f4") != w), "moves"),
        ("lost_share", lambda w, u: np.mean(np.abs(u) < 2**-24), "alone"),
        ("lost_share", lambda w, u: 0.123, "Add in float32"),
        ("lost_share", lambda w, u: ..., "Not attempted"),
        ("confusion", lambda s, c: counts(c, s), "other way round"),
        ("confusion", lambda s, c: counts(s, c)[:2], "four counts"),
        ("confusion", lambda s, c: 3, "four counts"),
        ("confusion", lambda s, c: (1, 1, 1, 1), "add up"),
        ("confusion", lambda s, c: (5, 2, 7, 1), "yours are"),
        ("confusion", lambda s, c: None, "Not attempted"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"diagnosis.{name}", answer)
    assert hint in shown[-1]["text/plain"].replace("\n", " ")
