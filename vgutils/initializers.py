"""Weight initializers by name, each with the variance that it gives a weight."""

from __future__ import annotations

from collections.abc import Callable

import jax
from jax.nn import initializers as jinit

from vgutils import errors

Initializer = Callable[..., jax.Array]  # (key, shape, dtype) -> array


def scaled_normal(sigma_w: float) -> Initializer:
    """W ~ N(0, sigma_w^2 / fan_in): the mean-field convention.

    Args:
        sigma_w: Positive. 1 is LeCun's choice, sqrt(2) He's for ReLU.

    Raises:
        ValueError: `sigma_w` is not positive and finite.
    """
    sigma_w = errors.number("sigma_w", sigma_w, minimum=0, strict=True)
    return jinit.variance_scaling(sigma_w**2, "fan_in", "normal")


def scaled_orthogonal(sigma_w: float = 1.0) -> Initializer:
    """sigma_w times a random orthogonal matrix (Saxe et al., 2014): all singular values sigma_w."""
    return jinit.orthogonal(errors.number("sigma_w", sigma_w, minimum=0, strict=True))


def scaled_delta_orthogonal(sigma_w: float = 1.0) -> Initializer:
    """For convolutions: `scaled_orthogonal` at the kernel's centre, 0 elsewhere.

    A stack of them is as isometric as a stack of orthogonal matrices. The kernel needs as many
    output channels as input channels, or more. Source: Xiao et al. (2018), section 3.
    """
    return jinit.delta_orthogonal(
        errors.number("sigma_w", sigma_w, minimum=0, strict=True)
    )


# The frameworks' defaults for a dense layer are here under the name of what they are.
INITIALIZERS: dict[str, Initializer] = {
    "lecun_normal": jinit.lecun_normal(),  # Flax's default: Var = 1 / fan_in
    "glorot_uniform": jinit.glorot_uniform(),  # Keras's default: Var = 2 / (fan_in + fan_out)
    "glorot_normal": jinit.glorot_normal(),
    "he_normal": jinit.he_normal(),  # Var = 2 / fan_in
    "he_uniform": jinit.he_uniform(),
    # U(-1/sqrt(fan_in), 1/sqrt(fan_in)), PyTorch's default: Var = 1 / (3 fan_in)
    "torch_uniform": jinit.variance_scaling(1 / 3, "fan_in", "uniform"),
    "orthogonal": scaled_orthogonal(),
    "delta_orthogonal": scaled_delta_orthogonal(),
    "zeros": jinit.zeros,
}


def get(initializer: str | Initializer) -> Initializer:
    """Return the initializer that a name stands for; a function stands for itself.

    Raises:
        TypeError: Neither a string nor callable.
        ValueError: An unknown name.
    """
    if callable(initializer):
        return initializer
    return INITIALIZERS[errors.one_of("initializer", initializer, INITIALIZERS)]
