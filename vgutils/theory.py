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
        TypeError: `function` is not a scalar map: it changes the shape, or mixes elements.
        ValueError: A negative variance, or values of `function` that are not finite.
    """
    errors.number("variance", variance, minimum=0)
    return float(_WEIGHTS @ _values(function, np.sqrt(variance) * _NODES))


def _values(function: Function, z: np.ndarray, name: str = "function") -> np.ndarray:
    """f(z) in float64, after checking that f acts on each element alone and stays finite."""
    with float64():
        values = np.asarray(function(jnp.asarray(z)), dtype=np.float64)
        if values.shape == z.shape:
            middle = z.shape[-1] // 3
            alone = np.asarray(function(jnp.asarray(z[..., middle : middle + 1])))
    if values.shape != z.shape or not np.allclose(
        alone, values[..., middle : middle + 1], rtol=1e-9, atol=1e-12, equal_nan=True
    ):
        raise TypeError(
            f"{name} must map each element alone to a number, got {function!r}"
        )
    bad = z[~np.isfinite(values)]
    if bad.size:
        raise ValueError(
            f"{name} must be finite, got {values[~np.isfinite(values)][0]} at {bad[0]:.3g}"
        )
    return values


# The directions of a plane are cut where either of two variables is 0, and each cut is one
# Gauss-Legendre rule: the integrand is smooth in between.
_CIRCLE_NODES, _CIRCLE_WEIGHTS = np.polynomial.legendre.leggauss(64)
_RADII = _HALF[:, None]


def expectation_of_pair(
    function: Function, c: float, *, variance: float = 1.0
) -> float:
    """E[f(u) f(v)] for Gaussian u, v of one variance and correlation `c`, in float64.

    Integrated in polar coordinates, where the kinks of a function that is smooth except at 0 lie on
    four rays.

    Args:
        function: Elementwise; smooth except perhaps at 0.
        c: From -1 to 1.
        variance: At least 0.

    Raises:
        TypeError: `function` is not a scalar map.
        ValueError: `c` or `variance` is out of range, or values of `function` are not finite.
    """
    angle = np.arccos(errors.number("c", c, minimum=-1, maximum=1))
    scale = np.sqrt(errors.number("variance", variance, minimum=0))
    # u = r cos(t) and v = r cos(t - angle) vanish where t, or t - angle, is a quarter turn.
    cuts = np.sort(np.pi / 2 + np.array([0, np.pi, angle, angle + np.pi]))
    total = 0.0
    for start, end in zip(cuts, [*cuts[1:], cuts[0] + 2 * np.pi], strict=True):
        if end - start > 1e-9:
            half = (end - start) / 2
            t = start + half * (1 + _CIRCLE_NODES)
            u, v = _RADII * np.cos(t), _RADII * np.cos(t - angle)
            product = _values(function, scale * u) * _values(function, scale * v)
            radial = 6.0 * _LEGENDRE_WEIGHTS * _HALF * np.exp(-(_HALF**2) / 2)
            total += float(half * radial @ product @ _CIRCLE_WEIGHTS)
    return total / (2 * np.pi)


def _scalar_map(activation: str | Activation) -> Activation:
    """The activation, after checking that it is one: `jax.grad` would not notice."""
    phi = activations.get(activation)
    _values(phi, _NODES, "activation")
    return phi


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
    phi = _scalar_map(activation)
    return sigma_w**2 * expectation(lambda z: phi(z) ** 2, variance=q) + sigma_b**2


def chi_1(activation: str | Activation, q: float, *, sigma_w: float) -> float:
    """The factor on the squared gradient norm at one layer: sigma_w^2 E[phi'(z)^2], z ~ N(0, q).

    Below 1 the gradient vanishes with depth, above 1 it explodes.
    Source: Poole et al. (2016), eq. (5); Schoenholz et al. (2017), eq. (7).
    """
    sigma_w, _ = _sigmas(sigma_w, 0.0)
    derivative = slope(_scalar_map(activation))
    return sigma_w**2 * expectation(lambda z: derivative(z) ** 2, variance=q)


def fixed_point(
    activation: str | Activation,
    *,
    sigma_w: float,
    sigma_b: float = 0.0,
    start: float = 1.0,
) -> float:
    """The variance q* that a deep network settles at: q* = length_map(q*).

    Iterates from `start`, which decides where there are several. Every third value is Aitken's
    extrapolation of the last ones: near the edge of chaos the iteration alone takes thousands.

    Raises:
        ValueError: The variance grows without bound, or has not settled; the message says by how
            much it still changes.
    """
    _sigmas(sigma_w, sigma_b)

    def step(q: float) -> float:
        return length_map(activation, q, sigma_w=sigma_w, sigma_b=sigma_b)

    q = errors.number("start", start, minimum=0)
    change = np.inf
    for _ in range(1000):
        one = step(q)
        change = one - q
        if abs(change) <= 1e-13 * max(one, 1e-3):
            return one
        two = step(one)
        if two > 1e12:
            break
        # Only where changes shrink: elsewhere the extrapolation finds the point that the
        # iteration runs away from.
        if abs(two - one) < abs(change):
            two = max(q - change**2 / (two - 2 * one + q), 0.0)
        q = two
    raise ValueError(
        f"sigma_w={sigma_w} and sigma_b={sigma_b} lead to no finite fixed point from q={start}: "
        f"at q={q:.6g} a layer still changes it by {change:.3g}"
    )


def depth_scale(
    activation: str | Activation, *, sigma_w: float, sigma_b: float = 0.0
) -> float:
    """The number of layers over which the squared gradient changes by a factor e: 1/|ln chi_1|.

    Infinite at the edge of chaos. Source: Schoenholz et al. (2017), eq. (9).
    """
    q_star = fixed_point(activation, sigma_w=sigma_w, sigma_b=sigma_b)
    return _scale_of(chi_1(activation, q_star, sigma_w=sigma_w))


def _scale_of(factor: float) -> float:
    log = np.log(factor)
    return float(np.inf) if log == 0 else float(1 / abs(log))


def edge_of_chaos(activation: str | Activation, q: float) -> tuple[float, float]:
    """The point of the edge of chaos whose fixed point is q: (sigma_w, sigma_b).

    There chi_1 = 1, so sigma_w^2 = 1 / E[phi'(z)^2], and q = length_map(q) gives sigma_b.
    Source: Pennington et al. (2017), section 3.

    Args:
        activation: A name or an elementwise function.
        q: Positive.

    Raises:
        ValueError: No such point: sigma_b^2 would be negative.
    """
    q = errors.number("q", q, minimum=0, strict=True)
    sigma_w = gain(activation, q, backward=True)
    left = q - length_map(activation, q, sigma_w=sigma_w)
    if left < -1e-12 * q:
        raise ValueError(
            f"q={q} is no fixed point on the edge of chaos: sigma_b^2 would be {left:.3g}"
        )
    return sigma_w, float(np.sqrt(max(left, 0.0)))


def critical_sigma_w(activation: str | Activation, *, sigma_b: float) -> float:
    """The sigma_w of the edge of chaos for a given sigma_b.

    Searches the curve that `edge_of_chaos` follows as q grows from 1e-6 to 100.

    Raises:
        ValueError: The edge does not pass `sigma_b` in that range; the message has the nearest.
    """
    from scipy import optimize  # JAX brings it.

    _sigmas(1.0, sigma_b)

    def excess(log_q: float) -> float:
        q = np.exp(log_q)
        sigma_w = gain(activation, q, backward=True)
        return q - length_map(activation, q, sigma_w=sigma_w) - sigma_b**2

    ends = np.log([1e-6, 100.0])
    at_ends = [excess(end) for end in ends]
    if at_ends[0] * at_ends[1] > 0:
        nearest = min(at_ends, key=abs) + sigma_b**2
        raise ValueError(
            f"sigma_b={sigma_b} is not on the edge of chaos for q from 1e-6 to 100: the nearest "
            f"sigma_b^2 is {nearest:.3g}"
        )
    log_q = optimize.brentq(excess, *ends, xtol=1e-14, rtol=1e-14)
    return gain(activation, float(np.exp(log_q)), backward=True)


def gain(
    activation: str | Activation, q: float = 1.0, *, backward: bool = False
) -> float:
    """The sigma_w at which a layer without biases keeps the size of a signal.

    Forward, that of the pre-activations: sigma_w^2 E[phi(z)^2] = q. Backward, that of the
    gradient: sigma_w^2 E[phi'(z)^2] = 1. With z ~ N(0, q); the two agree for ReLU and its leaky
    kin only.

    Args:
        activation: A name or an elementwise function.
        q: The variance of the pre-activations, positive.
        backward: Which of the two.

    Raises:
        ValueError: The activation, or its derivative, is 0 everywhere; no weights make up for it.
    """
    q = errors.number("q", q, minimum=0, strict=True)
    if backward:
        size = chi_1(activation, q, sigma_w=1.0)
    else:
        size = length_map(activation, q, sigma_w=1.0) / q
    if not size > 0:
        raise ValueError(f"activation {activation!r} lets nothing through at q={q}")
    return float(1 / np.sqrt(size))


# --- two inputs -----------------------------------------------------------------------------------


def correlation_map(
    activation: str | Activation,
    c: float,
    *,
    q: float,
    sigma_w: float,
    sigma_b: float = 0.0,
) -> float:
    """The correlation of two inputs' pre-activations one layer on, both of variance `q`.

    Args:
        activation: A name or an elementwise function.
        c: Their correlation now, from -1 to 1.
        q: The variance, a fixed point of the length map (or the result is no correlation).
        sigma_w: Standard deviation of the weights times sqrt(fan_in).
        sigma_b: Standard deviation of the biases.

    Source: Poole et al. (2016), eq. (4).
    """
    sigma_w, sigma_b = _sigmas(sigma_w, sigma_b)
    q = errors.number("q", q, minimum=0, strict=True)
    pair = expectation_of_pair(_scalar_map(activation), c, variance=q)
    return (sigma_w**2 * pair + sigma_b**2) / q


def chi(activation: str | Activation, c: float, *, q: float, sigma_w: float) -> float:
    """The slope of the correlation map at `c`: sigma_w^2 E[phi'(u) phi'(v)]; `chi_1` at c = 1.

    Source: Poole et al. (2016), eq. (5).
    """
    sigma_w, _ = _sigmas(sigma_w, 0.0)
    q = errors.number("q", q, minimum=0, strict=True)
    return sigma_w**2 * expectation_of_pair(
        slope(_scalar_map(activation)), c, variance=q
    )


def fixed_correlation(
    activation: str | Activation, *, sigma_w: float, sigma_b: float = 0.0
) -> float:
    """The correlation c* that any two inputs settle at: 1 in the ordered phase, less in chaos.

    Raises:
        ValueError: No finite variance to settle at, or the solver did not converge.
    """
    from scipy import optimize

    q = fixed_point(activation, sigma_w=sigma_w, sigma_b=sigma_b)
    if chi_1(activation, q, sigma_w=sigma_w) <= 1 + 1e-9:
        return 1.0

    def excess(c: float) -> float:
        return correlation_map(activation, c, q=q, sigma_w=sigma_w, sigma_b=sigma_b) - c

    # 1 is always a root, and in chaos an unstable one: just below it the map lies under the
    # diagonal, and at 0 it lies above, for E[phi(u) phi(v)] = E[phi]^2 there.
    if excess(0.0) <= 1e-12:
        return 0.0
    below = 1 - np.geomspace(1e-6, 0.5, 40)
    upper = next((c for c in below if excess(c) < 0), None)
    if upper is None:
        raise ValueError(
            f"sigma_w={sigma_w} and sigma_b={sigma_b}: no fixed correlation found below 1; at "
            f"c={below[0]} the map is {excess(below[0]):.3g} above the diagonal"
        )
    return float(optimize.brentq(excess, 0.0, upper, xtol=1e-13))


def correlation_depth_scale(
    activation: str | Activation, *, sigma_w: float, sigma_b: float = 0.0
) -> float:
    """The number of layers over which two inputs' correlation nears c* by a factor e: xi_c.

    1/|ln chi(c*)|; equal to `depth_scale` in the ordered phase. Infinite at the edge of chaos.
    Source: Schoenholz et al. (2017), eq. (9).
    """
    q = fixed_point(activation, sigma_w=sigma_w, sigma_b=sigma_b)
    c = fixed_correlation(activation, sigma_w=sigma_w, sigma_b=sigma_b)
    if c == 1.0:
        return _scale_of(chi_1(activation, q, sigma_w=sigma_w))
    return _scale_of(chi(activation, c, q=q, sigma_w=sigma_w))


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
