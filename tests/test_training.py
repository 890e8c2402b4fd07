"""Training against a loop written out in plain JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import vgutils as vg
from vgutils import training

X = jax.random.normal(jax.random.key(0), (32, 6))
Y = (X[:, 0] > 0).astype(jnp.int32)


def mlp(seed=0):
    return vg.MLP(6, 8, 3, 2, "tanh", rngs=nnx.Rngs(seed))


def test_gradient_descent_equals_a_loop():
    graphdef, state = nnx.split(mlp())

    @jax.jit
    def step(state):
        def loss(state):
            log_p = jax.nn.log_softmax(nnx.merge(graphdef, state)(X))
            return -jnp.mean(log_p[jnp.arange(32), Y])

        value, gradient = jax.value_and_grad(loss)(state)
        return value, jax.tree.map(lambda w, g: w - 0.3 * g, state, gradient)

    losses = []
    for _ in range(5):
        value, state = step(state)
        losses.append(value)
    trained, history = vg.train(mlp(), optax.sgd(0.3), X, Y, steps=5)
    np.testing.assert_allclose(history.loss, losses, rtol=1e-5)
    for a, b in zip(
        jax.tree.leaves(nnx.state(trained)), jax.tree.leaves(state), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert history.profile is None


@pytest.mark.parametrize("optimizer", [optax.sgd(0.1, momentum=0.9), optax.adamw(1e-2)])
def test_recording_the_profile_does_not_change_the_training(optimizer):
    plain, history = vg.train(mlp(), optimizer, X, Y, steps=6, batch_size=8, seed=3)
    same, recorded = vg.train(
        mlp(), optimizer, X, Y, steps=6, batch_size=8, seed=3, profile=True
    )
    np.testing.assert_allclose(history.loss, recorded.loss, rtol=1e-5)
    for a, b in zip(
        jax.tree.leaves(nnx.state(plain)), jax.tree.leaves(nnx.state(same)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert nnx.graphdef(plain) == nnx.graphdef(same) == nnx.graphdef(mlp())


def test_the_first_profile_is_that_of_the_untrained_model():
    _, history = vg.train(mlp(), optax.sgd(0.1), X, Y, steps=4, profile=True)
    expected = vg.profile(mlp(), training.cross_entropy, X, Y)
    assert history.profile.names == expected.names
    assert history.profile.gradient_norm.shape == (4, len(expected.names))
    np.testing.assert_allclose(
        history.profile.gradient_norm[0], expected.gradient_norm, rtol=1e-5
    )


def test_seeds_as_one_program_equal_single_runs():
    models = [mlp(seed) for seed in range(3)]
    trained, together = vg.train_seeds(
        models, optax.sgd(0.1), X, Y, steps=5, batch_size=4, seed=7, profile="*.linear"
    )
    assert together.loss.shape == (3, 5)
    for i, model in enumerate(models):
        alone, history = vg.train(
            model, optax.sgd(0.1), X, Y, steps=5, batch_size=4, seed=7 + i
        )
        np.testing.assert_allclose(together.loss[i], history.loss, rtol=1e-5)
        np.testing.assert_allclose(trained[i](X), alone(X), rtol=1e-4, atol=1e-5)


def test_batch_statistics_are_carried_and_the_model_given_is_left_alone():
    class Normed(nnx.Module):
        def __init__(self, rngs):
            self.norm = nnx.BatchNorm(6, momentum=0.5, rngs=rngs)
            self.out = nnx.Linear(6, 2, rngs=rngs)

        def __call__(self, x):
            return self.out(self.norm(x))

    model = Normed(nnx.Rngs(0))
    trained, _ = vg.train(model, optax.sgd(0.1), X + 5, Y, steps=20)
    np.testing.assert_allclose(trained.norm.mean[...], (X + 5).mean(0), rtol=1e-3)
    np.testing.assert_array_equal(model.norm.mean[...], jnp.zeros(6))


def test_accuracy_and_loss_by_hand():
    model = mlp()
    logits = np.asarray(model(X), np.float64)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    expected = -np.log(p[np.arange(32), np.asarray(Y)]).mean()
    assert float(training.cross_entropy(model, X, Y)) == pytest.approx(
        expected, rel=1e-5
    )
    share = (logits.argmax(1) == np.asarray(Y)).mean()
    assert float(training.accuracy(model, X, Y)) == pytest.approx(share)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"model": 3}, TypeError, "model must be a flax.nnx.Module"),
        (
            {"optimizer": 0.1},
            TypeError,
            "optimizer must be an optax.GradientTransformation",
        ),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"steps": 2.0}, TypeError, "steps must be an integer"),
        ({"batch_size": -4}, ValueError, "batch_size must be at least 1"),
        (
            {"x": X[:5]},
            ValueError,
            r"as many examples, got shapes \(5, 6\) and \(32,\)",
        ),
        ({"x": X[:0], "y": Y[:0]}, ValueError, "x must not be empty"),
        ({"x": X.at[3, 3].set(jnp.nan)}, ValueError, "x must be finite, got 1 values"),
        ({"x": np.array(["a"] * 32)}, TypeError, "x must be a numeric array"),
        ({"profile": "nowhere"}, ValueError, "at must match a submodule"),
    ],
)
def test_bad_input_is_named(changes, error, message):
    given = {
        "model": mlp(),
        "optimizer": optax.sgd(0.1),
        "x": X,
        "y": Y,
        "steps": 2,
    } | changes
    with pytest.raises(error, match=message):
        vg.train(
            given.pop("model"),
            given.pop("optimizer"),
            given.pop("x"),
            given.pop("y"),
            **given,
        )


def test_models_of_different_structure_are_refused():
    other = vg.MLP(6, 8, 4, 2, "tanh", rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="models must have one structure"):
        vg.train_seeds([mlp(), other], optax.sgd(0.1), X, Y, steps=1)
    with pytest.raises(ValueError, match="at least one model"):
        vg.train_seeds([], optax.sgd(0.1), X, Y, steps=1)
