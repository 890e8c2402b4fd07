"""The checks of the chapter on optimizers: right answers, and what wrong ones are told."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from vgutils.exercises import check


def adam(t, g, m, v, *, power=1.0, inside=0.0, outside=1e-8, sign=1.0):
    m, v = 0.9 * m + sign * 0.1 * g, 0.999 * v + 0.001 * g**2
    m_hat, v_hat = m / (1 - 0.9 ** (power * t)), v / (1 - 0.999 ** (power * t))
    return m_hat / (np.sqrt(v_hat + inside) + outside), m, v


def by_optax(t, g, m, v):
    optimizer = optax.scale_by_adam()
    state = optax.ScaleByAdamState(count=jnp.int32(t - 1), mu=m, nu=v)
    u, state = optimizer.update(g, state)
    return u, state.mu, state.nu


def uncorrected(t, g, m, v):
    return adam(np.inf, g, m, v)


def norm(stack, axis=(1, 2), keepdims=True):
    return np.sqrt(np.sum(stack**2, axis=axis, keepdims=keepdims))


def trust(W, G):
    size = norm(G)
    return np.where(size > 0, norm(W) / np.where(size > 0, size, 1), 0)


@pytest.mark.parametrize(
    ("name", "answer"),
    [("adam_step", adam), ("adam_step", by_optax), ("trust", trust)],
)
def test_right(shown, name, answer):
    assert check(f"optimizers.{name}", answer)


def part(index, change):
    """Adam's answer with one of the three parts changed."""

    def answer(t, g, m, v):
        parts = list(adam(t, g, m, v))
        parts[index] = change(parts[index], g, m, v)
        return parts

    return answer


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("adam_step", uncorrected, "too small at step 3"),
        (
            "adam_step",
            lambda *a: adam(*a, inside=1e-8, outside=0.0),
            "inside the root",
        ),
        ("adam_step", lambda *a: adam(*a, sign=-1), "sign of g"),
        ("adam_step", part(1, lambda m, g, old, v: 0.9 * old + g), "averages them"),
        ("adam_step", part(1, lambda m, *_: 2 * m), "0.9 m + 0.1 g"),
        (
            "adam_step",
            part(2, lambda v, g, m, old: 0.999 * old + 0.001 * g),
            "*squares*",
        ),
        ("adam_step", part(2, lambda v, *_: 2 * v), "0.999 v"),
        ("adam_step", part(0, lambda u, *_: -u), "no minus"),
        ("adam_step", part(0, lambda u, *_: 2 * u), "equation (4)"),
        ("adam_step", lambda t, g, m, v: g, "three things"),
        ("adam_step", lambda t, g, m, v: (..., m, v), "Not attempted"),
        ("trust", lambda W, G: 1 / trust(W, G), "upside down"),
        ("trust", lambda W, G: norm(W, None, False) / norm(G, None, False), "whole"),
        ("trust", lambda W, G: trust(W, G)[:, 0, 0], "keepdims"),
        ("trust", lambda W, G: trust(W, G) ** 2, "Take the root"),
        ("trust", lambda W, G: norm(W) / (norm(G) + 1e-30), "its factor shall be 0"),
        ("trust", lambda W, G: 3 * trust(W, G), "of each layer"),
        ("trust", lambda W, G: ..., "Not attempted"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"optimizers.{name}", answer)
    assert hint in shown[-1]["text/plain"].replace("\n", " ")


def test_root_of_the_second_average_is_asked_for(shown):
    def rootless(t, g, m, v):
        _, m, v = adam(t, g, m, v)
        return m / (1 - 0.9**t) / (v / (1 - 0.999**t) + 1e-8), m, v

    assert not check("optimizers.adam_step", rootless)
    assert "*root*" in shown[-1]["text/plain"]
