"""The checks of the chapter on production: right answers, and what wrong ones are told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vgutils.exercises import check


def drift(window, reference):
    error = reference.std(ddof=1) * (1 / len(window) + 1 / len(reference)) ** 0.5
    return (window.mean() - reference.mean()) / error


def enough(delta, n, z=4.0):
    inverse = (delta / z) ** 2 - 1 / n
    return 1 / inverse if inverse > 0 else math.inf


def rounded_up(delta, n, z=4.0):
    exact = enough(delta, n, z)
    return math.ceil(exact) if exact < math.inf else exact


@pytest.mark.parametrize(
    ("name", "answer"),
    [("drift", drift), ("enough_inputs", enough), ("enough_inputs", rounded_up)],
)
def test_right(shown, name, answer):
    assert check(f"production.{name}", answer)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        (
            "drift",
            lambda w, r: (w.mean() - r.mean()) / (r.std(ddof=1) / len(w) ** 0.5),
            "a sample too",
        ),
        (
            "drift",
            lambda w, r: drift(w, r) * r.std(ddof=1) / w.std(ddof=1),
            "the window's",
        ),
        ("drift", lambda w, r: drift(w, r) * r.std(ddof=1) / r.std(), "ddof=1"),
        ("drift", lambda w, r: (w.mean() - r.mean()) / r.std(ddof=1), "vary less"),
        ("drift", lambda w, r: drift(r, w) * 0 - drift(w, r), "The sign"),
        ("drift", lambda w, r: w - r[:8], "shape"),
        ("drift", lambda w, r: ..., "Not attempted"),
        ("enough_inputs", lambda delta, n, z=4.0: (z / delta) ** 2, "1/n"),
        (
            "enough_inputs",
            lambda delta, n, z=4.0: 1 / ((delta / z) ** 2 - 1 / n),
            "return infinity",
        ),
        ("enough_inputs", lambda delta, n, z=4.0: np.inf, "finite"),
        ("enough_inputs", lambda delta, n, z=4.0: ..., "Not attempted"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"production.{name}", answer)
    assert hint in shown[-1]["text/plain"].replace("\n", " ")
