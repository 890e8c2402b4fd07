"""Checks of the chapter on networks that do not learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


@exercise("problem.plateau_loss")
def plateau_loss(answer: Callable[[Sequence[int]], float]) -> None:
    """Take `plateau_loss(counts)`: the least mean cross-entropy of one answer for all inputs."""
    counts = [6, 3, 1]
    shares = np.array(counts) / 10
    right = -np.sum(shares * np.log(shares))
    got = answer(counts)
    for wrong, hint in {
        np.log(3): "That is right for equally frequent classes. These are not.",
        right
        / np.log(2): "You have bits. Cross-entropy here uses the natural logarithm.",
        -np.mean(
            np.log(shares)
        ): "Average over the *examples*: frequent classes count more often.",
        -right: "The sign: a logarithm of a share is negative, a loss is not.",
    }.items():
        if np.shape(got) == () and _near(got, wrong):
            raise NotYet(hint)
    close(
        got,
        right,
        hint="Average −ln p over the examples, where p is the share of their class.",
    )
    close(
        answer([5, 5, 0]),
        np.log(2),
        hint="A class with no example contributes 0, not 0 × ln 0.",
    )


@exercise("problem.update_ratio")
def update_ratio(answer: Callable[[Any, Any, float], Any]) -> None:
    """Take `update_ratio(w, g, eta)`, the norm of eta g over that of w, for (n, m) float32."""
    random = np.random.default_rng(0)
    w, g = (random.normal(size=(4, 5)).astype(np.float32) for _ in range(2))
    ratio = float(np.linalg.norm(g) / np.linalg.norm(w))
    got = answer(w, g, 0.01)
    for wrong, hint in {
        ratio: "The learning rate is missing: the update is η times the gradient.",
        0.01 / ratio: "Upside down: the update over the weights.",
        0.01 * ratio**2: "You have the ratio of the squares.",
    }.items():
        if np.shape(got) == () and _near(got, wrong):
            raise NotYet(hint)
    close(got, 0.01 * ratio, hint="‖η g‖ / ‖w‖, with norms over all elements.")
    tiny = answer(w, g * np.float32(1e-30), 0.01)
    if np.shape(tiny) == () and float(tiny) == 0:
        raise NotYet(
            "For a gradient near 1e-30 you get 0: its squares underflow. Try `vg.norm`."
        )
    close(tiny, 0.01 * ratio * 1e-30, hint="It goes wrong where gradients are tiny.")


@exercise("problem.diagnose")
def diagnose(answer: Callable[[np.ndarray], str]) -> None:
    """Take `diagnose(norms)`, which names the illness of a profile, first layer first."""
    cases = [
        ([1.0, 1.1, 0.9], "healthy", "These norms are level."),
        ([1e-8, 1e-4, 1.0], "vanishing", "The first is far below the last."),
        ([1e6, 1e3, 1.0], "exploding", "The first is far above the last."),
        ([0.0, 0.0, 0.0], "dead", "All are exactly 0: ask for that first."),
        ([1e-7, 2e-7, 1e-7], "healthy", "The level does not matter, only the shape."),
        (
            [1e-6, 1e-3, 1e-2],
            "vanishing",
            "The first is less than a thousandth of the last.",
        ),
    ]
    for norms, right, hint in cases:
        got = answer(np.array(norms))
        if got is None or got is ...:
            raise NotAttempted
        if got != right:
            raise NotYet(f"For {norms} you say {got!r}, it should be {right!r}. {hint}")


def _near(got: Any, wrong: float) -> bool:
    try:
        return bool(np.isclose(float(got), wrong, rtol=1e-4, atol=0))
    except (TypeError, ValueError):
        return False
