"""Made sequences against what their sources say of them."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgutils.sequences import adding, copying

sizes = settings(deadline=None, max_examples=10)


@sizes
@given(st.integers(2, 12), st.integers(1, 6), st.integers(0, 9))
def test_adding_marks_one_number_in_each_half(length, batch, seed):
    x, y = map(np.asarray, adding(jax.random.key(seed), length, batch))
    numbers, marks = x[..., 0], x[..., 1]
    half = length // 2
    assert x.shape == (batch, length, 2)
    assert x.dtype == y.dtype == np.float32
    assert set(np.unique(marks)) <= {0, 1}
    assert (marks[:, :half].sum(1) == 1).all()
    assert (marks[:, half:].sum(1) == 1).all()
    assert ((numbers >= 0) & (numbers < 1)).all()
    by_hand = [
        sum(n for n, m in zip(*row, strict=True) if m)
        for row in zip(numbers, marks, strict=True)
    ]
    np.testing.assert_allclose(y, by_hand, rtol=1e-6)


def test_the_mean_scores_a_sixth_and_every_step_can_be_marked():
    x, y = adding(jax.random.key(0), 5, 20_000)
    # Var (S - 1)^2 = E(S - 1)^4 - 1/36 = 1/15 - 1/36 for the triangular sum S.
    error = np.sqrt((1 / 15 - 1 / 36) / 20_000)
    assert abs(np.mean((np.asarray(y) - 1) ** 2) - 1 / 6) < 5 * error
    share = np.asarray(x[..., 1]).mean(0)
    np.testing.assert_allclose(share, [1 / 2] * 2 + [1 / 3] * 3, atol=0.02)


@sizes
@given(st.integers(1, 9), st.integers(1, 4), st.integers(2, 5), st.integers(1, 6))
def test_copying_repeats_the_word_after_its_gap(length, batch, symbols, word):
    x, y = map(
        np.asarray,
        copying(jax.random.key(3), length, batch, symbols=symbols, word=word),
    )
    total = length + 2 * word
    assert x.shape == y.shape == (batch, total)
    assert np.issubdtype(x.dtype, np.integer)
    blank, delimiter = symbols, symbols + 1
    for i, o in zip(x, y, strict=True):
        assert i[:word].tolist() == o[-word:].tolist()
        assert (i[:word] < symbols).all()
        assert (o[:-word] == blank).all()
        assert (
            i[word:].tolist() == [blank] * (length - 1) + [delimiter] + [blank] * word
        )


def test_copying_draws_every_symbol():
    x, _ = copying(jax.random.key(1), 3, 4000)
    shares = np.bincount(np.asarray(x[:, :10]).ravel(), minlength=8) / 40_000
    np.testing.assert_allclose(shares, 1 / 8, atol=5 * np.sqrt(7 / 64 / 40_000))


def test_old_and_traced_keys_are_keys():
    assert adding(jax.random.PRNGKey(0), 4, 1)[0].shape == (1, 4, 2)
    keys = jax.random.split(jax.random.key(0), 3)
    assert jax.vmap(lambda k: adding(k, 4, 2)[1])(keys).shape == (3, 2)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda k: adding(k, 1, 2), ValueError, "length must be at least 2"),
        (lambda k: adding(k, 2.5, 2), TypeError, "length must be an integer"),
        (lambda k: adding(k, 4, 0), ValueError, "batch must be at least 1"),
        (lambda k: adding(0, 4, 1), TypeError, "key must be one key"),
        (lambda k: adding(jax.random.split(k), 4, 1), TypeError, "key must be one key"),
        (lambda k: copying(k, 0, 1), ValueError, "length must be at least 1"),
        (lambda k: copying(k, 4, 1, symbols=1), ValueError, "symbols must be at least"),
        (lambda k: copying(k, 4, 1, word=0), ValueError, "word must be at least 1"),
        (lambda k: copying(k, 4, True), TypeError, "batch must be an integer"),
    ],
)
def test_bad_input_is_named(call, error, words):
    with pytest.raises(error, match=words):
        call(jax.random.key(0))
