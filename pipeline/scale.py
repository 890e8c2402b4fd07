"""One mesh over all devices of all hosts: examples are split over it, weights are on each device.

The program is the same on one device and on many: the compiler adds the sum of the gradients over
the devices where it sees that the batch is split.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from vgutils.sweeps import place

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
    return place(tree, NamedSharding(over, PartitionSpec(AXIS)))


def copy(tree: Any, over: Mesh) -> Any:
    """Place arrays whole on each device."""
    return place(tree, NamedSharding(over, PartitionSpec()))
