"""One mesh over all devices of all hosts: examples are split over it, weights are on each device.

The program is the same on one device and on many: the compiler adds the sum of the gradients over
the devices where it sees that the batch is split.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = "batch"


def mesh() -> Mesh:
    """All devices in one row; after `jax.distributed.initialize`, those of all hosts."""
    return Mesh(np.array(jax.devices()), (AXIS,))


def split(tree: Any, over: Mesh) -> Any:
    """Place arrays with their leading axis, the examples, split over the devices.

    Every host gives the whole arrays, and keeps the part of its own devices.

    Raises:
        ValueError: A leading axis is not a multiple of the number of devices.
    """
    for leaf in jax.tree.leaves(tree):
        if len(leaf) % over.size:
            raise ValueError(
                f"the leading axis must be a multiple of the {over.size} devices, got {len(leaf)}"
            )
    return _place(tree, NamedSharding(over, PartitionSpec(AXIS)))


def copy(tree: Any, over: Mesh) -> Any:
    """Place arrays whole on each device."""
    return _place(tree, NamedSharding(over, PartitionSpec()))


def sweep(function: Callable[..., Any], *settings: Any, over: Mesh) -> Any:
    """`vg.sweep` over the devices of all hosts, for any number of settings.

    Where they do not divide by the devices, the last one is repeated, and its copies are dropped.

    Args:
        function: `function(*setting)` gives a pytree of arrays.
        *settings: Pytrees of arrays, or of random keys, with one and the same leading axis.
        over: The devices.

    Returns:
        What `function` gives, with the setting as a new leading axis, whole on every device.
    """
    count = len(jax.tree.leaves(settings)[0])
    filled = count + -count % over.size
    chosen = np.minimum(np.arange(filled), count - 1)

    @partial(jax.jit, out_shardings=NamedSharding(over, PartitionSpec()))
    def run(*settings: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf[:count], jax.vmap(function)(*settings))

    return run(*split(jax.tree.map(lambda leaf: leaf[chosen], settings), over))


def _place(tree: Any, sharding: NamedSharding) -> Any:
    def place(leaf: Any) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(place(jax.random.key_data(leaf)))
        whole = np.asarray(leaf)
        return jax.make_array_from_callback(whole.shape, sharding, whole.__getitem__)

    return jax.tree.map(place, tree)
