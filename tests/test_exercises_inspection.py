"""The checks of the chapter on visual quality control: right answers, and what wrong ones hear."""

from __future__ import annotations

import numpy as np
import pytest

from vgutils.exercises import check


def at(scores, labels, recall, *, rounding=np.ceil, shift=-1, down=True, ones=True):
    found = np.sort(scores[labels == 1] if ones else scores)
    found = found[::-1] if down else found
    return found[int(rounding(recall * len(found) - 1e-9)) + shift]


def by_search(scores, labels, recall):
    bad = scores[labels == 1]
    return max(t for t in bad if np.mean(bad >= t) >= recall - 1e-12)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("threshold", at),
        ("threshold", by_search),
        ("no_look", lambda p, r, q: (1 - p) * q + p * (1 - r)),
    ],
)
def test_right(shown, name, answer):
    assert check(f"inspection.{name}", answer)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        (
            "threshold",
            lambda s, y, r: at(s, y, r, rounding=np.floor),
            "Round the count",
        ),
        ("threshold", lambda s, y, r: at(s, y, r, shift=0), "Off by one"),
        ("threshold", lambda s, y, r: at(s, y, r, ones=False), "took all parts"),
        ("threshold", lambda s, y, r: at(s, y, r, down=False), "smallest scores"),
        ("threshold", lambda s, y, r: 0.4, "met exactly"),
        ("threshold", lambda s, y, r: 0.5, "Four of the five"),
        ("threshold", lambda s, y, r: ..., "Not attempted"),
        ("no_look", lambda p, r, q: (1 - p) * q, "slip are not looked at"),
        ("no_look", lambda p, r, q: (1 - p) * q + p * r, "flagged"),
        ("no_look", lambda p, r, q: p * q + (1 - p) * (1 - r), "damaged"),
        ("no_look", lambda p, r, q: 1 - (1 - p) * q - p * (1 - r), "somebody"),
        ("no_look", lambda p, r, q: 0.635, "all three"),
        ("no_look", lambda p, r, q: 0.0, "Add the good parts"),
        ("no_look", lambda p, r, q: None, "Not attempted"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"inspection.{name}", answer)
    assert hint in shown[-1]["text/plain"].replace("\n", " ")
