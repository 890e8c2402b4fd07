"""Diagnosis: the right verdict for the right reason, and a clear word about bad input."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import vgutils as vg
from vgutils import diagnosis, evidence, findings
from vgutils.findings import LIMITS, QUESTIONS
from vgutils.training import cross_entropy

DRAW = np.random.default_rng(0)
Y = np.arange(32) % 4
X = np.float32(2 * np.eye(4, 8)[Y] + 0.3 * DRAW.normal(size=(32, 8)))


def mlp(depth=3, activation="tanh", kernel_init="glorot_normal", **options):
    return vg.MLP(
        8,
        16,
        depth,
        4,
        activation,
        kernel_init=kernel_init,
        rngs=nnx.Rngs(0),
        **options,
    )


@pytest.fixture(scope="module")
def healthy():
    return vg.diagnose(mlp(), cross_entropy, X, Y, optimizer=optax.adam(1e-2))


def judged(healthy, **changes):
    """The verdict when the evidence of a healthy network is changed."""
    return diagnosis.judge(dataclasses.replace(healthy.evidence, **changes)).verdict


# --- measurements against what NumPy says ---------------------------------------------------------


def test_measures_equal_numpys():
    h = np.float32(DRAW.normal(size=(12, 5)))
    inputs = np.maximum(np.float32(DRAW.normal(size=(12, 6))), 0)
    inputs[:, 2] = 0
    one, mean, variance, dead, saturated, spread, rank = evidence.measure(
        jnp.asarray(inputs), jnp.asarray(h)
    )
    assert (one, dead, saturated) == (1, pytest.approx(1 / 6), 0)
    assert mean == pytest.approx(h.mean(), abs=1e-6)
    assert variance == pytest.approx(h.var(), rel=1e-5)
    unit = h / np.linalg.norm(h, axis=1, keepdims=True)
    cosines = (unit @ unit.T)[np.triu_indices(12, 1)]
    assert spread == pytest.approx(1 - cosines.mean(), rel=1e-5)
    squares = np.linalg.svd(h - h.mean(0), compute_uv=False) ** 2
    assert rank == pytest.approx(squares.sum() ** 2 / (squares**2).sum(), rel=1e-4)


@pytest.mark.parametrize(
    ("h", "share"),
    [
        ([[-0.995, 0.5], [1.0, -1.0]], 0.75),
        ([[0.001, 0.5], [0.999, 0.2]], 0.5),
        ([[0.0, 0.0], [0.999, 0.2]], 0.0),  # many exact zeros: a ReLU
        ([[-0.995, 0.5], [1.5, -1.0]], 0.0),  # beyond 1: not a bounded activation
    ],
)
def test_saturation_is_about_bounded_activations(h, share):
    assert evidence._units(jnp.array(h))[1] == pytest.approx(share)


def test_the_trial_is_training(healthy):
    """The losses at factor 1 are those of a loop with the same optimizer."""
    model, optimizer = mlp(), optax.adam(1e-2)
    _, history = vg.train(model, optimizer, X, Y, steps=20)
    np.testing.assert_allclose(healthy.evidence.losses[0], history.loss, rtol=1e-5)


def test_the_first_update_is_the_optimizers():
    found = vg.diagnose(mlp(), cross_entropy, X, Y, optimizer=optax.sgd(0.1), steps=1)
    profile = vg.profile(mlp(), cross_entropy, X, Y)
    state = nnx.state(mlp(), nnx.Param)
    slopes = nnx.grad(cross_entropy)(mlp(), X, Y)
    ratios = [
        0.1 * np.abs(slope).sum() / np.abs(weight).sum()
        for slope, weight in zip(
            jax.tree.leaves(slopes), jax.tree.leaves(state), strict=True
        )
        if np.any(np.asarray(weight))
    ]
    assert found.evidence.update == pytest.approx(np.median(ratios), rel=1e-5)
    np.testing.assert_allclose(
        found.profile.gradient_norm, profile.gradient_norm, rtol=1e-5
    )


# --- verdicts -------------------------------------------------------------------------------------


def test_a_healthy_network(healthy):
    assert healthy.verdict == "healthy"
    assert not healthy.findings
    assert not healthy.cures
    assert str(healthy).startswith("verdict   healthy")


def constant(value):
    return jax.nn.initializers.constant(value)


def scaled(gain):
    return jax.nn.initializers.variance_scaling(gain**2, "fan_in", "normal")


def small(model, x, y):
    return 1e-7 * cross_entropy(model, x, y)


@pytest.mark.parametrize(
    ("verdict", "model", "change"),
    [
        ("vanishing", lambda: mlp(12, "sigmoid"), {}),
        ("exploding", lambda: mlp(16, "relu", scaled(4.0)), {}),
        ("saturated", lambda: mlp(3, "tanh", scaled(20.0)), {}),
        ("dead units", lambda: mlp(3, "relu", bias_init=constant(-9.0)), {}),
        ("symmetric units", lambda: mlp(2, "tanh", constant(0.1)), {}),
        ("underflow", lambda: mlp(dtype=jnp.float16), {"loss": small}),
        ("bad data", mlp, {"x": X * np.float32(1e3)}),
        ("bad data", mlp, {"x": np.where(X > 2.5, np.nan, X)}),
        ("bad data", mlp, {"y": np.zeros_like(Y)}),
        ("learning rate too high", mlp, {"optimizer": optax.sgd(100.0, momentum=0.9)}),
        ("learning rate too low", mlp, {"optimizer": optax.sgd(1e-7)}),
        ("frozen parameters", mlp, {"optimizer": optax.set_to_zero()}),
    ],
)
def test_planted_faults_are_named(verdict, model, change):
    batch = change.pop("x", X), change.pop("y", Y)
    options = {"loss": cross_entropy, "optimizer": optax.adam(1e-2)} | change
    found = vg.diagnose(model(), options.pop("loss"), *batch, **options)
    assert found.verdict == verdict, str(found)
    assert found.cures
    assert found.cures[0].text in str(found)


def test_a_recurrent_network_that_forgets():
    x = DRAW.normal(size=(16, 100, 2)).astype(np.float32)
    model = vg.Recurrent(2, 8, 4, "lstm", rngs=nnx.Rngs(0))
    found = vg.diagnose(model, cross_entropy, x, Y[:16], steps=2)
    assert "vanishing through time" in [f.verdict for f in found.findings]
    slopes = jax.grad(lambda x: cross_entropy(model, x, Y[:16]))(jnp.asarray(x))
    sizes = np.linalg.norm(
        np.moveaxis(np.float64(slopes), 1, 0).reshape(100, -1), axis=1
    )
    assert found.evidence.time_ratio == pytest.approx(sizes[0] / sizes[-1], rel=1e-4)


def test_a_zero_readout_is_healthy():
    """Nothing but the readout moves in the first step, everything in the second."""
    model = mlp()
    model.readout.kernel[...] = jnp.zeros_like(model.readout.kernel[...])
    found = vg.diagnose(model, cross_entropy, X, Y, optimizer=optax.adam(1e-2))
    assert found.verdict == "healthy"


class Half(nnx.Module):
    def __init__(self, rngs):
        self.used = nnx.Linear(8, 4, rngs=rngs)
        self.forgotten = nnx.Linear(8, 4, rngs=rngs)

    def __call__(self, x):
        return self.used(x)


def test_a_module_that_is_never_called():
    found = vg.diagnose(
        Half(nnx.Rngs(0)), cross_entropy, X, Y, optimizer=optax.adam(1e-2)
    )
    assert found.verdict == "frozen parameters"
    assert "forgotten" in found.findings[0].evidence
    meant = diagnosis.judge(found.evidence, frozen=("forgotten*",))
    assert meant.verdict == "healthy"


class Several(nnx.Module):
    """BatchNorm, dropout and an attention layer, Flax's own."""

    def __init__(self, rngs):
        self.linear = nnx.Linear(8, 16, rngs=rngs)
        self.norm = nnx.BatchNorm(16, rngs=rngs)
        self.attention = nnx.MultiHeadAttention(2, 16, decode=False, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.out = nnx.Linear(16, 4, rngs=rngs)

    def __call__(self, x):
        h = nnx.relu(self.norm(self.linear(x)))[:, None]
        return self.out(self.dropout((h + self.attention(h))[:, 0]))


# Weight decay moves what no gradient reaches.
@pytest.mark.parametrize("optimizer", [optax.adam, optax.adamw])
def test_flaxs_own_layers_and_an_unchanged_model(optimizer):
    model = Several(nnx.Rngs(0))
    before = jax.tree.map(
        np.asarray, nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.RngState)))
    )
    found = vg.diagnose(model, cross_entropy, X, Y, optimizer=optimizer(1e-2))
    after = jax.tree.map(
        np.asarray, nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.RngState)))
    )
    # One position gives a softmax of one: queries and keys receive nothing, and it says so.
    assert found.verdict == "frozen parameters"
    parts = product(("query", "key"), ("kernel", "bias"))
    assert set(found.evidence.unmoved) == {f"attention.{a}.{b}" for a, b in parts}
    jax.tree.map(np.testing.assert_array_equal, before, after)


class Scaled(nnx.Module):
    """A parameter that is a single number, as a learned temperature is."""

    def __init__(self, rngs):
        self.inside, self.scale = mlp(), nnx.Param(jnp.ones(()))

    def __call__(self, x):
        return self.inside(x) * self.scale[...]


def test_a_parameter_may_be_a_single_number():
    model = Scaled(nnx.Rngs(0))
    found = vg.diagnose(model, cross_entropy, X, Y, optimizer=optax.adam(1e-2))
    assert found.verdict == "healthy"


def test_a_sharded_batch_gives_the_same_diagnosis():
    code = """
import jax, numpy as np, optax
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
import vgutils as vg
y = np.arange(32) % 4
x = np.float32(2 * np.eye(4, 8)[y])
place = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), P("data"))
model = vg.MLP(8, 16, 12, 4, "sigmoid", rngs=nnx.Rngs(0))
for batch in [(x, y), (jax.device_put(x, place), jax.device_put(y, place))]:
    found = vg.diagnose(model, vg.training.cross_entropy, *batch, steps=3)
    print(found.verdict, found.findings[0].numbers["ratio"])
"""
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={
            **os.environ,
            "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        },
    ).stdout.split()
    assert shown[0] == shown[2] == "vanishing"
    assert float(shown[1]) == pytest.approx(float(shown[3]), rel=1e-4)


# --- the order of the questions -------------------------------------------------------------------


def test_each_verdict_has_a_cause_and_cures():
    for verdict, (cause, cures) in diagnosis.CURES.items():
        assert bool(cause) == bool(cures) == (verdict != "healthy")
    assert all(limit.why for limit in LIMITS.values())
    assert len(QUESTIONS) == len(set(QUESTIONS))


def test_causes_come_before_their_consequences(healthy):
    n = len(healthy.profile.names)
    falling = dataclasses.replace(
        healthy.profile, gradient_norm=np.geomspace(1e-9, 1, n)
    )
    assert judged(healthy, profile=falling) == "vanishing"
    assert judged(healthy, profile=falling, saturated=np.ones(n)) == "saturated"
    assert judged(healthy, profile=falling, dead=np.ones(n)) == "dead units"
    assert judged(healthy, profile=falling, data="all wrong") == "bad data"


@pytest.mark.parametrize(
    ("factor", "verdict"), [(1.01, "healthy"), (0.99, "vanishing")]
)
def test_a_limit_is_where_it_says(healthy, factor, verdict):
    n = len(healthy.profile.names)
    norms = np.ones(n)
    norms[: n // 2] = factor * LIMITS["vanishing"].value
    profile = dataclasses.replace(healthy.profile, gradient_norm=norms)
    assert judged(healthy, profile=profile) == verdict


def test_a_network_that_knows_is_done_not_stuck(healthy):
    still = np.full_like(healthy.evidence.losses, 1e-3)
    assert judged(healthy, losses=still, exchanged=np.array([3.0, 3.0])) == "healthy"
    assert judged(healthy, losses=still, exchanged=np.array([1e-3, 1e-3])) == "plateau"


def test_limits_can_be_overridden(healthy):
    strict = diagnosis.judge(healthy.evidence, {"vanishing": 1e6})
    assert strict.verdict == "vanishing"
    with pytest.raises(ValueError, match="did you mean 'vanishing'"):
        diagnosis.judge(healthy.evidence, {"vanishin": 1.0})
    with pytest.raises(TypeError, match="must be a number"):
        diagnosis.judge(healthy.evidence, {"vanishing": "small"})


def test_the_factor_leads_to_a_rate_that_learns():
    found = vg.diagnose(mlp(), cross_entropy, X, Y, optimizer=optax.sgd(1e-6))
    factor = found.findings[0].numbers["factor"]
    _, slow = vg.train(mlp(), optax.sgd(1e-6), X, Y, steps=50)
    _, fast = vg.train(mlp(), optax.sgd(1e-6 * factor), X, Y, steps=50)
    assert fast.loss[-1] < slow.loss[-1]


# --- what it looks like ---------------------------------------------------------------------------


def test_it_is_data_a_table_and_a_card():
    found = vg.diagnose(mlp(12, "sigmoid"), cross_entropy, X, Y, steps=2)
    plain = json.loads(json.dumps(found.to_dict()))
    assert plain["verdict"] == "vanishing"
    assert plain["evidence"]["profile"]["names"] == list(found.profile.names)
    assert re.search(r"cure 1 .*chapter initialization", str(found))
    card = found._repr_html_()
    assert "<svg" in card
    assert found.findings[0].verdict in card


# --- bad input ------------------------------------------------------------------------------------


class Counter(nnx.Module):
    def __init__(self):
        self.count = nnx.Param(jnp.zeros(3, jnp.int32))
        self.scale = nnx.Param(jnp.ones(3))

    def __call__(self, x):
        return x


class Empty(nnx.Module):
    def __call__(self, x):
        return x


def deleted():
    model = mlp()
    jax.tree.leaves(nnx.state(model))[0].delete()
    return model


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: vg.diagnose(len, cross_entropy, X, Y),
            TypeError,
            "model must be a flax.nnx",
        ),
        (lambda: vg.diagnose(mlp(), 3, X, Y), TypeError, "loss must be callable"),
        (
            lambda: vg.diagnose(mlp(), lambda m, x, y: m(x), X, Y),
            TypeError,
            "loss must return a floating scalar",
        ),
        (
            lambda: vg.diagnose(Empty(), cross_entropy, X, Y),
            ValueError,
            "trainable parameters",
        ),
        (
            lambda: vg.diagnose(Counter(), cross_entropy, X, Y),
            TypeError,
            "count has dtype int32",
        ),
        (
            lambda: vg.diagnose(mlp(), cross_entropy, X[:0], Y[:0]),
            ValueError,
            "not be empty",
        ),
        (
            lambda: vg.diagnose(mlp(), cross_entropy),
            ValueError,
            "batch must hold at least",
        ),
        (
            lambda: vg.diagnose(deleted(), cross_entropy, X, Y),
            ValueError,
            "donated or deleted",
        ),
        (
            lambda: vg.diagnose(mlp(), lambda m, x, y: jnp.sum(x), X, Y),
            ValueError,
            "at must match a submodule that the loss calls",
        ),
        (
            lambda: vg.diagnose(mlp(), cross_entropy, X, Y, optimizer=0.1),
            TypeError,
            "optimizer must be an optax",
        ),
        (
            lambda: vg.diagnose(mlp(), cross_entropy, X, Y, steps=-1),
            ValueError,
            "steps must be",
        ),
        (
            lambda: vg.diagnose(mlp(), cross_entropy, X, Y, frozen="first"),
            TypeError,
            "frozen must be a tuple",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_without_steps_nothing_is_said_of_training():
    found = vg.diagnose(mlp(), cross_entropy, X, Y, optimizer=optax.sgd(1e9), steps=0)
    assert found.verdict == "healthy"
    assert np.isnan(found.evidence.losses).all()


def test_the_questions_are_functions_with_a_sentence():
    assert all(question.__doc__ for question in findings.QUESTIONS)
