"""The transformer against an unrolled computation in numpy, finite differences and its masks."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import vgutils as vg
from vgutils import attention, probe
from vgutils.attention import Transformer

random = np.random.default_rng(0)
X = random.normal(size=(3, 5, 8)).astype(np.float32)
MASK = np.array(
    [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [0, 1, 1, 1, 0]], bool
)  # all, right and both sides


def make(depth=3, out_features=2, **options):
    return Transformer(8, 2, depth, out_features, rngs=nnx.Rngs(0), **options)


def normalized(h):
    h = h - h.mean(-1, keepdims=True)
    return h / np.sqrt((h**2).mean(-1, keepdims=True) + 1e-6)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def unrolled(model, x, *, norm_first, causal, alpha=1.0):
    """One sequence without padding, head by head and layer by layer, in float64."""
    layers = jax.tree.map(lambda w: np.asarray(w, np.float64), nnx.state(model))
    blocks, h = layers["blocks"], x.astype(np.float64)
    for i in range(model.depth):

        def kernel(*names, i=i):
            node = blocks
            for name in names:
                node = node[name]
            return node["kernel"][...][i]

        def attend(u):
            q, k, v = (
                u @ kernel("attention", name) for name in ("query", "key", "value")
            )
            heads = []
            for part in np.split(np.arange(8), 2):
                z = q[:, part] @ k[:, part].T / 2.0  # the root of a head size of 4
                if causal:
                    z[np.triu_indices(len(z), 1)] = -np.inf
                heads.append(softmax(z) @ v[:, part])
            return np.concatenate(heads, -1) @ kernel("attention", "out")

        def mlp(u):
            return np.maximum(u @ kernel("up"), 0) @ kernel("down")

        for branch in (attend, mlp):
            if norm_first:
                h = alpha * h + branch(normalized(h))
            else:
                h = normalized(alpha * h + branch(h))
    h = normalized(h) if norm_first else h
    return h @ layers["readout"]["kernel"][...] + layers["readout"]["bias"][...]


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_equals_numpy(norm_first, causal):
    options = {"norm_first": norm_first, "causal": causal}
    model = make(skip_scale=1.5, **options)
    expected = [unrolled(model, x, alpha=1.5, **options) for x in X]
    np.testing.assert_allclose(model(jnp.asarray(X)), expected, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("causal", [True, False])
def test_padding_changes_nothing(causal):
    """Padded sequences in a batch give what each gives alone, cut to its length."""
    model = make(causal=causal)
    y = np.asarray(model(jnp.asarray(X), jnp.asarray(MASK)))
    for x, mask, got in zip(X, MASK, y, strict=True):
        alone = unrolled(model, x[mask], norm_first=True, causal=causal)
        np.testing.assert_allclose(got[mask], alone, rtol=2e-4, atol=2e-5)
        assert np.all(got[~mask] == 0)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_padding_leaks_neither_value_nor_gradient(norm_first, causal):
    model = make(norm_first=norm_first, causal=causal)
    mask = jnp.asarray(MASK)
    values = jnp.asarray(random.normal(size=(3, 5, 2)).astype(np.float32))

    def loss(x):
        return jnp.sum(values * model(x, mask))

    slopes = np.asarray(jax.grad(loss)(jnp.asarray(X)))
    assert np.all(slopes[~MASK] == 0)
    assert np.all(slopes[MASK] != 0)
    spoilt = jnp.where(mask[..., None], X, jnp.nan)
    assert np.array_equal(model(spoilt, mask), model(jnp.asarray(X), mask))
    again = np.asarray(jax.grad(loss)(spoilt))
    assert np.array_equal(again, slopes)


def test_no_gradient_from_the_past_to_the_future():
    model = make(causal=True)
    jacobian = jax.jacobian(lambda x: model(x).sum(-1))(jnp.asarray(X[0]))
    reach = np.abs(np.asarray(jacobian)).max(-1)  # (output time, input time)
    assert np.all(reach[np.triu_indices(5, 1)] == 0)
    assert np.all(reach[np.tril_indices(5)] > 0)


@pytest.mark.parametrize("norm_first", [True, False])
def test_gradient_equals_finite_differences(norm_first):
    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else _x64():
        model = make(norm_first=norm_first, causal=True, param_dtype=jnp.float64)
        x, mask = jnp.asarray(X, jnp.float64), jnp.asarray(MASK)
        way = jnp.asarray(random.normal(size=X.shape))

        def f(x):
            return jnp.sum(model(x, mask) ** 2)

        h = 1e-6
        difference = (f(x + h * way) - f(x - h * way)) / (2 * h)
        assert float(jnp.sum(way * jax.grad(f)(x))) == pytest.approx(
            float(difference), rel=1e-6
        )


def _x64():
    from jax.experimental import enable_x64

    return enable_x64()


def test_branch_gain_scales_four_of_six_kernels():
    plain, scaled = make(), make(branch_gain=0.5)
    for path in ("query", "key", "value", "out", "up", "down"):
        owner = [
            m.blocks if path in ("up", "down") else m.blocks.attention
            for m in (plain, scaled)
        ]
        a, b = (np.asarray(getattr(o, path).kernel[...]) for o in owner)
        factor = 1.0 if path in ("query", "key") else 0.5
        np.testing.assert_allclose(b, factor * a, rtol=1e-6, err_msg=path)


def test_depth_is_data():
    def lines(depth):
        graphdef, state = nnx.split(make(depth))
        program = jax.jit(
            jax.grad(lambda state, x: jnp.sum(nnx.merge(graphdef, state)(x)))
        )
        return program.lower(state, jnp.asarray(X)).as_text().count("\n")

    assert lines(3) == lines(100)


def test_a_probe_names_its_parts():
    profile = vg.profile(make(2), lambda m, x: jnp.mean(m(x) ** 2), jnp.asarray(X))
    for name in ("blocks[0].attention", "blocks[1].down", "norm", "readout"):
        assert name in profile.names
    assert isinstance(profile, probe.Profile)
    assert "norm" not in dict(make(norm_first=False).__dict__)
    assert make(out_features=None)(jnp.asarray(X)).shape == X.shape


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtypes(dtype):
    model = make(dtype=dtype, param_dtype=dtype, causal=True)
    x, mask = jnp.asarray(X, dtype), jnp.asarray(MASK)
    assert model(x, mask).dtype == dtype
    assert bool(jnp.all(jnp.isfinite(model(x, mask))))


def test_a_sequence_of_padding_alone_is_zero():
    mask = jnp.zeros((3, 5), bool)
    model = make()
    assert np.all(np.asarray(model(jnp.asarray(X), mask)) == 0)
    slopes = jax.grad(lambda x: jnp.sum(model(x, mask)))(jnp.asarray(X))
    assert np.all(np.asarray(slopes) == 0)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"heads": 3}, ValueError, "features must be a multiple of heads, got 8"),
        ({"depth": 0}, ValueError, "depth must be at least 1"),
        ({"heads": 2.0}, TypeError, "heads must be an integer"),
        ({"out_features": 0}, ValueError, "out_features must be at least 1"),
        ({"mlp_width": 0}, ValueError, "mlp_width must be at least 1"),
        ({"norm_first": "yes"}, TypeError, "norm_first must be True or False"),
        ({"skip_scale": 0}, ValueError, "skip_scale must be"),
        ({"branch_gain": -1.0}, ValueError, "branch_gain must be"),
        ({"kernel_init": "xavier"}, ValueError, "xavier"),
        ({"rngs": 0}, TypeError, "rngs must be flax.nnx.Rngs"),
    ],
)
def test_bad_arguments(options, error, words):
    arguments = {"features": 8, "heads": 2, "depth": 1, "rngs": nnx.Rngs(0)} | options
    with pytest.raises(error, match=words):
        attention.Transformer(**arguments)


@pytest.mark.parametrize(
    ("x", "mask", "error", "words"),
    [
        (X[..., :7], None, ValueError, "8 features"),
        (X[0, 0], None, ValueError, "8 features"),
        (X, MASK.astype(int), TypeError, "mask must be boolean"),
        (X, MASK[:, :4], ValueError, "mask must have the shape"),
    ],
)
def test_bad_input(x, mask, error, words):
    with pytest.raises(error, match=words):
        make()(jnp.asarray(x), None if mask is None else jnp.asarray(mask))
