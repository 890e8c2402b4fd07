"""Checks of the chapter on backpropagation through time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


@exercise("rnn.step_back")
def step_back(answer: Callable[..., tuple[Any, Any]]) -> None:
    """Take `step_back(dh, h, h_before, kernel)`: the gradients of h_before and of the kernel.

    `dh`, `h` and `h_before` are (batch, n), `kernel` is (n, n); h = tanh(h_before @ kernel + ...).
    """
    random = np.random.default_rng(0)
    dh, h_before = random.normal(size=(2, 4, 3))
    h, kernel = np.tanh(random.normal(size=(4, 3))), random.normal(size=(3, 3))
    got = answer(dh, h, h_before, kernel)
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise NotYet(
            "Return two things: the gradient of the state before, and the term of the kernel."
        )
    if any(part is None or part is ... for part in got):
        raise NotAttempted
    before, term = (np.asarray(part) for part in got)
    delta = (1 - h**2) * dh

    def like(value: Any, wrong: Any) -> bool:
        return value.shape == wrong.shape and bool(np.allclose(value, wrong))

    if like(before, delta @ kernel):
        raise NotYet(
            "The state went forward through `kernel`. The gradient goes back through its transpose."
        )
    if like(before, dh @ kernel.T):
        raise NotYet("The slope of tanh is missing: go back through tanh first.")
    if like(before, ((1 - h_before**2) * dh) @ kernel.T):
        raise NotYet(
            "You took the slope at the state before the step. tanh made `h`, not `h_before`."
        )
    close(before, delta @ kernel.T, hint="First δ = (1 − h²) dh, then back through W.")
    if like(term, delta.T @ h_before):
        raise NotYet(
            "That is the gradient of the kernel's transpose: rows of `kernel` belong to h_before."
        )
    if like(term, h.T @ delta):
        raise NotYet("What met the kernel was the state before the step, not `h`.")
    close(term, h_before.T @ delta, hint="A sum over the batch of h_before times δ.")


@exercise("rnn.input_size")
def input_size(answer: Callable[[float, float], float]) -> None:
    """Take `input_size(steps, kept)`: the s for which exp(-s / sqrt 2)^steps is `kept`."""
    steps, kept = 150.0, 0.1
    right = -np.sqrt(2) * np.log(kept) / steps
    got = answer(steps, kept)
    if isinstance(got, int | float):
        for wrong, hint in {
            -right: "A size is positive. ln(kept) is negative: mind the sign.",
            right * steps: "That is for one step. The factor is applied `steps` times.",
            right / 2: "You divided by √2. Solve s/√2 = −ln(kept)/steps for s.",
            right / np.sqrt(2): "The √2 of (8) is missing.",
        }.items():
            if np.isclose(got, wrong, rtol=1e-6):
                raise NotYet(hint)
    close(got, right, hint="Set exp(−s/√2) to the power of `steps` equal to `kept`.")
