"""The checks of the chapter on residual networks: right answers, and what wrong ones are told."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest

from vgutils.exercises import check


def normed(weights):
    return weights / weights.sum()


def by(count=True, power=2):
    def answer(blocks, a):
        k = np.arange(blocks + 1)
        number = [comb(blocks, i) if count else 1 for i in range(blocks + 1)]
        return normed(np.array(number, float) * a ** (power * k.astype(float)))

    return answer


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("looks_linear", lambda w: np.block([[w, -w], [-w, w]])),
        ("shares", by()),
    ],
)
def test_right(shown, name, answer):
    assert check(f"resnet.{name}", answer)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("looks_linear", lambda w: w, "twice as wide"),
        ("looks_linear", lambda w: np.block([[w, w], [-w, -w]]), "mirror pair"),
        (
            "looks_linear",
            lambda w: np.block([[w, -w], [w, -w]]),
            "A minus in the lower",
        ),
        ("looks_linear", lambda w: np.block([[w.T, -w.T], [-w.T, w.T]]), "transposed"),
        ("looks_linear", lambda w: np.block([[-w, w], [w, -w]]), "In which order"),
        ("looks_linear", lambda w: ..., "Not attempted"),
        ("shares", lambda blocks, a: by()(blocks, a)[1:], "from 0 to"),
        ("shares", lambda blocks, a: 2 * by()(blocks, a), "Divide by the sum"),
        ("shares", by(power=1), "not by a"),
        ("shares", by(power=0), "You counted the paths"),
        ("shares", by(count=False), "one path of each length"),
        ("shares", lambda blocks, a: by()(blocks, a)[::-1], "over the sum"),
        ("shares", lambda blocks, a: None, "Not attempted"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"resnet.{name}", answer)
    text = shown[-1]["text/plain"]
    assert hint in text.replace("\n", " ")
