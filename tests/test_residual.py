"""Residual networks against the same computation unrolled in NumPy."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import vgutils as vg
from vgutils import activations
from vgutils.residual import Branch, Residual, ResidualMLP

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
NORMAL = jax.nn.initializers.normal()


def layer_norm(h, scale, bias):
    centred = h - h.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6) * scale + bias


@settings(deadline=None, max_examples=10)
@given(
    blocks=st.integers(1, 4),
    width=st.integers(1, 6),
    name=st.sampled_from(["relu", "tanh", "gelu"]),
    scale=st.sampled_from([0.0, 0.5, 1.0, -2.0]),
    skip=st.booleans(),
    learn=st.booleans(),
)
def test_a_residual_mlp_equals_numpy(blocks, width, name, scale, skip, learn):
    options = {"branch_scale": scale, "learn_scale": learn} if skip else {"skip": False}
    model = ResidualMLP(
        3, width, blocks, 2, name, bias_init=NORMAL, **options, rngs=nnx.Rngs(1)
    )
    phi = activations.get(name)
    inside = model.blocks.branch.linear if skip else model.blocks.linear
    h = X @ model.first.kernel[...] + model.first.bias[...]
    for w, b in zip(inside.kernel[...], inside.bias[...], strict=True):
        added = np.asarray(phi(h)) @ np.asarray(w) + np.asarray(b)
        h = h + scale * added if skip else added
    head = model.head.linear
    expected = np.asarray(phi(h)) @ np.asarray(head.kernel[...]) + head.bias[...]
    np.testing.assert_allclose(model(jnp.asarray(X)), expected, rtol=1e-4, atol=1e-5)
    assert model.depth == blocks + 2


def test_the_norm_stands_before_the_activation():
    model = ResidualMLP(3, 5, 3, 2, "tanh", norm="layer", rngs=nnx.Rngs(1))
    block = model.blocks.branch
    h = X @ np.asarray(model.first.kernel[...])
    for i in range(3):
        normed = layer_norm(h, block.norm.scale[...][i], block.norm.bias[...][i])
        h = h + np.tanh(normed) @ np.asarray(block.linear.kernel[...][i])
    normed = layer_norm(h, 1.0, 0.0)
    expected = np.tanh(normed) @ np.asarray(model.head.linear.kernel[...])
    np.testing.assert_allclose(model(jnp.asarray(X)), expected, rtol=1e-4, atol=1e-4)


def test_blocks_of_scale_zero_are_the_identity():
    model = ResidualMLP(3, 5, 40, 2, branch_scale=0.0, rngs=nnx.Rngs(1))
    x = jnp.asarray(X)
    np.testing.assert_array_equal(model(x), model.head(model.first(x)))


def test_only_a_learnt_scale_is_a_parameter():
    plain = nnx.state(ResidualMLP(3, 5, 4, 2, rngs=nnx.Rngs(1)), nnx.Param)
    learnt = ResidualMLP(
        3, 5, 4, 2, branch_scale=0.25, learn_scale=True, rngs=nnx.Rngs(1)
    )
    sizes = [
        sum(leaf.size for leaf in jax.tree.leaves(state))
        for state in (plain, nnx.state(learnt, nnx.Param))
    ]
    assert sizes[1] == sizes[0] + 4
    np.testing.assert_array_equal(learnt.blocks.scale[...], np.full(4, 0.25))


def test_a_plain_net_has_the_same_weights():
    with_skip = ResidualMLP(3, 5, 4, 2, rngs=nnx.Rngs(1))
    without = ResidualMLP(3, 5, 4, 2, skip=False, rngs=nnx.Rngs(1))
    weights = [jax.tree.leaves(nnx.state(model)) for model in (with_skip, without)]
    for a, b in zip(*weights, strict=True):
        np.testing.assert_array_equal(a, b)


def test_depth_is_data():
    def lines(blocks):
        graphdef, state = nnx.split(ResidualMLP(3, 4, blocks, 2, rngs=nnx.Rngs(0)))
        program = jax.jit(
            jax.grad(lambda state, x: jnp.sum(nnx.merge(graphdef, state)(x)))
        )
        return program.lower(state, jnp.ones((1, 3))).as_text().count("\n")

    assert lines(10) == lines(1000)


def test_the_probe_sees_every_block():
    """Of scale 0 the gradient passes unchanged; of scale 1 it is ∏ (I + W D)."""
    y = np.array([0, 1, 1, 0])
    for scale in (0.0, 1.0):
        model = ResidualMLP(3, 4, 3, 2, branch_scale=scale, rngs=nnx.Rngs(2))
        rows = vg.profile(model, vg.training.cross_entropy, X, y, at="blocks")
        kernels = model.blocks.branch.linear.kernel[...]
        h = [X @ model.first.kernel[...]]
        for w in kernels:
            h.append(h[-1] + scale * jax.nn.relu(h[-1]) @ w)
        loss = partial(vg.training.cross_entropy, model.head)
        slopes = [jax.grad(loss)(h[-1], y)]
        for w, before in zip(kernels[::-1], h[-2:0:-1], strict=False):
            slopes.append(slopes[-1] + scale * (before > 0) * (slopes[-1] @ w.T))
        norms = [np.linalg.norm(g) for g in slopes[::-1]]
        measured = rows.at("blocks[0]", "blocks[1]", "blocks[2]").gradient_norm
        np.testing.assert_allclose(measured, norms, rtol=1e-4)


def test_batch_statistics_are_learnt_and_used():
    model = ResidualMLP(3, 8, 2, 2, norm="batch", rngs=nnx.Rngs(0))
    before = np.asarray(model.blocks.branch.norm.mean[...])
    y = np.array([0, 1, 1, 0])
    trained, _ = vg.train(model, vg.training.optax.sgd(0.1), X, y, steps=3)
    after = np.asarray(trained.blocks.branch.norm.mean[...])
    assert np.all(before == 0)
    assert np.all(np.any(after != 0, axis=1))
    trained.eval()
    one, all_four = trained(jnp.asarray(X[:1])), trained(jnp.asarray(X))
    np.testing.assert_allclose(one, all_four[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtypes(dtype):
    model = ResidualMLP(
        3, 4, 3, 2, dtype=dtype, param_dtype=dtype, learn_scale=True, rngs=nnx.Rngs(0)
    )
    assert model(jnp.ones((2, 3), dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"width": 0}, ValueError, "width must be at least 1"),
        ({"blocks": 1.5}, TypeError, "blocks must be an integer"),
        ({"norm": "group"}, ValueError, "norm must be one of"),
        ({"activation": "rleu"}, ValueError, "did you mean 'relu'"),
        ({"branch_scale": np.nan}, ValueError, "branch_scale must be finite"),
        ({"branch_scale": "1/L"}, TypeError, "branch_scale must be a number"),
        ({"skip": 1}, TypeError, "skip must be True or False"),
        ({"skip": False, "branch_scale": 0.5}, ValueError, "skip=True only"),
        ({"skip": False, "learn_scale": True}, ValueError, "skip=True only"),
        ({"rngs": 0}, TypeError, "rngs must be flax.nnx.Rngs"),
    ],
)
def test_wrong_arguments(change, error, words):
    arguments = {"in_features": 3, "width": 4, "blocks": 2, "out_features": 2}
    with pytest.raises(error, match=words):
        ResidualMLP(**(arguments | {"rngs": nnx.Rngs(0)} | change))


def test_wrong_inputs():
    with pytest.raises(ValueError, match="last axis of 3 features"):
        ResidualMLP(3, 4, 2, 2, rngs=nnx.Rngs(0))(jnp.ones((2, 5)))
    with pytest.raises(TypeError, match="branch must be"):
        Residual(jnp.tanh)
    with pytest.raises(ValueError, match="scale must be finite"):
        Residual(Branch(2, 2, jnp.tanh, rngs=nnx.Rngs(0)), np.inf)
