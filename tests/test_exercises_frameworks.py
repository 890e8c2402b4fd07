"""The checks of the chapter on frameworks: right answers, and what wrong ones are told."""

from __future__ import annotations

import numpy as np
import pytest

from vgutils.exercises import check


def swap(kernel):
    i, f, g, o = np.split(kernel, 4, axis=1)
    return np.concatenate([i, g, f, o], axis=1)


def scaled(g):
    m = np.abs(g).max()
    return m * np.sqrt(np.sum((g / m) ** 2)) if m else 0.0


def glorot(fan_in, units, gates):
    return 2 * fan_in / (fan_in + gates * units)


@pytest.mark.parametrize(
    ("name", "answer"),
    [("to_tensorflow", swap), ("safe_norm", scaled), ("fan_in_variance", glorot)],
)
def test_right(shown, name, answer):
    assert check(f"frameworks.{name}", answer)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("to_tensorflow", lambda k: k, "Nothing has moved"),
        ("to_tensorflow", lambda k: k[:, [0, 2, 1, *range(3, 12)]], "single columns"),
        (
            "to_tensorflow",
            lambda k: k[:, [0, 1, 2, 3, 4, 5, 9, 10, 11, 6, 7, 8]],
            "third place",
        ),
        ("to_tensorflow", lambda k: ..., "Not attempted"),
        ("safe_norm", lambda g: np.sqrt(np.sum(g**2)), "below all float32"),
        ("safe_norm", lambda g: np.abs(g).max(), "largest magnitude"),
        ("safe_norm", lambda g: 1e20 * np.sqrt(np.sum((g / 1e20) ** 2)), "below all"),
        ("safe_norm", lambda g: 1e-30 * np.sqrt(np.sum((g / 1e-30) ** 2)), "Scale"),
        ("safe_norm", lambda g: scaled(g) or np.nan, "norm of zeros"),
        ("safe_norm", lambda g: ..., "Not attempted"),
        ("fan_in_variance", lambda a, b, c: 2 * a / (a + b), "fan_out"),
        ("fan_in_variance", lambda a, b, c: 2 / (a + b * c), "Multiply it"),
        ("fan_in_variance", lambda a, b, c: 6 * a / (a + b * c), "a third"),
        ("fan_in_variance", lambda a, b, c: 1.0, "Glorot"),
        ("fan_in_variance", lambda a, b, c: ..., "Not attempted"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"frameworks.{name}", answer)
    assert hint in shown[-1]["text/plain"].replace("\n", " ")
