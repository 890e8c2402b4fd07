"""Closed forms: what a wide random network is expected to do, computed in float64.

A layer is z_l = W_l h_{l-1} + b_l, h_l = phi(z_l), with W_ij ~ N(0, sigma_w^2 / fan_in) and
b_i ~ N(0, sigma_b^2). In the limit of large width the pre-activations are Gaussian with variance
q_l, and every expectation below is over one Gaussian (Poole et al., 2016; Schoenholz et al., 2017).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax
import jax.numpy as jnp
import numpy as np

from vgutils import activations, errors
from vgutils.activations import Activation

Function = Callable[[jax.Array], jax.Array]

# Nodes on both sides of zero, where the kink of a ReLU is, and out to 12 standard deviations,
# beyond which a Gaussian holds less than 1e-32 of its mass.
_LEGENDRE_NODES, _LEGENDRE_WEIGHTS = np.polynomial.legendre.leggauss(128)
_HALF = 6.0 * (_LEGENDRE_NODES + 1.0)
_NODES = np.concatenate([-_HALF[::-1], _HALF])
_DENSITY = np.exp(-(_NODES**2) / 2) / np.sqrt(2 * np.pi)
_WEIGHTS = 6.0 * np.concatenate([_LEGENDRE_WEIGHTS[::-1], _LEGENDRE_WEIGHTS]) * _DENSITY


@contextmanager
def float64() -> Iterator[None]:
    """Compute in float64 on the CPU, whatever the default precision and device are."""
    # The newer name of the two; Colab's JAX has only the other.
    if hasattr(jax, "enable_x64"):
        enable_x64 = jax.enable_x64
    else:
        from jax.experimental import enable_x64  # type: ignore[attr-defined, no-redef]
    with enable_x64(True), jax.default_device(jax.local_devices(backend="cpu")[0]):
        yield


def expectation(function: Function, *, variance: float = 1.0) -> float:
    """E[f(z)] for z ~ N(0, variance), by Gauss-Legendre quadrature in float64.

    Args:
        function: Elementwise; smooth except perhaps at 0. Called on a (256,) float64 array.
        variance: At least 0.

    Raises:
        ValueError: A negative variance.
    """
    errors.number("variance", variance, minimum=0)
    with float64():
        values = function(jnp.asarray(np.sqrt(variance) * _NODES))
        return float(_WEIGHTS @ np.asarray(values, dtype=np.float64))


def slope(activation: str | Activation) -> Function:
    """The elementwise derivative phi'(z) of an activation, for arrays of any shape."""
    phi = activations.get(activation)
    return jnp.vectorize(jax.grad(phi))


def length_map(
    activation: str | Activation, q: float, *, sigma_w: float, sigma_b: float = 0.0
) -> float:
    """The pre-activation variance one layer on: sigma_w^2 E[phi(z)^2] + sigma_b^2, z ~ N(0, q).

    Source: Poole et al. (2016), eq. (3).
    """
    sigma_w, sigma_b = _sigmas(sigma_w, sigma_b)
    phi = activations.get(activation)
    return sigma_w**2 * expectation(lambda z: phi(z) ** 2, variance=q) + sigma_b**2


def chi_1(activation: str | Activation, q: float, *, sigma_w: float) -> float:
    """The factor on the squared gradient norm at one layer: sigma_w^2 E[phi'(z)^2], z ~ N(0, q).

    Below 1 the gradient vanishes with depth, above 1 it explodes.
    Source: Poole et al. (2016), eq. (5); Schoenholz et al. (2017), eq. (7).
    """
    sigma_w, _ = _sigmas(sigma_w, 0.0)
    derivative = slope(activation)
    return sigma_w**2 * expectation(lambda z: derivative(z) ** 2, variance=q)


def fixed_point(
    activation: str | Activation,
    *,
    sigma_w: float,
    sigma_b: float = 0.0,
    start: float = 1.0,
) -> float:
    """The variance q* that a deep network settles at: q* = length_map(q*).

    Iterates from `start`, which decides where there are several.

    Raises:
        ValueError: The variance grows without bound, or has not settled after 10,000 layers.
    """
    q = errors.number("start", start, minimum=0)
    for _ in range(10_000):
        new = length_map(activation, q, sigma_w=sigma_w, sigma_b=sigma_b)
        if abs(new - q) <= 1e-13 * max(new, 1e-3):
            return new
        if new > 1e12:
            break
        q = new
    raise ValueError(
        f"sigma_w={sigma_w} and sigma_b={sigma_b} lead to no finite fixed point from q={start}"
    )


def depth_scale(
    activation: str | Activation, *, sigma_w: float, sigma_b: float = 0.0
) -> float:
    """The number of layers over which the squared gradient changes by a factor e: 1/|ln chi_1|.

    Infinite at the edge of chaos. Source: Schoenholz et al. (2017), eq. (9).
    """
    q_star = fixed_point(activation, sigma_w=sigma_w, sigma_b=sigma_b)
    log_chi = np.log(chi_1(activation, q_star, sigma_w=sigma_w))
    return float(np.inf) if log_chi == 0 else float(1 / abs(log_chi))


def gradient_profile(
    activation: str | Activation,
    depth: int,
    *,
    q: float,
    sigma_w: float,
    sigma_b: float = 0.0,
) -> np.ndarray:
    """The expected norm of dL/dz_l over that of dL/dz_depth, for equal widths.

    Args:
        activation: A name or an elementwise function.
        depth: The number of layers, at least 1.
        q: The pre-activation variance of layer 1.
        sigma_w: Standard deviation of the weights times sqrt(fan_in).
        sigma_b: Standard deviation of the biases.

    Returns:
        (depth,) float64: layer 1 first; the last entry is 1. The root of a product of `chi_1`, one
        factor a layer, each at that layer's own variance.
    """
    errors.integer("depth", depth, minimum=1)
    squared = np.ones(depth)
    for layer in range(depth - 1):
        squared[layer] = chi_1(activation, q, sigma_w=sigma_w)
        q = length_map(activation, q, sigma_w=sigma_w, sigma_b=sigma_b)
    # Layer l is crossed by the factors of the layers l .. depth-1; logs, because a product of a
    # thousand factors leaves float64.
    return np.exp(0.5 * np.cumsum(np.log(squared)[::-1])[::-1])


def _sigmas(sigma_w: float, sigma_b: float) -> tuple[float, float]:
    return (
        errors.number("sigma_w", sigma_w, minimum=0, strict=True),
        errors.number("sigma_b", sigma_b, minimum=0),
    )
