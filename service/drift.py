"""Is what comes in still what the model was tried on? Three numbers an example, one rule.

The rule. An example's *signals* are the mean of its pixels, their standard deviation, and the
model's largest probability. Of each signal a version's manifest holds the mean m, the standard
deviation s and the number n of the held-out examples. Of the last w = 256 examples that came, a
signal's mean is a; its drift is

    z = (a - m) / (s sqrt(1/w + 1/n))

If examples come independently and from where the held-out ones came from, z is close to a
standard normal number: beyond 4 by chance once in 16,000 windows, for three signals once in 5,000.
So |z| > 4 that lasts is an alarm. What it does not say: that the model is wrong. One user who sends
one image a hundred times raises it too, and a model can be wrong on images whose signals look the
same.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import numpy as np

WINDOW, ALARM = 256, 4.0
SIGNALS = ("brightness", "contrast", "confidence")


def signals(x: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The signals of (n, features) inputs and their (n, classes) answers: (n, 3)."""
    return np.stack([x.mean(1), x.std(1), probabilities.max(1)], axis=1)


def reference(x: np.ndarray, probabilities: np.ndarray) -> dict[str, Any]:
    """What a manifest keeps of held-out examples."""
    seen = signals(x, probabilities)
    return {
        "count": len(seen),
        "mean": seen.mean(0, np.float64).tolist(),
        "std": seen.std(0, np.float64).tolist(),
    }


class Drift:
    """The drift of the last `WINDOW` examples of one version."""

    def __init__(self, reference: dict[str, Any]) -> None:
        self.mean = np.array(reference["mean"], np.float64)
        spread = math.sqrt(1 / WINDOW + 1 / reference["count"])
        self.error = np.array(reference["std"], np.float64) * spread
        self.window: deque[np.ndarray] = deque(maxlen=WINDOW)

    def add(self, x: np.ndarray, probabilities: np.ndarray) -> None:
        """Take in what a request asked and was told."""
        self.window.extend(signals(x, probabilities))

    def z(self) -> dict[str, float]:
        """The drift of each signal; NaN until the window is full."""
        if len(self.window) < WINDOW:
            return dict.fromkeys(SIGNALS, math.nan)
        z = (np.mean(self.window, axis=0) - self.mean) / self.error
        return dict(zip(SIGNALS, z.tolist(), strict=True))
