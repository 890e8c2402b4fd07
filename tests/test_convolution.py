"""Convolutional networks against SciPy's correlation, layer by layer."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

import vgutils as vg
from vgutils import activations
from vgutils.convolution import ConvNet

X = np.random.default_rng(0).normal(size=(3, 5, 4, 2)).astype(np.float32)


def convolve(h, conv, index=...):
    """3 x 3 with zeros around, by scipy.signal.correlate2d: (n, H, W, in) -> (n, H, W, out)."""
    kernel, bias = (
        np.asarray(conv.kernel[...])[index],
        np.asarray(conv.bias[...])[index],
    )
    out = np.zeros((*h.shape[:3], kernel.shape[-1]))
    for n, i, o in np.ndindex(len(h), h.shape[-1], kernel.shape[-1]):
        out[n, ..., o] += signal.correlate2d(h[n, ..., i], kernel[..., i, o], "same")
    return out + bias


def batch_norm(h):
    return (h - h.mean((0, 1, 2))) / np.sqrt(h.var((0, 1, 2)) + 1e-5)


@settings(deadline=None, max_examples=8)
@given(
    blocks=st.integers(1, 3),
    channels=st.integers(1, 4),
    name=st.sampled_from(["relu", "tanh"]),
    scale=st.sampled_from([1.0, 0.5]),
    skip=st.booleans(),
    norm=st.sampled_from([None, "batch"]),
)
def test_a_conv_net_equals_scipy(blocks, channels, name, scale, skip, norm):
    model = ConvNet(
        2,
        channels,
        blocks,
        3,
        activation=name,
        skip=skip,
        norm=norm,
        branch_scale=scale if skip else 1.0,
        rngs=nnx.Rngs(1),
    )
    phi, normed = activations.get(name), batch_norm if norm else lambda h: h
    branch = model.blocks.branch if skip else model.blocks
    h = convolve(X, model.first)
    for i in range(blocks):
        added = h
        for conv in (branch.conv1, branch.conv2):
            added = convolve(np.asarray(phi(normed(added))), conv, i)
        h = h + scale * added if skip else added
    pooled = np.asarray(phi(normed(h))).mean((1, 2))
    expected = pooled @ np.asarray(model.readout.kernel[...])
    np.testing.assert_allclose(model(jnp.asarray(X)), expected, rtol=1e-3, atol=1e-4)
    assert model.depth == 2 * blocks + 2


def test_blocks_of_scale_zero_are_the_identity():
    deep = ConvNet(2, 4, 20, 3, norm=None, branch_scale=0.0, rngs=nnx.Rngs(1))
    h = jax.nn.relu(deep.first(jnp.asarray(X))).mean((1, 2))
    np.testing.assert_array_equal(deep(jnp.asarray(X)), deep.readout(h))


def test_depth_is_data():
    def lines(blocks):
        graphdef, state = nnx.split(ConvNet(2, 4, blocks, 3, rngs=nnx.Rngs(0)))
        program = jax.jit(
            jax.grad(
                lambda state, x: jnp.sum(nnx.merge(graphdef, state)(x)), allow_int=True
            )
        )
        return program.lower(state, jnp.ones((1, 5, 4, 2))).as_text().count("\n")

    assert lines(10) == lines(300)


def test_it_trains_and_learns_batch_statistics():
    model = ConvNet(2, 4, 2, 3, rngs=nnx.Rngs(0))
    y = np.array([0, 1, 2])
    trained, history = vg.train(
        model, optax.adam(0.02), X, y, steps=40, profile="blocks*"
    )
    assert float(history.loss[-1]) < 0.1 < float(history.loss[0])
    assert np.any(np.asarray(trained.blocks.branch.norm1.mean[...][1]) != 0)
    assert "blocks[1].branch.conv2" in history.profile.names
    trained.eval()
    one, three = trained(jnp.asarray(X[:1])), trained(jnp.asarray(X))
    np.testing.assert_allclose(one, three[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtypes(dtype):
    model = ConvNet(
        2, 4, 2, 3, norm=None, dtype=dtype, param_dtype=dtype, rngs=nnx.Rngs(0)
    )
    assert model(jnp.ones((2, 5, 4, 2), dtype)).dtype == dtype


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"channels": 0}, ValueError, "channels must be at least 1"),
        ({"blocks": True}, TypeError, "blocks must be an integer"),
        ({"norm": "Batch"}, ValueError, "norm must be one of"),
        ({"skip": None}, TypeError, "skip must be True or False"),
        ({"skip": False, "branch_scale": 0.5}, ValueError, "skip=True only"),
        ({"rngs": None}, TypeError, "rngs must be flax.nnx.Rngs"),
    ],
)
def test_wrong_arguments(change, error, words):
    arguments = {"in_channels": 1, "channels": 4, "blocks": 2, "out_features": 2}
    with pytest.raises(error, match=words):
        ConvNet(**(arguments | {"rngs": nnx.Rngs(0)} | change))


@pytest.mark.parametrize("shape", [(5, 4, 2), (3, 5, 4, 1), (2,)])
def test_wrong_inputs(shape):
    with pytest.raises(ValueError, match=r"\(batch, height, width, 2\)"):
        ConvNet(2, 4, 1, 3, rngs=nnx.Rngs(0))(jnp.ones(shape))
