"""The checks of the chapter on costs: right answers, and what wrong ones are told."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from vgutils.exercises import check


def forward(batch, widths):
    return sum(2 * batch * n * m for n, m in itertools.pairwise(widths))


def layer(batch, widths, i):
    return 2 * batch * widths[i] * widths[i + 1]


def one_by_one(batch, widths):
    total = 0
    for i in range(len(widths) - 1):
        total += (2 if i == 0 else 3) * layer(batch, widths, i)
    return total


def never(once, monthly):
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(monthly > 0, once / monthly, np.inf)


def plain(once, monthly):
    with np.errstate(divide="ignore", invalid="ignore"):
        return once / monthly


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("step_flops", one_by_one),
        ("step_flops", lambda b, w: 3 * forward(b, w) - layer(b, w, 0)),
        ("payback_months", never),
    ],
)
def test_right(shown, name, answer):
    assert check(f"cost.{name}", answer)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("step_flops", forward, "forward pass alone"),
        ("step_flops", lambda b, w: 2 * forward(b, w), "backward pass alone"),
        ("step_flops", lambda b, w: 3 * forward(b, w), "Nearly"),
        (
            "step_flops",
            lambda b, w: 3 * forward(b, w) - layer(b, w, len(w) - 2),
            "*first* layer's",
        ),
        ("step_flops", lambda b, w: one_by_one(b, w) / 2, "*and* n additions"),
        ("step_flops", lambda b, w: one_by_one(1, w), "one example"),
        ("step_flops", lambda b, w: 2160, "every number of layers"),
        ("step_flops", lambda b, w: 0, "Three times"),
        ("step_flops", lambda b, w: ..., "Not attempted"),
        ("payback_months", plain, "negative time"),
        ("payback_months", lambda c, m: abs(plain(c, m)), "`inf`"),
        ("payback_months", lambda c, m: np.where(m > 0, c / 20, 0), "`inf`"),
        ("payback_months", lambda c, m: np.where(m > 0, m / c, np.inf), "Upside down"),
        ("payback_months", lambda c, m: np.ceil(never(c, m)), "round up"),
        ("payback_months", lambda c, m: np.where(m > 0, plain(c, m), np.nan), "NaN"),
        ("payback_months", lambda c, m: never(c, m).mean(), "one number a future"),
        ("payback_months", lambda c, m: 2 * never(c, m), "C/m"),
        ("payback_months", lambda c, m: None, "Not attempted"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"cost.{name}", answer)
    assert hint in shown[-1]["text/plain"].replace("\n", " ")
