"""Ratios of times, measured side by side: A B A B ..., so that a slow spell hits both."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax


def seconds(run: Callable[[], Any]) -> float:
    """Wall-clock seconds of one call, until its arrays are there."""
    start = time.perf_counter()
    jax.block_until_ready(run())
    return time.perf_counter() - start


def ratio(run: Callable[[], Any], base: Callable[[], Any], repeats: int = 15) -> float:
    """The least time of `run` over the least time of `base`, after a warm-up of each."""
    seconds(run), seconds(base)
    pairs = [(seconds(run), seconds(base)) for _ in range(repeats)]
    return min(a for a, _ in pairs) / min(b for _, b in pairs)
