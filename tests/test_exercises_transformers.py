"""The checks of the chapter on attention: right answers, and what wrong ones are told."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vgutils.exercises import check


def mean(p, g):
    return np.sum(p * g, axis=-1, keepdims=True)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("softmax_back", lambda p, g: p * (g - mean(p, g))),
        (
            "softmax_back",
            lambda p, g: p * g - p * np.einsum("...i,...i->...", p, g)[..., None],
        ),
        ("blocks_needed", lambda n, w: math.ceil((n - 1) / (w - 1))),
    ],
)
def test_right(shown, name, answer):
    assert check(f"transformers.{name}", answer)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("softmax_back", lambda p, g: ..., "Not attempted"),
        ("softmax_back", lambda p, g: p * g, "lowers the others"),
        ("softmax_back", lambda p, g: p * (1 - p) * g, "diagonal"),
        ("softmax_back", lambda p, g: p * (g + mean(p, g)), "sign"),
        ("softmax_back", lambda p, g: g - mean(p, g), "Where is p?"),
        ("softmax_back", lambda p, g: p * (g - np.sum(p * g)), "its own softmax"),
        (
            "softmax_back",
            lambda p, g: p * (g - np.sum(p * g, axis=-1)),
            "keepdims=True",
        ),
        ("softmax_back", lambda p, g: 0 * p, "Multiply (3) out"),
        ("blocks_needed", lambda n, w: None, "Not attempted"),
        ("blocks_needed", lambda n, w: -(-n // w), "Count hops"),
        ("blocks_needed", lambda n, w: (n - 1) // (w - 1), "round up"),
        ("blocks_needed", lambda n, w: (n - 1) / (w - 1), "A block is whole"),
        ("blocks_needed", lambda n, w: n, "How far"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"transformers.{name}", answer)
    text = shown[-1]["text/plain"]
    assert hint in text.replace("\n", " ")
