"""Recurrent networks against a Python loop, whole Jacobians and finite differences."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import vgutils as vg
from vgutils.recurrent import (
    CELLS,
    Recurrent,
    memory,
    through_time,
    through_time_seeds,
)

cells = pytest.mark.parametrize("cell", sorted(CELLS))


def build(cell="rnn", *, hidden=4, seed=1, **options):
    return Recurrent(3, hidden, 2, cell, rngs=nnx.Rngs(seed), **options)


def data(batch=2, length=5, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, length, 3)).astype(np.float32)
    return jnp.asarray(x), jnp.asarray(rng.normal(size=(batch, 2)).astype(np.float32))


def square(model, x, y, mask=None):
    return jnp.sum((model(x, mask) - y) ** 2)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def by_hand(model, x):
    """All h from numpy's formulas, in float64: (length + 1, batch, hidden)."""
    wide = lambda p: np.asarray(p[...], np.float64)  # noqa: E731
    cell = model.cell
    w_i, w_h = wide(cell.dense_i.kernel), wide(cell.dense_h.kernel)
    b = wide((cell.dense_h if model.kind == "lstm" else cell.dense_i).bias)
    h = c = np.zeros((len(x), model.hidden))
    found = [h]
    for t in range(x.shape[1]):
        u, v = np.asarray(x[:, t], np.float64) @ w_i, h @ w_h
        if model.kind == "rnn":
            h = np.tanh(u + v + b)
        elif model.kind == "lstm":
            i, f, g, o = np.split(u + v + b, 4, axis=-1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        else:
            (r, z, n), (r_h, z_h, n_h) = np.split(u + b, 3, -1), np.split(v, 3, -1)
            z, n = sigmoid(z + z_h), np.tanh(n + sigmoid(r + r_h) * n_h)
            h = (1 - z) * n + z * h
        found.append(h)
    return np.stack(found)


@cells
def test_a_network_equals_a_python_loop(cell):
    model, (x, _) = build(cell), data()
    expected = by_hand(model, x)
    states = model.states(x)
    hidden = states[1] if cell == "lstm" else states
    np.testing.assert_allclose(hidden, expected, rtol=1e-5, atol=1e-6)
    out = expected @ np.asarray(model.readout.kernel[...])
    np.testing.assert_allclose(model(x), out[-1], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        model.outputs(x), out[1:].swapaxes(0, 1), rtol=1e-5, atol=1e-6
    )


@cells
@settings(deadline=None, max_examples=4)
@given(
    lengths=st.lists(st.integers(1, 4), min_size=1, max_size=2),
    left=st.booleans(),
    junk=st.sampled_from([0.0, 3.0, 1e30, np.inf, np.nan]),
)
def test_padding_leaks_neither_value_nor_gradient(cell, lengths, left, junk):
    model, (x, y) = build(cell), data(len(lengths), 4)
    steps = np.arange(4)
    mask = np.stack([steps >= 4 - n if left else steps < n for n in lengths])
    padded = jnp.where(mask[..., None], x, junk)
    value, slope = jax.value_and_grad(lambda x: square(model, x, y, mask))(padded)
    assert np.all(np.asarray(slope)[~mask] == 0)
    total = 0.0
    for row in range(len(lengths)):
        alone, want = x[row : row + 1, mask[row]], y[row : row + 1]
        one, gradient = jax.value_and_grad(lambda x, y=want: square(model, x, y))(alone)
        np.testing.assert_allclose(
            slope[row, mask[row]], gradient[0], rtol=1e-4, atol=1e-6
        )
        total += float(one)
    np.testing.assert_allclose(value, total, rtol=1e-5)


def test_a_mask_of_ones_changes_nothing_and_gaps_are_skipped():
    model, (x, _) = build("gru"), data()
    np.testing.assert_array_equal(model(x, np.ones((2, 5), bool)), model(x))
    gap = np.array([[True, False, True, True, False]] * 2)
    np.testing.assert_allclose(
        model(x, gap), model(x[:, np.array([0, 2, 3])]), rtol=1e-5, atol=1e-6
    )


@cells
def test_the_probe_equals_finite_differences_and_attributes_to_the_right_step(cell):
    model, (x, y) = build(cell), data()
    measured = through_time(model, square, x, y)
    zero = model.no_nudges(x)
    leaves, structure = jax.tree.flatten(zero)
    objective = jax.jit(lambda nudges: jnp.sum((model(x, nudges=nudges) - y) ** 2))
    step = 1e-2
    norms = []
    for i, leaf in enumerate(leaves):
        slope = np.zeros(leaf.shape)
        for at in np.ndindex(leaf.shape):
            ends = [
                objective(
                    jax.tree.unflatten(
                        structure,
                        [
                            one.at[at].add(d) if i == j else one
                            for j, one in enumerate(leaves)
                        ],
                    )
                )
                for d in (step, -step)
            ]
            slope[at] = (ends[0] - ends[1]) / (2 * step)
        norms.append(np.linalg.norm(slope.reshape(len(slope), -1), axis=1))
    np.testing.assert_allclose(measured.hidden_norm, norms[-1], rtol=0.02)
    if cell == "lstm":
        np.testing.assert_allclose(measured.cell_norm, norms[0], rtol=0.02, atol=1e-4)
        np.testing.assert_allclose(measured.state_norm, np.hypot(*norms), rtol=0.02)
    else:
        assert measured.cell_norm is None
    # The last row is the readout's own gradient: nothing recurrent is in it.
    out = model(x)
    by_readout = 2 * (out - y) @ model.readout.kernel[...].T
    np.testing.assert_allclose(
        measured.hidden_norm[-1], jnp.linalg.norm(by_readout), rtol=1e-5
    )


def test_a_loss_at_every_step_is_felt_from_there_back():
    model, (x, _) = build(), data(length=6)
    early = through_time(
        model, lambda m, x, y: jnp.sum(m.outputs(x)[:, 2] * y), x, jnp.ones(2)
    )
    assert np.all(np.asarray(early.hidden_norm[:4]) > 0)
    assert np.all(np.asarray(early.hidden_norm[4:]) == 0)


def test_the_probe_reads_down_to_the_smallest_float32():
    model = build(
        hidden=1, activation="linear", recurrent_init=jax.nn.initializers.constant(0.5)
    )
    x, y = jnp.ones((1, 120, 3)), jnp.zeros((1, 2))
    norms = through_time(model, lambda m, x, y: m(x)[0, 0], x, y).hidden_norm
    first = abs(float(model.readout.kernel[0, 0]))
    np.testing.assert_array_equal(
        norms, np.float32(first) * 0.5 ** np.arange(120, -1, -1)
    )


@cells
def test_memory_is_the_whole_jacobian(cell):
    model, (x, _) = build(cell), data(2, 4)
    seen = memory(model, x)
    assert seen.spectral.shape == seen.frobenius.shape == (2, 5)
    for row in range(2):

        def last(flat, t, row=row):
            parts = jnp.split(flat, 2) if cell == "lstm" else [flat]
            nudges = model.no_nudges(x[row : row + 1])
            leaves, structure = jax.tree.flatten(nudges)
            moved = [n.at[t, 0].add(p) for n, p in zip(leaves, parts, strict=True)]
            states = model.states(
                x[row : row + 1], nudges=jax.tree.unflatten(structure, moved)
            )
            return jnp.concatenate([s[-1, 0] for s in jax.tree.leaves(states)])

        size = 8 if cell == "lstm" else 4
        for t in range(5):
            matrix = jax.jacobian(last)(jnp.zeros(size), t)
            top = np.linalg.svd(np.asarray(matrix), compute_uv=False)[0]
            np.testing.assert_allclose(seen.spectral[row, t], top, rtol=1e-4)
            rms = np.linalg.norm(np.asarray(matrix)) / np.sqrt(size)
            np.testing.assert_allclose(seen.frobenius[row, t], rms, rtol=1e-4)
    np.testing.assert_allclose(seen.spectral[:, -1], 1, rtol=1e-6)


def test_memory_of_a_scaled_orthogonal_network_is_a_power():
    rho = 0.3
    model = build(
        hidden=6,
        activation="linear",
        recurrent_init=vg.initializers.scaled_orthogonal(rho),
    )
    seen = memory(model, jnp.ones((1, 60, 3)))
    expected = rho ** np.arange(60, -1, -1.0)
    np.testing.assert_allclose(seen.spectral[0], expected, rtol=1e-4)
    np.testing.assert_allclose(seen.frobenius[0], expected, rtol=1e-4)


def test_several_models_are_probed_as_each_alone():
    models, (x, y) = [build("lstm", seed=seed) for seed in range(2)], data()
    mask = np.array([[True] * 3 + [False] * 2, [False] + [True] * 4])
    together = through_time_seeds(models, square, x, y, mask)
    for row, model in enumerate(models):
        alone = through_time(model, square, x, y, mask)
        np.testing.assert_allclose(together.cell_norm[row], alone.cell_norm, rtol=1e-5)
        np.testing.assert_allclose(
            together.hidden_norm[row], alone.hidden_norm, rtol=1e-5
        )
    with pytest.raises(ValueError, match="one structure"):
        through_time_seeds([models[0], build()], square, x, y)


def test_padding_keeps_a_memory():
    model, (x, _) = build(), data(1, 4)
    mask = np.array([[True, True, False, False]])
    short, long = memory(model, x[:, :2]), memory(model, x, mask)
    np.testing.assert_allclose(long.spectral[0, :3], short.spectral[0], rtol=1e-5)
    np.testing.assert_allclose(long.spectral[0, 2:], 1, rtol=1e-6)


def test_a_quiet_lstm_forgets_as_its_forget_bias_says():
    zero = jax.nn.initializers.zeros
    for bias in (0.0, 1.0, 3.0):
        model = build("lstm", kernel_init=zero, recurrent_init=zero, forget_bias=bias)
        gates = np.asarray(model.cell.dense_h.bias[...]).reshape(4, 4)
        np.testing.assert_array_equal(gates[1], bias)
        assert not gates[[0, 2, 3]].any()
        x = jnp.zeros((1, 40, 3))
        np.testing.assert_allclose(
            memory(model, x).spectral[0, 0] / memory(model, x[:, :20]).spectral[0, 0],
            sigmoid(bias) ** 20,
            rtol=1e-3,
        )


def test_the_identity_keeps_its_state():
    model = build(activation="relu", recurrent_init="identity")
    np.testing.assert_array_equal(model.cell.dense_h.kernel[...], np.eye(4))


@cells
def test_it_trains_maps_and_profiles_like_any_model(cell):
    x, y = data(8, 4)
    models = [build(cell, seed=seed) for seed in range(2)]
    trained, history = vg.train_seeds(models, vg_sgd(), x, y, loss=square, steps=30)
    assert history.loss.shape == (2, 30)
    assert np.all(np.asarray(history.loss[:, -1] < history.loss[:, 0]))
    alone, history_alone = vg.train(models[0], vg_sgd(), x, y, loss=square, steps=30)
    np.testing.assert_allclose(history.loss[0], history_alone.loss, rtol=1e-3)
    assert np.isfinite(np.asarray(trained[0](x))).all()
    rows = vg.profile(models[0], square, x, y).names
    assert "cell" in rows
    assert "readout" in rows
    assert alone(x).shape == (8, 2)


def vg_sgd():
    import optax

    return optax.sgd(0.005)


@cells
def test_length_is_data_under_jit_vmap_and_grad(cell):
    model, (x, y) = build(cell), data(3, 4)
    graphdef, state = nnx.split(model)

    @jax.jit
    @jax.vmap
    def slopes(x, y):
        return jax.grad(lambda s: square(nnx.merge(graphdef, s), x[None], y[None]))(
            state
        )

    total = jax.tree.map(lambda s: s.sum(0), slopes(x, y))
    whole = jax.grad(lambda s: square(nnx.merge(graphdef, s), x, y))(state)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
        total,
        whole,
    )
    jaxprs = [
        str(jax.make_jaxpr(model)(jnp.ones((1, length, 3)))).count("\n")
        for length in (3, 300)
    ]
    assert jaxprs[0] == jaxprs[1]


def test_float16_and_float64_keep_their_kind():
    half = jnp.float16
    x = jnp.ones((1, 3, 3), half)
    assert (
        build("lstm", param_dtype=half, recurrent_init="lecun_normal")(x).dtype
        == jnp.float16
    )
    assert build("lstm")(x).dtype == jnp.float32
    assert build("rnn", dtype=jnp.float16)(x).dtype == jnp.float16
    with (
        jax.enable_x64(True)
        if hasattr(jax, "enable_x64")
        else jax.experimental.enable_x64()
    ):
        wide = build("gru", param_dtype=jnp.float64)
        assert wide(jnp.ones((1, 3, 3), jnp.float64)).dtype == jnp.float64


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"cell": "lstmm"}, ValueError, "did you mean 'lstm'"),
        ({"cell": None}, TypeError, "cell must be one of the names"),
        ({"hidden": 0}, ValueError, "hidden must be at least 1"),
        ({"hidden": 2.0}, TypeError, "hidden must be an integer"),
        ({"recurrent_init": "orthogonl"}, ValueError, "did you mean 'orthogonal'"),
        ({"forget_bias": 1.0}, ValueError, "forget_bias is for the cell 'lstm'"),
        (
            {"forget_bias": np.nan, "cell": "lstm"},
            ValueError,
            "forget_bias must be finite",
        ),
        (
            {"cell": "gru", "activation": "relu"},
            ValueError,
            "options of the cell 'rnn'",
        ),
        (
            {"cell": "lstm", "recurrent_init": "identity"},
            ValueError,
            "options of the cell",
        ),
    ],
)
def test_a_bad_option_is_named(options, error, words):
    with pytest.raises(error, match=words):
        build(**options)


def test_no_random_stream_is_named():
    with pytest.raises(TypeError, match=r"rngs must be flax\.nnx\.Rngs"):
        Recurrent(3, 4, 2, rngs=0)


@pytest.mark.parametrize(
    ("x", "mask", "error", "words"),
    [
        (np.ones((2, 0, 3)), None, ValueError, "x must not be empty"),
        (np.ones((0, 5, 3)), None, ValueError, "x must not be empty"),
        (np.ones((2, 5, 4)), None, ValueError, r"shape \(batch, length, 3\), got"),
        (np.ones((5, 3)), None, ValueError, r"shape \(batch, length, 3\), got"),
        (np.ones((2, 5, 3), int), None, TypeError, "x must be a floating-point"),
        ([[[1.0] * 3], [[1.0] * 3] * 2], None, ValueError, "pad sequences of unequal"),
        (
            np.ones((2, 5, 3)),
            np.ones((2, 4), bool),
            ValueError,
            r"= \(2, 5\), got \(2, 4\)",
        ),
        (np.ones((2, 5, 3)), np.ones((2, 5)), TypeError, "mask must be a boolean"),
        (np.ones((2, 5, 3)), np.zeros((2, 5), bool), ValueError, "at least one step"),
    ],
)
@pytest.mark.parametrize("use", ["call", "outputs", "memory", "through_time"])
def test_bad_input_is_named_before_tracing(use, x, mask, error, words):
    model = build()
    run = {
        "call": model,
        "outputs": model.outputs,
        "memory": lambda x, m: memory(model, x, m),
        "through_time": lambda x, m: through_time(model, square, x, 0.0, m),
    }[use]
    with pytest.raises(error, match=words):
        run(x, mask)


def test_bad_probes_are_named():
    model, (x, y) = build(), data()
    with pytest.raises(
        TypeError, match=r"model must be a vgutils\.recurrent\.Recurrent"
    ):
        memory(vg.MLP(3, 4, 1, 2, rngs=nnx.Rngs(0)), x)
    with pytest.raises(TypeError, match="loss must be callable"):
        through_time(model, 3, x, y)
    with pytest.raises(TypeError, match="loss must return a floating scalar"):
        through_time(model, lambda m, x, y: m(x), x, y)
