"""What the environment decides: the seed and how large an experiment may be."""

from __future__ import annotations

import os
from typing import TypeVar

from vgutils import errors

T = TypeVar("T")


def seed(base: int = 0) -> int:
    """The seed of a chapter: `base` shifted by the environment variable `VG_SEED`.

    Args:
        base: A non-negative integer.

    Returns:
        `base + 1000 * VG_SEED`, so that shifted runs share no seed with the plain one.

    Raises:
        ValueError: `VG_SEED` is not a non-negative integer.
    """
    shift = os.environ.get("VG_SEED", "0")
    if not shift.isdecimal():
        raise ValueError(f"VG_SEED must be a non-negative integer, got {shift!r}")
    return errors.integer("base", base, minimum=0) + 1000 * int(shift)


def size(*, cpu: T, accelerator: T) -> T:
    """Choose a size by backend: small enough for two cores, larger on a GPU or TPU.

    Args:
        cpu: The value used where JAX computes on the CPU.
        accelerator: The value used on anything else.
    """
    import jax

    return cpu if jax.default_backend() == "cpu" else accelerator
