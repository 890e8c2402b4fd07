"""Checks of the chapter on the edge of chaos."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


@exercise("edge_of_chaos.relu_map")
def relu_map(answer: Callable[[float], Any]) -> None:
    """Take `relu_map(c)`: the correlation one layer on, for ReLU with He's weights."""
    cs = np.array([-0.5, 0.0, 0.5, 0.9])
    angle = np.arccos(cs)
    right = (np.sin(angle) + (np.pi - angle) * cs) / np.pi
    got = [answer(float(c)) for c in cs]
    if any(value is None or value is ... for value in got):
        raise NotAttempted
    # A grid through the kink at 0 is off by some thousandths.
    for wrong, hint in [
        (right / 2, "That is half of it: He's σ_w² is 2."),
        (
            right / 2 - 1 / (2 * np.pi),
            "You took the mean off. (2) has E[φ(u) φ(v)] as it stands, with σ_w² = 2.",
        ),
        (
            (np.sin(angle) + angle * cs) / np.pi,
            "At c = 1 this gives 0: equal inputs must stay equal. It is π − θ, not θ.",
        ),
        (cs, "That is the map of a linear network. ReLU bends."),
        (
            1 - angle / np.pi,
            "That is the map's *slope*, the mean of φ′(u) φ′(v) times 2.",
        ),
    ]:
        if _near(got, wrong):
            raise NotYet(hint)
    close(
        got,
        right,
        hint="Put ReLU into (2), with σ_w² = 2 and σ_b = 0.",
        relative=5e-3,
    )


@exercise("edge_of_chaos.isometry_gap")
def isometry_gap(answer: Callable[[Any], Any]) -> None:
    """Take `isometry_gap(jacobian)`: Var(s²) / (mean s²)² of the singular values s."""
    jacobian = 3 * np.random.default_rng(0).normal(size=(6, 6))
    s = np.linalg.svd(jacobian, compute_uv=False)
    got = answer(jacobian)
    if got is None or got is ...:
        raise NotAttempted
    squares = s**2
    for wrong, hint in [
        (
            s.var() / s.mean() ** 2,
            "These are the singular values themselves. Square them first.",
        ),
        (
            squares.var(),
            "Divide by the squared mean: a factor in front must not count.",
        ),
        (
            squares.var() / squares.mean(),
            "Divide by the mean *squared*: a factor in front must not count.",
        ),
        (
            squares.std() / squares.mean(),
            "That is the standard deviation over the mean. (7) has its square.",
        ),
    ]:
        if _near(got, wrong):
            raise NotYet(hint)
    if np.ndim(got) == 0 and np.isclose(got, squares.var(ddof=1) / squares.mean() ** 2):
        raise NotYet(
            "All singular values are there, it is no sample: divide by n, not n − 1."
        )
    close(
        got,
        squares.var() / squares.mean() ** 2,
        hint="Square the singular values; then variance over squared mean.",
    )


def _near(got: Any, wrong: Any) -> bool:
    """Whether an answer is a known mistake, to three digits."""
    try:
        values = np.asarray(got, np.float64)
    except (TypeError, ValueError):
        return False
    return values.shape == np.shape(wrong) and np.allclose(values, wrong, rtol=2e-3)
