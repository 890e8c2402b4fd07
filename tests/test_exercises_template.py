"""The template's check: the right answer, and what it says to wrong ones."""

from __future__ import annotations

import pytest

from vgutils.exercises import check


def test_right(shown):
    assert check("template.sigma_w", lambda fan_in, wanted: wanted / fan_in**0.5)


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda fan_in, wanted: wanted / fan_in, "Variances add up"),
        (lambda fan_in, wanted: wanted * fan_in**0.5, "smaller"),
        (lambda fan_in, wanted: fan_in**-0.5, "Equation (2)"),
        (lambda fan_in, wanted: ..., "Not attempted"),
    ],
)
def test_wrong(shown, answer, hint):
    assert not check("template.sigma_w", answer)
    assert hint in shown[-1]["text/plain"]
