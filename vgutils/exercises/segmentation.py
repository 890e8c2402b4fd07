"""The checks of the chapter on brain MRI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


@exercise("segmentation.may_train")
def may_train(answer: Callable[[Any, Any, int], Any]) -> None:
    """Take `may_train(heights, test, gap)`: which of (n,) heights are over `gap` from all tests."""
    heights, test, gap = np.arange(20), np.array([7, 8, 15]), 2
    distance = np.abs(heights[:, None] - test)
    right = distance.min(axis=1) > gap
    got = answer(heights, test, gap)
    if got is None or got is ...:
        raise NotAttempted
    mask = np.asarray(got)
    if mask.shape == right.shape:
        for wrong, hint in (
            (~right, "These are the slices that you may *not* train on."),
            (
                distance.min(axis=1) >= gap,
                "A slice `gap` away touches the gap's last slice: it is one too near.",
            ),
            (
                distance.max(axis=1) > gap,
                "One far test slice is not enough: the *nearest* decides.",
            ),
            (
                ~np.isin(heights, test),
                "You left out the test slices, but not their neighbours.",
            ),
        ):
            if np.array_equal(mask.astype(bool), wrong):
                raise NotYet(hint)
    close(
        mask.astype(float) if mask.dtype == bool else mask,
        right.astype(float),
        hint="True where the nearest test slice is more than `gap` away.",
    )


@exercise("segmentation.layers_above")
def layers_above(answer: Callable[[int, int, bool], Any]) -> None:
    """Take `layers_above(levels, level, skips)`: weight layers from `down{level}` to the loss."""
    cases = [
        (n, k, skips)
        for n in (1, 3, 4)
        for k in range(1, n + 1)
        for skips in (True, False)
    ]
    for levels, level, skips in cases:
        got = answer(levels, level, skips)
        right = 2 * level if skips else 3 * levels - level + 2
        if got is None or got is ...:
            raise NotAttempted
        where = f"levels = {levels}, level = {level}, skips = {skips}"
        if isinstance(got, int | float) and got == right - 1:
            raise NotYet(
                f"At {where}, one layer is missing. Did you count the readout, and the bottom?"
            )
        upside_down = skips and got == 2 * (levels - level) + 2 != right
        if isinstance(got, int | float) and upside_down:
            raise NotYet(
                "Level 1 is the *finest*: it is nearest to the loss, so its path is shortest."
            )
        close(
            got,
            right,
            hint=f"That is for {where}. Follow the path with a finger in `run`.",
        )
