"""Checks of the chapter on frameworks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


@exercise("frameworks.to_tensorflow")
def to_tensorflow(answer: Callable[[np.ndarray], Any]) -> None:
    """Take `to_tensorflow(kernel)`: the columns of the gates i, f, g, o in the order i, g, f, o."""
    units = 3
    kernel = np.arange(2.0 * 4 * units).reshape(2, 4 * units)
    i, f, g, o = np.split(kernel, 4, axis=1)
    right = np.concatenate([i, g, f, o], axis=1)
    got = answer(kernel)
    if got is None or got is ...:
        raise NotAttempted
    got = np.asarray(got)
    if got.shape == right.shape:
        for wrong, hint in [
            (kernel, "Nothing has moved."),
            (
                kernel[:, [0, 2, 1, 3, *range(4, 4 * units)]],
                "You moved single columns. A gate has a quarter of them, all side by side.",
            ),
            (
                np.concatenate([i, f, o, g], axis=1),
                "The forget gate goes to the third place, g to the second, and o stays last.",
            ),
        ]:
            if np.array_equal(got, wrong):
                raise NotYet(hint)
    close(got, right, hint="Split the columns in four, and join them as i, g, f, o.")


@exercise("frameworks.fan_in_variance")
def fan_in_variance(answer: Callable[[int, int, int], Any]) -> None:
    """Take `fan_in_variance(fan_in, units, gates)` of a Glorot kernel that holds all gates."""
    fan_in, units, gates = 24, 40, 4
    got = answer(fan_in, units, gates)
    right = 2 * fan_in / (fan_in + gates * units)
    if isinstance(got, int | float | np.number):
        for wrong, hint in {
            2 * fan_in / (fan_in + units): (
                "One kernel holds all the gates. What does the framework take for its fan_out?"
            ),
            2
            / (fan_in + gates * units): "That is the variance. Multiply it by fan_in.",
            6 * fan_in / (fan_in + gates * units): (
                "6 stands in the bound of the uniform draw. Its variance is a third of the square."
            ),
        }.items():
            if np.isclose(got, wrong, rtol=1e-4):
                raise NotYet(hint)
    close(got, right, hint="Glorot's variance is 2 over the sum of fan_in and fan_out.")


@exercise("frameworks.safe_norm")
def safe_norm(answer: Callable[[np.ndarray], Any]) -> None:
    """Take `safe_norm(gradient)`, a float32 norm that no square underflows."""
    for size in (1e-30, 1.0, 1e30):
        gradient = (size * np.array([3.0, -4.0, 0.0])).astype(np.float32)
        got = answer(gradient)
        if got is None or got is ...:
            raise NotAttempted
        if np.ndim(got) == 0 and size < 1 and float(got) == 0:
            raise NotYet(
                "For a gradient of 3·10⁻³⁰ you say 0: its square is below all float32 numbers. "
                "Divide by the largest magnitude before you square."
            )
        if np.ndim(got) == 0 and size >= 1 and not np.isfinite(float(got)):
            raise NotYet(
                "You say infinity: a square leaves float32. Scale by the largest magnitude first."
            )
        close(got, 5 * size, hint="It is m · √Σ(g/m)², with m the largest magnitude.")
    with np.errstate(all="ignore"):
        got = answer(np.zeros(3, np.float32))
    if not float(got) == 0:
        raise NotYet("The norm of zeros is 0. What do you divide by there?")
