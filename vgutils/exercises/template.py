"""Checks of the template that new chapters start from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vgutils.exercises import NotYet, close, exercise


@exercise("template.sigma_w")
def sigma_w(answer: Callable[[int, float], float]) -> None:
    """Take `sigma_w(fan_in, wanted)`: the weights' standard deviation for a wanted one of z."""
    got = answer(16, 3.0)
    for wrong, hint in {
        3.0
        / 16: "Variances add up, not standard deviations: take the square root of fan_in.",
        3.0 * 4: "More inputs need *smaller* weights.",
    }.items():
        if np.shape(got) == () and got == wrong:
            raise NotYet(hint)
    close(got, 0.75, hint="Equation (2): wanted² = sigma_w² × fan_in.")
