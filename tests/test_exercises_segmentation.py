"""The checks of the chapter on brain MRI: right answers, and what wrong ones are told."""

from __future__ import annotations

import numpy as np
import pytest

from vgutils.exercises import check


def distances(heights, test):
    return np.abs(np.asarray(heights)[:, None] - np.asarray(test))


def above(levels, level, skips):
    return 2 * level if skips else (levels - level) + 1 + 2 * levels + 1


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("may_train", lambda h, t, gap: distances(h, t).min(axis=1) > gap),
        ("may_train", lambda h, t, gap: [min(abs(a - b) for b in t) > gap for a in h]),
        ("layers_above", above),
    ],
)
def test_right(shown, name, answer):
    assert check(f"segmentation.{name}", answer)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("may_train", lambda h, t, gap: distances(h, t).min(axis=1) <= gap, "may not"),
        ("may_train", lambda h, t, gap: distances(h, t).min(axis=1) >= gap, "too near"),
        ("may_train", lambda h, t, gap: distances(h, t).max(axis=1) > gap, "nearest"),
        ("may_train", lambda h, t, gap: ~np.isin(h, t), "neighbours"),
        ("may_train", lambda h, t, gap: distances(h, t).min(axis=0) > gap, "shape"),
        ("may_train", lambda h, t, gap: np.ones(len(h), bool), "nearest"),
        ("may_train", lambda h, t, gap: ..., "Not attempted"),
        ("layers_above", lambda n, k, skips: above(n, k, skips) - 1, "readout"),
        (
            "layers_above",
            lambda n, k, skips: 2 * (n - k) + 2 if skips else above(n, k, False),
            "finest",
        ),
        ("layers_above", lambda n, k, skips: 3 * n + 1, "finger"),
        ("layers_above", lambda n, k, skips: None, "Not attempted"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"segmentation.{name}", answer)
    assert hint in shown[-1]["text/plain"].replace("*", "")
