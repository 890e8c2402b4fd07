"""The checks of the chapter on initialization: right answers, and what wrong ones are told."""

from __future__ import annotations

import numpy as np
import pytest

from vgutils.exercises import check


def nearest(variances, kernel, distance=lambda a, b: abs(np.log(a / b))):
    return min(variances, key=lambda name: distance(kernel.var(), variances[name]))


def possible(fan_in, fan_out):
    return {
        "lecun": 1 / fan_in,
        "glorot": 2 / (fan_in + fan_out),
        "he": 2 / fan_in,
        "torch": 1 / (3 * fan_in),
    }


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("conv_std", lambda shape: (2 / np.prod(shape[:3])) ** 0.5),
        ("which", lambda kernel: nearest(possible(*kernel.shape), kernel)),
    ],
)
def test_right(shown, name, answer):
    assert check(f"initialization.{name}", answer)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("conv_std", lambda s: 2 / np.prod(s[:3]), "Take the root"),
        ("conv_std", lambda s: (2 / (s[0] * s[1] * s[3])) ** 0.5, "*input* channels"),
        ("conv_std", lambda s: (2 / s[2]) ** 0.5, "height times width"),
        ("conv_std", lambda s: (1 / np.prod(s[:3])) ** 0.5, "LeCun"),
        ("conv_std", lambda s: (2 / (15 * (s[2] + s[3]))) ** 0.5, "Glorot"),
        ("conv_std", lambda s: 0.01, "What is fan_in here?"),
        ("conv_std", lambda s: ..., "Not attempted"),
        (
            "which",
            lambda kernel: nearest(possible(*kernel.shape[::-1]), kernel),
            "axis",
        ),
        ("which", lambda kernel: "he", "nearest by ratio"),
        ("which", lambda kernel: "xavier", "Return one of"),
        ("which", lambda kernel: 2, "Return one of"),
        ("which", lambda kernel: None, "Not attempted"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"initialization.{name}", answer)
    text = shown[-1]["text/plain"]
    assert hint in text.replace("\n", " ")
