"""One experiment at many settings, as one program on all devices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def sweep(function: Callable[..., Any], *settings: Any) -> Any:
    """Run `function` once for each setting: `vmap` over them, their axis split over the devices.

    Args:
        function: `function(*setting)` gives a pytree of arrays. It is traced once, so what differs
            between settings must be arrays, not shapes or names.
        *settings: Pytrees of arrays whose leading axis is the setting; `jax.random.split(key, n)`
            is one.

    Returns:
        What `function` gives, with the setting as a new leading axis.

    Raises:
        TypeError: `function` is not callable.
        ValueError: There is no setting, or the leading axes differ.

    Example:
        >>> sigmas = jnp.linspace(1.0, 2.0, 9)
        >>> sweep(lambda sigma: sigma**2, sigmas)
    """
    if not callable(function):
        raise TypeError(f"function must be callable, got {function!r}")
    settings = jax.tree.map(jnp.asarray, settings)
    shapes = [leaf.shape for leaf in jax.tree.leaves(settings)]
    sizes = {shape[0] if shape else 0 for shape in shapes}
    if len(sizes) != 1 or sizes == {0}:
        raise ValueError(
            f"settings must be arrays with one and the same leading axis, got shapes {shapes}"
        )
    split = _over_devices(sizes.pop())
    return jax.jit(jax.vmap(function))(*jax.device_put(settings, split))


def _over_devices(size: int) -> NamedSharding:
    """Split a leading axis over as many devices as divide it evenly."""
    devices = jax.devices()
    count = max(n for n in range(1, len(devices) + 1) if size % n == 0)
    mesh = Mesh(np.array(devices[:count]), ("setting",))
    return NamedSharding(mesh, PartitionSpec("setting"))
