"""The checks of the chapter on the chain rule: right answers, and a hint for each mistake."""

from __future__ import annotations

import numpy as np
import pytest

from vgutils.exercises import check


def verdict(shown) -> str:
    return shown[-1]["text/plain"]


def test_by_hand(shown):
    assert check("chain_rule.by_hand", (-2, 0, 0))
    assert check("chain_rule.by_hand", np.array([-2.0, 0.0, 0.0]))


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        ((2, 0, 0), "wrong sign"),
        ((0, 0, 0), "*slope* there is 1"),
        ((-2, -1, 0), "x or h₁"),
        ((-2, 0, 1), "x or h₁"),
        ((-1, 0, 0), "both slopes first"),
        (-2, "shape should be `(3,)`"),
    ],
)
def test_by_hand_hints(shown, answer, hint):
    assert not check("chain_rule.by_hand", answer)
    assert hint in verdict(shown)
    assert verdict(shown).startswith("↻ Not yet.")


@pytest.mark.parametrize("answer", [(..., ..., ...), (-2, 0, ...), (None, 0, 0)])
def test_by_hand_is_not_attempted(shown, answer):
    assert not check("chain_rule.by_hand", answer)
    assert verdict(shown).startswith("○ Not attempted yet.")


def walk(weights, states, cotangent, *, skip=1.0, whole=False, outer=np.outer):
    """Back through layers with a skip, or with a mistake."""
    gradients = []
    layers = list(zip(weights, states[:-1], states[1:], strict=True))
    for W, h_in, h_out in reversed(layers):
        delta = (1 - (h_out - (not whole) * h_in) ** 2) * cotangent
        cotangent = skip * cotangent + W.T @ delta
        gradients.append(outer(delta, h_in))
    return cotangent, gradients[::-1]


def test_skip(shown):
    assert check("chain_rule.skip", walk)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda *a: walk(*a, skip=0.0), "through the layers only"),
        (lambda *a: walk(*a, whole=True), "slope from h_out"),
        (lambda *a: walk(*a, skip=0.0, whole=True), "Two things"),
        (lambda *a: walk(*a, skip=-1.0), "g + Wᵀ"),
        (lambda W, h, g: (g, []), "skip only"),
        (lambda *a: walk(*a)[0], "two things"),
        (lambda *a: (walk(*a)[0], []), "one weight gradient for each layer"),
        (lambda *a: (walk(*a)[0], walk(*a)[1][::-1]), "the last layer first"),
        (lambda *a: walk(*a, outer=lambda d, h: np.outer(h, d)), "transposed"),
        (lambda *a: walk(*a, outer=lambda d, h: np.outer(d, d)), "layer's *input*"),
        (lambda *a: walk(*a, outer=lambda d, h: d), "shape should be `(3, 3)`"),
    ],
)
def test_skip_hints(shown, answer, hint):
    assert not check("chain_rule.skip", answer)
    assert hint in verdict(shown)
    assert verdict(shown).startswith("↻ Not yet.")


@pytest.mark.parametrize("got", [..., None, (..., []), (None, None)])
def test_skip_is_not_attempted(shown, got):
    assert not check("chain_rule.skip", lambda *_: got)
    assert verdict(shown).startswith("○ Not attempted yet.")


def count(jacobians, one=lambda J: (J != 0).astype(float)):
    product = np.eye(jacobians[0].shape[1])
    for J in jacobians:
        product = one(J) @ product
    return product


def test_open_paths(shown):
    assert check("chain_rule.open_paths", lambda Js: count(Js).sum())
    assert check("chain_rule.open_paths", lambda Js: int(count(Js).sum()))


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda Js: count(Js, np.ones_like).sum(), "One zero factor closes"),
        (
            lambda Js: np.prod([np.count_nonzero(J) for J in Js]),
            "multiplied the numbers",
        ),
        (lambda Js: sum(np.count_nonzero(J) for J in Js), "edges, not paths"),
        (lambda Js: count(Js, lambda J: J).sum(), "You added the paths"),
        (lambda Js: np.count_nonzero(count(Js)), "entries of the product"),
        (count, "Return one number"),
        (lambda Js: 7, "Replace each entry"),
    ],
)
def test_open_paths_hints(shown, answer, hint):
    assert not check("chain_rule.open_paths", answer)
    assert hint in verdict(shown)
    assert verdict(shown).startswith("↻ Not yet.")


@pytest.mark.parametrize("got", [..., None])
def test_open_paths_is_not_attempted(shown, got):
    assert not check("chain_rule.open_paths", lambda _: got)
    assert verdict(shown).startswith("○ Not attempted yet.")
