"""Checks of the chapter on optimizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


@exercise("optimizers.adam_step")
def adam_step(answer: Callable[..., Any]) -> None:
    """Take `adam_step(t, g, m, v)`: u and the new averages of Adam, for g, m, v of shape (n,)."""
    g = np.array([0.5, -1e-6, 1e-3])
    m, v = np.array([-0.2, 2e-6, 0.0]), np.array([0.3, 3e-12, 0.0])
    t = 3
    got = answer(t, g, m, v)
    if not isinstance(got, tuple | list) or len(got) != 3:
        raise NotYet("Return three things: `return u, m, v`.")
    if any(part is None or part is ... for part in got):
        raise NotAttempted
    u, m_new, v_new = got
    right_m, right_v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
    if _same(m_new, 0.9 * m - 0.1 * g):
        raise NotYet(
            "Your average of the gradient has the sign of g wrong: the minus is in the step."
        )
    if _same(m_new, 0.9 * m + g):
        raise NotYet(
            "You sum the gradients, as momentum does. Adam averages them: 0.9 m + 0.1 g."
        )
    close(m_new, right_m, hint="The first average is 0.9 m + 0.1 g.")
    if _same(v_new, 0.999 * v + 0.001 * g):
        raise NotYet("The second average is of the *squares* of the gradient.")
    close(v_new, right_v, hint="The second average is 0.999 v + 0.001 g².")
    m_hat, v_hat = right_m / (1 - 0.9**t), right_v / (1 - 0.999**t)
    for wrong, hint in [
        (
            right_m / (np.sqrt(right_v) + 1e-8),
            "The averages started at 0 and are too small at step 3. Divide them by 1 − 0.9ᵗ and "
            "1 − 0.999ᵗ.",
        ),
        (
            m_hat / np.sqrt(v_hat + 1e-8),
            "Your ε is inside the root: at g = 1e-6 the step is a hundred times too small.",
        ),
        (m_hat / (v_hat + 1e-8), "Divide by the *root* of the second average."),
        (
            -m_hat / (np.sqrt(v_hat) + 1e-8),
            "u stands in the gradient's place: no minus.",
        ),
    ]:
        if _same(u, wrong):
            raise NotYet(hint)
    close(u, m_hat / (np.sqrt(v_hat) + 1e-8), hint="Look at equation (4).")


@exercise("optimizers.trust")
def trust(answer: Callable[[Any, Any], Any]) -> None:
    """Take `trust(W, G)`: the factors of LARS for stacks (layers, rows, columns)."""
    random = np.random.default_rng(0)
    W = random.normal(size=(4, 5, 3))
    G = random.normal(size=(4, 5, 3)) * np.array([1.0, 1e-3, 1e-6, 1.0])[:, None, None]
    got = answer(W, G)
    if got is None or got is ...:
        raise NotAttempted
    sizes = [np.sqrt((A**2).sum(axis=(1, 2), keepdims=True)) for A in (W, G)]
    right = sizes[0] / sizes[1]
    values = np.asarray(got, np.float64)
    if values.shape == ():
        raise NotYet(
            "You have one factor for the whole stack. The smallest layers need the largest "
            "factors: sum over the last two axes only."
        )
    if _same(values, 1 / right):
        raise NotYet(
            "The ratio is upside down: the layer with the smallest gradient gets the smallest "
            "factor."
        )
    if _same(values, right**2):
        raise NotYet("Those are squares of norms. Take the root.")
    if values.shape == (4,):
        raise NotYet(
            f"The shape {values.shape} cannot be multiplied with {G.shape}: keep the axes, "
            "`keepdims=True`."
        )
    close(values, right, hint="It is ‖W‖ / ‖G‖ of each layer, of shape (layers, 1, 1).")
    G[1] = 0
    right[1] = 0
    close(answer(W, G), right, hint="One gradient is 0 now, and its factor shall be 0.")


def _same(got: Any, wrong: np.ndarray) -> bool:
    """Whether an answer is this likely mistake."""
    values = np.asarray(got, np.float64)
    return values.shape == wrong.shape and np.allclose(values, wrong, rtol=1e-4, atol=0)
