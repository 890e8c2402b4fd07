"""Made sequences that can only be solved by remembering, with what a memoryless guess scores."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from vgutils import errors


def adding(key: jax.Array, length: int, batch: int) -> tuple[jax.Array, jax.Array]:
    """The adding problem: report the sum of the two numbers that were marked.

    Each step brings a number and a marker. The numbers are uniform on [0, 1). Exactly two markers
    are 1: one at a uniformly drawn step of the first half, one of the second half. Always answering
    1, the mean, scores the variance of the sum of two uniforms, a mean squared error of 1/6.

    Args:
        key: From `jax.random.key`.
        length: Steps, at least 2.
        batch: Sequences, at least 1.

    Returns:
        x: (batch, length, 2) float32, at [..., 0] the number and at [..., 1] the marker.
        y: (batch,) float32, the sum of the two marked numbers.

    Raises:
        TypeError, ValueError: An argument is not what is described here.

    Source: Hochreiter and Schmidhuber (1997), experiment 4, in the form of Arjovsky et al. (2016).
    """
    _check_key(key)
    length = errors.integer("length", length, minimum=2)
    batch = errors.integer("batch", batch, minimum=1)
    # One draw for all: the two marks are uniform numbers times what they choose from.
    draws = jax.random.uniform(key, (batch, length + 2))
    numbers, half = draws[:, :length], length // 2
    first = jnp.int32(draws[:, length] * half)
    second = half + jnp.int32(draws[:, length + 1] * (length - half))
    marks = jax.nn.one_hot(first, length) + jax.nn.one_hot(second, length)
    return jnp.stack([numbers, marks], axis=-1), jnp.sum(numbers * marks, axis=1)


def copying(
    key: jax.Array, length: int, batch: int, *, symbols: int = 8, word: int = 10
) -> tuple[jax.Array, jax.Array]:
    """The copy problem: repeat a word, `length` steps after it was read.

    In: the word, length - 1 blanks, a delimiter, `word` blanks. Out: length + word blanks, then the
    word. Symbols are 0 to symbols - 1, the blank is `symbols`, the delimiter `symbols` + 1. Knowing
    when to answer but not what scores a mean cross-entropy of word ln(symbols) / (length + 2 word).

    Args:
        key: From `jax.random.key`.
        length: Steps between the word and its copy, at least 1.
        batch: Sequences, at least 1.
        symbols: Different symbols, at least 2.
        word: Symbols to remember, at least 1.

    Returns:
        x, y: (batch, length + 2 word) int32 each; `jax.nn.one_hot(x, symbols + 2)` is the input.

    Raises:
        TypeError, ValueError: An argument is not what is described here.

    Source: Arjovsky et al. (2016), section 5.1, after Hochreiter and Schmidhuber (1997).
    """
    _check_key(key)
    length = errors.integer("length", length, minimum=1)
    batch = errors.integer("batch", batch, minimum=1)
    symbols = errors.integer("symbols", symbols, minimum=2)
    word = errors.integer("word", word, minimum=1)
    words = jax.random.randint(key, (batch, word), 0, symbols)

    def blanks(steps: int) -> jax.Array:
        return jnp.full((batch, steps), symbols)

    x = jnp.concatenate(
        [words, blanks(length - 1), blanks(1) + 1, blanks(word)], axis=1
    )
    return x, jnp.concatenate([blanks(length + word), words], axis=1)


def _check_key(key: Any) -> None:
    """One key, new style or old, concrete or traced."""
    dtype, shape = getattr(key, "dtype", None), getattr(key, "shape", None)
    if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key):
        if shape == ():
            return
    elif dtype == jnp.uint32 and shape == (2,):
        return
    raise TypeError(f"key must be one key from jax.random.key, got {key!r}")
