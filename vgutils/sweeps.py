"""One experiment at many settings, as one program on all devices."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec


def sweep(function: Callable[..., Any], *settings: Any) -> Any:
    """Run `function` once for each setting: `vmap` over them, their axis split over the devices.

    After `jax.distributed.initialize` the devices of all hosts take part, each of which makes the
    same call.

    Args:
        function: `function(*setting)` gives a pytree of arrays. It is traced once, so what differs
            between settings must be arrays, not shapes or names.
        *settings: Pytrees of arrays whose leading axis is the setting; `jax.random.split(key, n)`
            is one.

    Returns:
        What `function` gives, with the setting as a new leading axis, whole on every device.

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
    count = sizes.pop()
    devices = Mesh(np.array(jax.devices()), ("setting",))
    # Where the settings do not divide by the devices, the last one is repeated, and then dropped.
    chosen = np.minimum(np.arange(count + -count % devices.size), count - 1)

    @partial(jax.jit, out_shardings=NamedSharding(devices, PartitionSpec()))
    def run(*settings: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[:count], jax.vmap(function)(*settings))

    filled = jax.tree.map(lambda leaf: leaf[chosen], settings)
    return run(*place(filled, NamedSharding(devices, PartitionSpec("setting"))))


def place(tree: Any, sharding: NamedSharding) -> Any:
    """Put arrays, or random keys, on devices, those of other hosts included.

    Args:
        tree: A pytree of arrays, the whole of each on every host, which keeps its own part.
        sharding: Which part belongs to which device.
    """

    def put(leaf: Any) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            keys = put(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(keys, impl=jax.random.key_impl(leaf))
        whole = np.asarray(leaf)
        return jax.make_array_from_callback(whole.shape, sharding, whole.__getitem__)

    return jax.tree.map(put, tree)
