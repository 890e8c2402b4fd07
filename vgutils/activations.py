"""Activation functions by name: the one list that models and theory share."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from vgutils import errors

Activation = Callable[[jax.Array], jax.Array]


def linear(z: jax.Array) -> jax.Array:
    """The identity: any shape and dtype, unchanged."""
    return z


ACTIVATIONS: dict[str, Activation] = {
    "linear": linear,
    "sigmoid": jax.nn.sigmoid,
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "softplus": jax.nn.softplus,
    "softsign": jax.nn.soft_sign,
    "hard_tanh": jax.nn.hard_tanh,
}


def get(activation: str | Activation) -> Activation:
    """Return the elementwise function that a name stands for; a function stands for itself.

    Raises:
        TypeError: Neither a string nor callable.
        ValueError: An unknown name.
    """
    if callable(activation):
        return activation
    return ACTIVATIONS[errors.one_of("activation", activation, ACTIVATIONS)]
