"""The checks of the chapter on the edge of chaos: right answers, and what wrong ones are told."""

from __future__ import annotations

import numpy as np
import pytest

from vgutils.exercises import check


def closed(c):
    angle = np.arccos(c)
    return (np.sin(angle) + (np.pi - angle) * c) / np.pi


def by_grid(c):
    grid = 0.05 * np.arange(-200, 201)
    density = 0.05 * np.exp(-(grid**2) / 2) / np.sqrt(2 * np.pi)
    v = c * grid[:, None] + np.sqrt(1 - c**2) * grid
    pair = np.maximum(grid, 0)[:, None] * np.maximum(v, 0)
    return 2 * density @ pair @ density


def squares(jacobian):
    return np.linalg.svd(jacobian, compute_uv=False) ** 2


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("relu_map", closed),
        ("relu_map", by_grid),
        ("isometry_gap", lambda j: squares(j).var() / squares(j).mean() ** 2),
        (
            "isometry_gap",
            lambda j: len(j) * np.trace(j @ j.T @ j @ j.T) / np.trace(j @ j.T) ** 2 - 1,
        ),
    ],
)
def test_right(shown, name, answer):
    assert check(f"edge_of_chaos.{name}", answer)


@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("relu_map", lambda c: closed(c) / 2, "σ_w² is 2"),
        ("relu_map", lambda c: closed(c) / 2 - 1 / (2 * np.pi), "took the mean off"),
        (
            "relu_map",
            lambda c: (np.sqrt(1 - c**2) + np.arccos(c) * c) / np.pi,
            "π − θ, not θ",
        ),
        ("relu_map", lambda c: c, "linear network"),
        ("relu_map", lambda c: 1 - np.arccos(c) / np.pi, "slope"),
        ("relu_map", lambda c: c**2, "Put ReLU into (2)"),
        ("relu_map", lambda c: "one", "Numbers are expected"),
        ("relu_map", lambda c: ..., "Not attempted"),
        (
            "isometry_gap",
            lambda j: squares(j).var(),
            "Divide by the squared mean",
        ),
        (
            "isometry_gap",
            lambda j: squares(j).var() / squares(j).mean(),
            "mean *squared*",
        ),
        (
            "isometry_gap",
            lambda j: np.var(squares(j) ** 0.5) / np.mean(squares(j) ** 0.5) ** 2,
            "Square them first",
        ),
        (
            "isometry_gap",
            lambda j: squares(j).std() / squares(j).mean(),
            "has its square",
        ),
        (
            "isometry_gap",
            lambda j: squares(j).var(ddof=1) / squares(j).mean() ** 2,
            "n − 1",
        ),
        ("isometry_gap", lambda j: squares(j), "The shape should be"),
        ("isometry_gap", lambda j: None, "Not attempted"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"edge_of_chaos.{name}", answer)
    message = shown[-1]["text/plain"]
    assert hint.replace("*", "") in message.replace("*", "")
