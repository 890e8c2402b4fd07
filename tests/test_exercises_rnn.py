"""The checks of the chapter on backpropagation through time."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from vgutils.exercises import check


def step_back(dh, h, h_before, kernel):
    delta = (1 - h**2) * dh
    return delta @ kernel.T, h_before.T @ delta


def by_sums(dh, h, h_before, kernel):
    delta = jnp.asarray((1 - h**2) * dh)
    return [
        jnp.einsum("bj,ij->bi", delta, kernel),
        jnp.einsum("bi,bj->ij", h_before, delta),
    ]


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("step_back", step_back),
        ("step_back", by_sums),
        ("input_size", lambda steps, kept: -(2**0.5) * np.log(kept) / steps),
        ("input_size", lambda steps, kept: jnp.log(1 / kept) * jnp.sqrt(2) / steps),
    ],
)
def test_right(shown, name, answer):
    assert check(f"rnn.{name}", answer)


def changed(before=None, term=None):
    """The right step back, with one of the two parts made by another rule."""

    def answer(dh, h, h_before, kernel):
        given = (dh, h, h_before, kernel)
        right = step_back(*given)
        return tuple(
            rule(*given) if rule else part
            for rule, part in zip((before, term), right, strict=True)
        )

    return answer


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        (
            "step_back",
            changed(lambda dh, h, hb, k: ((1 - h**2) * dh) @ k),
            "its transpose",
        ),
        ("step_back", changed(lambda dh, h, hb, k: dh @ k.T), "slope of tanh is miss"),
        (
            "step_back",
            changed(lambda dh, h, hb, k: ((1 - hb**2) * dh) @ k.T),
            "not `h_before`",
        ),
        (
            "step_back",
            changed(None, lambda dh, h, hb, k: ((1 - h**2) * dh).T @ hb),
            "kernel's transpose",
        ),
        (
            "step_back",
            changed(None, lambda dh, h, hb, k: h.T @ ((1 - h**2) * dh)),
            "before the step",
        ),
        ("step_back", changed(None, lambda dh, h, hb, k: hb), "shape should be"),
        ("step_back", lambda dh, h, hb, k: dh, "two things"),
        ("step_back", lambda dh, h, hb, k: (..., ...), "Not attempted"),
        ("input_size", lambda steps, kept: 2**0.5 * np.log(kept) / steps, "sign"),
        ("input_size", lambda steps, kept: -(2**0.5) * np.log(kept), "one step"),
        ("input_size", lambda steps, kept: -(0.5**0.5) * np.log(kept) / steps, "divid"),
        ("input_size", lambda steps, kept: -np.log(kept) / steps, "is missing"),
        ("input_size", lambda steps, kept: 1.0, "to the power of"),
        ("input_size", lambda steps, kept: ..., "Not attempted"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"rnn.{name}", answer)
    assert hint in shown[-1]["text/plain"]
