"""Checks of the chapter on what a cure costs and returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


def _same(got: Any, wrong: Any) -> bool:
    got, wrong = np.asarray(got), np.asarray(wrong)
    return got.shape == wrong.shape and bool(np.allclose(got, wrong, rtol=1e-4))


@exercise("cost.step_flops")
def step_flops(answer: Callable[[int, list[int]], Any]) -> None:
    """Take `step_flops(batch, widths)`: operations of the products in one step of training."""
    got = answer(8, [3, 5, 7])
    if got is None or got is ...:
        raise NotAttempted
    first, second = 2 * 8 * 3 * 5, 2 * 8 * 5 * 7
    for wrong, hint in [
        (
            first + second,
            "This is the forward pass alone. Backward, a layer has two products more.",
        ),
        (
            3 * (first + second),
            "Nearly: the first layer need not hand a gradient down to the inputs.",
        ),
        (
            3 * (first + second) - second,
            "The product that is left out is the *first* layer's: nobody asks for the "
            "gradient of the inputs.",
        ),
        (
            2 * (first + second),
            "This is the backward pass alone, with the gradient of the inputs, too.",
        ),
        (
            (2 * first + 3 * second) / 2,
            "Each output is a sum of n products: n multiplications *and* n additions.",
        ),
        (
            (2 * first + 3 * second) / 8,
            "That is for one example. There are `batch` of them.",
        ),
    ]:
        if _same(got, wrong):
            raise NotYet(hint)
    close(
        got,
        2 * first + 3 * second,
        hint="Three times eq. (1) for each layer, less one product of the first layer.",
    )
    close(
        [answer(1, [4, 2]), answer(10, [2, 2, 2, 2])],
        [2 * 16, 10 * 8 * 8],
        hint="It should hold for every number of layers.",
    )


@exercise("cost.payback_months")
def payback_months(answer: Callable[[Any, Any], Any]) -> None:
    """Take `payback_months(once, monthly)`: (n,) and (n,) to (n,), infinite where never."""
    once = np.array([100.0, 100.0, 90.0, 50.0])
    monthly = np.array([20.0, -20.0, 0.0, 100.0])
    with np.errstate(divide="ignore"):
        got = answer(once, monthly)
    if got is None or got is ...:
        raise NotAttempted
    got = np.asarray(got, np.float64)
    right = np.array([5.0, np.inf, np.inf, 0.5])
    if got.shape != right.shape:
        raise NotYet(
            f"The shape should be `{right.shape}`, one number a future; yours is `{got.shape}`."
        )
    if np.any(got < 0):
        raise NotYet(
            "Where a month costs more than it brings, you have a negative time. The money never "
            "comes back: infinity."
        )
    if np.any(np.isnan(got)):
        raise NotYet("There is a NaN. A month that brings nothing never pays back.")
    if _same(got[[0, 3]], monthly[[0, 3]] / once[[0, 3]]):
        raise NotYet("Upside down: months are what is paid once, over one month.")
    if _same(got[[0, 3]], [5.0, 1.0]):
        raise NotYet("Do not round up: half a month is half a month.")
    if not np.all(np.isinf(got[[1, 2]])):
        raise NotYet(
            "Where a month brings nothing, or less, the payback is `inf`, not a number: a finite "
            "one would look like a good future."
        )
    close(got[[0, 3]], right[[0, 3]], hint="It is C/m of eq. (4).")
