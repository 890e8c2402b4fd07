"""Ratios of times, measured side by side: A B A B ..., so that a slow spell hits both."""

from __future__ import annotations

import statistics
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
    """The median, over pairs, of the time of `run` over that of `base`, after a warm-up of each.

    A pair's two runs take turns in going first, so that neither always follows the other.
    """
    seconds(run), seconds(base)
    ratios = []
    for i in range(repeats):
        if i % 2:
            below, above = seconds(base), seconds(run)
        else:
            above, below = seconds(run), seconds(base)
        ratios.append(above / below)
    return statistics.median(ratios)
