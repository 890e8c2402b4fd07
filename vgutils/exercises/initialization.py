"""Checks of the chapter on initialization."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


@exercise("initialization.conv_std")
def conv_std(answer: Callable[[tuple[int, ...]], Any]) -> None:
    """Take `conv_std(shape)`: He's forward deviation for (height, width, c_in, c_out)."""
    shape = (3, 5, 16, 40)
    got = answer(shape)
    right = np.sqrt(2 / (3 * 5 * 16))
    for wrong, hint in {
        right**2: "That is the variance. Take the root.",
        np.sqrt(2 / (3 * 5 * 40)): (
            "You used the output channels: that keeps the gradient. The forward signal sums over "
            "the *input* channels."
        ),
        np.sqrt(2 / 16): (
            "One output of a convolution sees a whole window of each channel: height times width."
        ),
        np.sqrt(
            1 / (3 * 5 * 16)
        ): "That is LeCun's rule. ReLU takes half of the mean square.",
        np.sqrt(2 / (3 * 5 * (16 + 40))): (
            "That is Glorot's mean of the two fans. He's rule has one of them."
        ),
    }.items():
        if isinstance(got, int | float | np.number) and np.isclose(
            got, wrong, rtol=1e-6
        ):
            raise NotYet(hint)
    close(got, right, hint="The variance is 2/fan_in. What is fan_in here?")


@exercise("initialization.which")
def which(answer: Callable[[np.ndarray], Any]) -> None:
    """Take `which(kernel)`: the rule that drew a dense kernel (fan_in, fan_out)."""
    random = np.random.default_rng(0)
    rules = {
        "lecun": lambda i, o: 1 / i,
        "glorot": lambda i, o: 2 / (i + o),
        "he": lambda i, o: 2 / i,
        "torch": lambda i, o: 1 / (3 * i),
    }
    for shape in [(400, 100), (100, 300), (784, 128)]:
        for name, variance in rules.items():
            bound = np.sqrt(3 * variance(*shape))
            kernel = random.uniform(-bound, bound, size=shape)
            got = answer(kernel)
            if got is None or got is ...:
                raise NotAttempted
            if not isinstance(got, str) or got not in rules:
                raise NotYet(
                    f"Return one of {', '.join(map(repr, rules))}; yours returns {got!r}."
                )
            if got == name:
                continue
            # What one would say who takes the kernel's second axis for its inputs.
            swapped = {
                k: abs(np.log(kernel.var() / rules[k](*shape[::-1]))) for k in rules
            }
            if got == min(swapped, key=lambda k: swapped[k]):
                raise NotYet(
                    f"A kernel of shape {shape} from {name!r} is taken for {got!r}. Which axis "
                    "of a kernel in JAX's layout counts the inputs?"
                )
            raise NotYet(
                f"A kernel of shape {shape} from {name!r} is taken for {got!r}. Its variance is "
                f"{kernel.var():.3g}. Write down the four that are possible, and take the nearest "
                "by ratio."
            )
