"""Checks of the chapter on sigmoid and tanh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


@exercise("sigmoid.stable_slope")
def stable_slope(answer: Callable[[Any], Any]) -> None:
    """Take `stable_slope(z)`, the slope of the sigmoid for z (n,) float32 between -80 and 80."""
    z = np.array([-80, -20, -5, -1, 0, 1, 5, 20, 80], np.float32)
    right = 1 / (2 + 2 * np.cosh(z.astype(np.float64)))
    got = answer(z)
    if got is None or got is ...:
        raise NotAttempted
    values = np.asarray(got, np.float64)
    if values.shape == right.shape:
        if not np.all(np.isfinite(values)):
            raise NotYet(
                "Somewhere you get NaN or infinity: a power of e left the range of float32."
            )
        if values[1] == 0 or values[0] == 0:
            raise NotYet(
                "At the left end you get exactly 0: `exp(80)` squared is infinite."
            )
        if values[-2] == 0:
            raise NotYet(
                "At z = 20 you get exactly 0: σ(20) rounds to 1, and 1 − σ loses all its digits."
            )
    # Logarithms, so that the smallest slopes count as much as the largest.
    tiny = np.finfo(np.float64).tiny
    close(
        np.log(np.maximum(values, tiny)),
        np.log(right),
        hint="The slope is σ(z)(1 − σ(z)). Write 1 − σ(z) so that it needs no subtraction.",
        relative=1e-5,
    )


@exercise("sigmoid.twin_layer")
def twin_layer(answer: Callable[[Any, Any], tuple[Any, Any]]) -> None:
    """Take `twin_layer(kernel, bias)`: those of the sigmoid layer that stands for a tanh layer.

    `kernel` is (n_in, n_out), `bias` is (n_out,); the layer computes `t @ kernel + bias`.
    """
    random = np.random.default_rng(0)
    kernel, bias = random.normal(size=(3, 3)), random.normal(size=3)
    got = answer(kernel, bias)
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise NotYet(
            "Return two things, the kernel and the bias: `return kernel, bias`."
        )
    if any(part is None or part is ... for part in got):
        raise NotAttempted
    new_kernel, new_bias = got
    if np.allclose(new_kernel, 2 * kernel):
        raise NotYet(
            "You have 2W. That is right for the first layer, whose input is no sigmoid's. Here "
            "t = 2s − 1 brings another factor."
        )
    close(
        new_kernel,
        4 * kernel,
        hint="z = 2u, and t = 2s − 1: which factor is left at s?",
    )
    if np.allclose(new_bias, 2 * bias):
        raise NotYet("The −1 in t = 2s − 1 is missing: it goes through the kernel too.")
    if np.allclose(new_bias, 2 * bias - 2 * kernel.sum(axis=1)):
        raise NotYet(
            "You summed over the outputs. Each output's bias sums over its *inputs*."
        )
    close(
        new_bias,
        2 * bias - 2 * kernel.sum(axis=0),
        hint="Look at the last two terms of (8).",
    )


@exercise("sigmoid.critical_sigma_w")
def critical_sigma_w(answer: Callable[[float], float]) -> None:
    """Take `critical_sigma_w(q)`, the sigma_w at which chi_1 is 1 at variance q."""
    import jax

    from vgutils import theory

    def slope(z: jax.Array) -> jax.Array:
        return jax.nn.sigmoid(z) * jax.nn.sigmoid(-z)

    squared = theory.expectation(lambda z: slope(z) ** 2, variance=4.0)
    mean = theory.expectation(slope, variance=4.0)
    got = answer(4.0)
    for wrong, hint in {
        1 / squared: "That is σ_w². Take the root.",
        squared
        ** 0.5: "That is the factor at σ_w = 1. By what must you multiply it to get 1?",
        1
        / mean: "Equation (6) has the mean of the *squared* slope, not the square of the mean.",
        4.0: "4 is right only where all units stand at 0. Here they are spread.",
    }.items():
        if isinstance(got, int | float) and np.isclose(got, wrong, rtol=1e-6):
            raise NotYet(hint)
    close(got, squared**-0.5, hint="Set equation (6) to 1 and solve for σ_w.")
