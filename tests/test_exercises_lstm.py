"""The checks of the chapter on LSTM and GRU: right answers, and what wrong ones are told."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from vgutils.exercises import check


def from_the_end(f):
    return jnp.cumprod(f[::-1], axis=0)[::-1]


def one(f):
    return jnp.ones_like(f[:1])


def third(lags, *, reset=0.0, keep=0.0):
    return jnp.concatenate([lags * 0 + reset, lags * 0 + keep, lags * 0])


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("along_the_cell", lambda f: jnp.concatenate([from_the_end(f), one(f)])),
        ("chrono_gru", lambda lags: third(lags, keep=jnp.log(lags - 1))),
    ],
)
def test_right(shown, name, answer):
    assert check(f"lstm.{name}", answer)


def test_right_is_a_product_of_gates():
    f = np.random.default_rng(1).uniform(size=(5, 2))
    answer = np.asarray(jnp.concatenate([from_the_end(jnp.asarray(f)), one(f)]))
    for t in range(6):
        np.testing.assert_allclose(answer[t], np.prod(f[t:], axis=0), rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("along_the_cell", from_the_end, "T rows"),
        (
            "along_the_cell",
            lambda f: jnp.concatenate([one(f), jnp.cumprod(f, axis=0)]),
            "from the start",
        ),
        (
            "along_the_cell",
            lambda f: jnp.concatenate([one(f), from_the_end(f)]),
            "belongs to the last",
        ),
        (
            "along_the_cell",
            lambda f: jnp.concatenate([from_the_end(f)[1:], one(f), one(f)]),
            "all of them",
        ),
        ("along_the_cell", lambda f: jnp.zeros((7, 3)), "begin at row t"),
        ("along_the_cell", lambda f: ..., "Not attempted"),
        ("chrono_gru", lambda lags: third(lags, reset=jnp.log(lags - 1)), "reset gate"),
        ("chrono_gru", lambda lags: third(lags, keep=-jnp.log(lags - 1)), "z keeps"),
        ("chrono_gru", lambda lags: third(lags, keep=jnp.log(lags)), "exactly"),
        (
            "chrono_gru",
            lambda lags: third(lags, keep=jnp.log(lags - 1), reset=-jnp.log(lags - 1)),
            "z alone",
        ),
        ("chrono_gru", lambda lags: jnp.log(lags - 1), "in the order r, z, n"),
        ("chrono_gru", lambda lags: third(lags), "middle third"),
        ("chrono_gru", lambda lags: None, "Not attempted"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"lstm.{name}", answer)
    assert hint in shown[-1]["text/plain"].replace("\n", " ")
