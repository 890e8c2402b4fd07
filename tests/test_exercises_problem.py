"""The checks of the chapter on networks that do not learn: right answers, and wrong ones."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import vgutils as vg
from vgutils.exercises import check


def diagnose(norms):
    if min(norms) == 0:
        return "dead"
    ratio = norms[0] / norms[-1]
    return "vanishing" if ratio < 1e-3 else "exploding" if ratio > 1e3 else "healthy"


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("plateau_loss", lambda counts: scipy.stats.entropy(counts)),
        ("update_ratio", lambda w, g, eta: eta * vg.norm(g) / vg.norm(w)),
        ("diagnose", diagnose),
    ],
)
def test_right(shown, name, answer):
    assert check(f"problem.{name}", answer)


def entropy_without_care(counts):
    p = np.array(counts) / np.sum(counts)
    return -np.sum(p * np.log(p))


@pytest.mark.filterwarnings("ignore:.*:RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "answer", "hint"),
    [
        ("plateau_loss", lambda counts: np.log(len(counts)), "equally frequent"),
        ("plateau_loss", lambda counts: scipy.stats.entropy(counts, base=2), "bits"),
        ("plateau_loss", lambda counts: -scipy.stats.entropy(counts), "sign"),
        ("plateau_loss", entropy_without_care, "contributes 0"),
        (
            "plateau_loss",
            lambda counts: -np.mean(np.log(np.array(counts) / np.sum(counts))),
            "examples",
        ),
        ("plateau_loss", lambda counts: ..., "Not attempted"),
        ("update_ratio", lambda w, g, eta: vg.norm(g) / vg.norm(w), "learning rate"),
        (
            "update_ratio",
            lambda w, g, eta: eta * vg.norm(w) / vg.norm(g),
            "Upside down",
        ),
        (
            "update_ratio",
            lambda w, g, eta: eta * jnp.linalg.norm(g) / jnp.linalg.norm(w),
            "underflow",
        ),
        ("update_ratio", lambda w, g, eta: ..., "Not attempted"),
        ("diagnose", lambda norms: "healthy", "far below"),
        (
            "diagnose",
            lambda norms: "dead" if max(norms) < 1e-5 else diagnose(norms),
            "level does not matter",
        ),
        (
            "diagnose",
            lambda norms: "healthy" if norms[0] == norms[-1] else diagnose(norms),
            "exactly 0",
        ),
        ("diagnose", lambda norms: ..., "Not attempted"),
    ],
)
def test_wrong(shown, name, answer, hint):
    assert not check(f"problem.{name}", answer)
    assert hint in shown[-1]["text/plain"]
