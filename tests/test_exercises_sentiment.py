"""The checks of the chapter on reviews: right answers, and what wrong ones are told."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import f1_score

from vgutils.exercises import check


def taken(states, index):
    return states[jnp.arange(len(states)), index]


def counted(said, y):
    ones = np.sum(said) + np.sum(y)
    return 2 * np.sum(said * y) / ones if ones else 0.0


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("at_the_end", lambda s, m: taken(s, m.sum(1) - 1)),
        ("f1", counted),
        ("f1", lambda said, y: f1_score(y, said, zero_division=0)),
    ],
)
def test_right(shown, name, answer):
    assert check(f"sentiment.{name}", answer)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("at_the_end", lambda s, m: s[:, -1], "after the padding"),
        (
            "at_the_end",
            lambda s, m: taken(s, jnp.minimum(m.sum(1), s.shape[1] - 1)),
            "Off by one",
        ),
        ("at_the_end", lambda s, m: taken(s, m.argmax(1)), "first token"),
        (
            "at_the_end",
            lambda s, m: (s * m[..., None]).sum(1) / m.sum(1)[:, None],
            "mean over the text",
        ),
        ("at_the_end", lambda s, m: s * 0, "shape"),
        ("at_the_end", lambda s, m: s[:, 0] * 0, "index of its last True"),
        ("at_the_end", lambda s, m: ..., "Not attempted"),
        ("f1", lambda said, y: np.mean(said == y), "accuracy"),
        ("f1", lambda said, y: np.sum(said * y) / np.sum(said), "the precision"),
        ("f1", lambda said, y: np.sum(said * y) / np.sum(y), "the recall"),
        ("f1", lambda said, y: (1 / 2 + 2 / 3) / 2, "harmonic"),
        ("f1", lambda said, y: counted(1 - said, 1 - y), "class 0"),
        ("f1", lambda said, y: counted(said, y) / 2, "factor of 2"),
        ("f1", lambda said, y: 0.9, "2 TP"),
        ("f1", lambda said, y: 4 / 7, "0/0"),
        ("f1", lambda said, y: None, "Not attempted"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"sentiment.{name}", answer)
    assert hint in shown[-1]["text/plain"].replace("\n", " ")
