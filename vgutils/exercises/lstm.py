"""Checks of the chapter on LSTM and GRU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


def _same(got: Any, wrong: Any) -> bool:
    got, wrong = np.asarray(got), np.asarray(wrong)
    return got.shape == wrong.shape and bool(np.allclose(got, wrong, rtol=1e-4))


@exercise("lstm.along_the_cell")
def along_the_cell(answer: Callable[[Any], Any]) -> None:
    """Take `along_the_cell(f)`: (T, units) gates to the (T + 1, units) gradients dc_T/dc_t."""
    f = np.random.default_rng(0).uniform(0.5, 1.0, size=(6, 3))
    got = answer(jnp.asarray(f))
    if got is None or got is ...:
        raise NotAttempted
    ones = np.ones((1, 3))
    forward, backward = np.cumprod(f, axis=0), np.cumprod(f[::-1], axis=0)[::-1]
    for wrong, hint in [
        (
            backward,
            "That has T rows. The last state counts, too: dc_T/dc_T is a row of ones.",
        ),
        (
            np.concatenate([ones, forward]),
            "These are the products from the start, dc_t/dc_0. The gradient counts from the end.",
        ),
        (
            np.concatenate([ones, backward]),
            "Off by one step: the row of ones belongs to the last state, not to the first.",
        ),
        (
            np.concatenate([backward[1:], ones, ones]),
            "Off by one step: between c_t and c_T stand the gates t + 1 to T, all of them.",
        ),
    ]:
        if _same(got, wrong):
            raise NotYet(hint)
    close(
        got,
        np.concatenate([backward, ones]),
        hint="Row t is the product of the gates of steps t + 1 to T; in `f` these begin at row t.",
    )


@exercise("lstm.chrono_gru")
def chrono_gru(answer: Callable[[Any], Any]) -> None:
    """Take `chrono_gru(lags)`: the (3 * units,) bias of a GRU, in the order r, z, n."""
    lags = np.array([1.5, 2.0, 10.0, 150.0])
    got = answer(jnp.asarray(lags))
    if got is None or got is ...:
        raise NotAttempted
    none, bias = np.zeros(4), np.log(lags - 1)
    for wrong, hint in [
        (
            np.concatenate([bias, none, none]),
            "That is the reset gate r. Which gate multiplies the old state in (2)?",
        ),
        (
            np.concatenate([none, -bias, none]),
            "With this sign z is 1/τ: it keeps what it should forget. In Flax's GRU, z keeps.",
        ),
        (
            np.concatenate([none, np.log(lags), none]),
            "Nearly. Solve σ(b) = 1 − 1/τ exactly: e to the b is what?",
        ),
        (
            np.concatenate([-bias, bias, none]),
            "z alone will do: it keeps, and 1 − z writes. The reset gate needs no bias.",
        ),
        (
            bias,
            "One bias for each of the three gates is expected, in the order r, z, n.",
        ),
    ]:
        if _same(got, wrong):
            raise NotYet(hint)
    close(
        got,
        np.concatenate([none, bias, none]),
        hint="The middle third is z, and σ(b) = 1 − 1/τ there; the rest is 0.",
    )
