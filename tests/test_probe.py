"""The probe against independent computations: perturbations, finite differences, float64."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import vgutils as vg
from vgutils import probe

X = jax.random.normal(jax.random.key(1), (8, 6))
Y = jnp.arange(8) % 3


def loss(model, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(
        model(x).astype(jnp.float32), y
    ).mean()


class Unrolled(nnx.Module):
    """The same network as an MLP of depth 4, written out layer by layer."""

    def __init__(self, mlp):
        copies = [
            jax.tree.map(lambda w, i=i: w[i], nnx.state(mlp.hidden)) for i in range(3)
        ]
        graphdef = nnx.graphdef(mlp.first)
        self.first = mlp.first
        self.a, self.b, self.c = (nnx.merge(graphdef, state) for state in copies)
        self.readout = mlp.readout

    def __call__(self, x):
        return self.readout(self.c(self.b(self.a(self.first(x)))))


def mlp(seed=0, depth=4, **options):
    return vg.MLP(
        6,
        5,
        depth,
        3,
        options.pop("activation", "tanh"),
        rngs=nnx.Rngs(seed),
        **options,
    )


def weights_of(model):
    """(W, b) of every layer of an MLP in float64, first to readout."""
    layers = [model.first.linear, model.readout]
    pairs = [(layer.kernel[...], layer.bias[...]) for layer in layers]
    if model.depth > 1:
        hidden = model.hidden.linear
        pairs[1:1] = zip(hidden.kernel[...], hidden.bias[...], strict=True)
    return [(np.asarray(w, np.float64), np.asarray(b, np.float64)) for w, b in pairs]


def plain_loss(pairs, shifts, x, y, phi=np.tanh):
    """The loss in float64 numpy; `shifts[l]` is added to the output of hidden layer l."""
    h = np.asarray(x, np.float64)
    for (w, b), shift in zip(pairs[:-1], shifts, strict=True):
        h = phi(h @ w + b) + shift
    logits = h @ pairs[-1][0] + pairs[-1][1]
    logits = logits - logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return -log_p[np.arange(len(y)), np.asarray(y)].mean()


def difference(function, point, step=1e-6):
    """The gradient of a scalar function of a float64 array by central differences."""
    gradient = np.zeros_like(point)
    for index in np.ndindex(point.shape):
        up, down = point.copy(), point.copy()
        up[index] += step
        down[index] -= step
        gradient[index] = (function(up) - function(down)) / (2 * step)
    return gradient


@pytest.mark.parametrize("scanned", [True, False])
def test_gradients_equal_finite_differences_in_float64(scanned):
    model = mlp()
    pairs, none = weights_of(model), [np.zeros((8, 5))] * 4
    hidden, weight = [], []
    for layer in range(4):

        def shifted(shift, layer=layer):
            return plain_loss(
                pairs, [shift if i == layer else s for i, s in enumerate(none)], X, Y
            )

        def reweighted(w, layer=layer):
            changed = [
                (w, b) if i == layer else (v, b) for i, (v, b) in enumerate(pairs)
            ]
            return plain_loss(changed, none, X, Y)

        def rebiased(b, layer=layer):
            changed = [
                (w, b) if i == layer else (w, c) for i, (w, c) in enumerate(pairs)
            ]
            return plain_loss(changed, none, X, Y)

        hidden.append(np.linalg.norm(difference(shifted, none[0])))
        parts = (
            difference(reweighted, pairs[layer][0]),
            difference(rebiased, pairs[layer][1]),
        )
        weight.append(np.sqrt(sum(np.sum(part**2) for part in parts)))

    profile = vg.profile(model if scanned else Unrolled(model), loss, X, Y)
    outputs = ("first", "hidden[*]") if scanned else ("first", "a", "b", "c")
    linears = [f"{name}.linear" for name in outputs]
    # Central differences are off by step^2 and by rounding / step: both near 1e-10 here.
    outputs = [name for name in profile.names if not name.endswith("linear")][:4]
    np.testing.assert_allclose(profile.at(*outputs).gradient_norm, hidden, rtol=1e-5)
    np.testing.assert_allclose(
        profile.at(*linears).weight_gradient_norm, weight, rtol=1e-5
    )


def perturbed_gradients(model, dtype):
    """The cotangent norms of an MLP's hidden states by `jax.grad` on added zeros, in float64."""

    def objective(shifts, x):
        h = model.first(x) + shifts[0]
        for i, shift in enumerate(shifts[1:]):
            layer = nnx.merge(
                nnx.graphdef(model.hidden),
                jax.tree.map(lambda w, i=i: w[i], nnx.state(model.hidden)),
            )
            h = layer(h) + shift
        logits = model.readout(h).astype(jnp.float32)
        return optax.softmax_cross_entropy_with_integer_labels(logits, Y).mean()

    zeros = [jnp.zeros((8, 5), dtype)] * model.depth
    return [
        np.linalg.norm(np.asarray(g, np.float64))
        for g in jax.grad(objective)(zeros, X.astype(dtype))
    ]


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_hidden_gradients_equal_those_of_added_perturbations(dtype):
    model = mlp(dtype=dtype, param_dtype=dtype)
    profile = vg.profile(model, loss, X.astype(dtype), Y).at("first", "hidden[*]")
    states = [name for name in profile.names if not name.endswith("linear")]
    expected = perturbed_gradients(model, dtype)
    # bfloat16 keeps 8 bits; the two programs may round a handful of operations differently.
    tolerance = 1e-5 if dtype == jnp.float32 else 8 * 2.0**-8
    np.testing.assert_allclose(
        profile.at(*states).gradient_norm, expected, rtol=tolerance
    )


def test_scanned_and_unrolled_stacks_agree_row_by_row():
    model = mlp()
    scanned, unrolled = (
        vg.profile(model, loss, X, Y),
        vg.profile(Unrolled(model), loss, X, Y),
    )
    assert scanned.names[:6] == (
        "first.linear",
        "first",
        "hidden[0].linear",
        "hidden[0]",
        "hidden[1].linear",
        "hidden[1]",
    )
    assert unrolled.names[2:4] == ("a.linear", "a")
    for a, b in zip(jax.tree.leaves(scanned), jax.tree.leaves(unrolled), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7)


def test_activation_statistics_are_those_of_the_forward_pass():
    model = mlp()
    h = np.asarray(X, np.float64)
    means, stds = [], []
    for w, b in weights_of(model)[:-1]:
        h = np.tanh(h @ w + b)
        means.append(h.mean())
        stds.append(h.std())
    profile = vg.profile(Unrolled(model), loss, X, Y).at("first", "a", "b", "c")
    np.testing.assert_allclose(profile.activation_mean, means, atol=1e-6)
    np.testing.assert_allclose(profile.activation_std, stds, rtol=1e-5)


def test_the_model_computes_the_same_with_taps_and_is_not_changed():
    model = mlp()
    before = jax.tree.map(jnp.copy, nnx.state(model))
    tapped = vg.instrument(model, loss, X, Y)
    np.testing.assert_array_equal(tapped(X), model(X))
    plain = nnx.grad(loss)(model, X, Y)
    instrumented = dict(nnx.to_flat_state(nnx.grad(loss)(tapped, X, Y)))
    for path, gradient in nnx.to_flat_state(plain):
        np.testing.assert_array_equal(instrumented[path][...], gradient[...])
    vg.profile(model, loss, X, Y)
    jax.tree.map(np.testing.assert_array_equal, before, nnx.state(model))
    assert type(model.first) is vg.models.Layer


def test_what_a_tapped_module_learnt_goes_back():
    model, tapped = mlp(), vg.instrument(mlp(seed=1), loss, X, Y)
    nnx.update(model, nnx.state(tapped, probe.LEARNT))
    np.testing.assert_array_equal(model(X), tapped(X))


def test_under_jit_vmap_and_scan():
    models = [mlp(seed) for seed in range(3)]
    graphdef = nnx.graphdef(models[0])
    states = jax.tree.map(
        lambda *w: jnp.stack(w), *(nnx.state(model) for model in models)
    )
    single = [vg.profile(model, loss, X, Y) for model in models]

    def measure(state):
        return vg.profile(nnx.merge(graphdef, state), loss, X, Y)

    jitted = jax.jit(measure)(nnx.state(models[0]))
    mapped = jax.vmap(measure)(states)
    _, scanned = jax.lax.scan(
        lambda carry, state: (carry, measure(state)), None, states
    )
    seeds = vg.profile_seeds(models, loss, X, Y)
    assert mapped.gradient_norm.shape == (3, len(single[0].names))
    for i, expected in enumerate(single):
        for got in [jitted] * (i == 0) + [
            jax.tree.map(lambda x, i=i: x[i], seeds),
            jax.tree.map(lambda x, i=i: x[i], mapped),
            jax.tree.map(lambda x, i=i: x[i], scanned),
        ]:
            for a, b in zip(
                jax.tree.leaves(got), jax.tree.leaves(expected), strict=True
            ):
                np.testing.assert_allclose(a, b, rtol=2e-5, atol=1e-6)


def test_a_loss_that_was_jitted_and_cached_is_still_seen():
    model, jitted = mlp(), nnx.jit(loss)
    jitted(model, X, Y)
    first, second = (vg.profile(model, jitted, X, Y) for _ in range(2))
    assert first.names == second.names == vg.profile(model, loss, X, Y).names
    np.testing.assert_array_equal(first.gradient_norm, second.gradient_norm)


def test_vmap_over_examples_inside_the_loss_adds_up():
    def by_example(model, x, y):
        return jax.vmap(lambda one: model(one))(x)[jnp.arange(8), y].mean()

    def by_batch(model, x, y):
        return model(x)[jnp.arange(8), y].mean()

    # Unrolled: Flax refuses a scan over a module that was made outside of a vmap.
    model = Unrolled(mlp())
    a, b = (vg.profile(model, f, X, Y) for f in (by_example, by_batch))
    np.testing.assert_allclose(a.gradient_norm, b.gradient_norm, rtol=1e-5)
    np.testing.assert_allclose(a.activation_mean, b.activation_mean, atol=1e-6)


# --- extremes -------------------------------------------------------------------------------------

norm, sums_of_squares = jax.jit(vg.norm), jax.jit(probe.sums_of_squares)


@settings(deadline=None)
@given(
    st.integers(-126, 120),
    st.lists(st.floats(0.5, 1.0, width=32), min_size=1, max_size=50),
)
def test_norm_is_right_over_the_whole_range_of_float32(exponent, mantissas):
    x = np.zeros(50, np.float32)
    x[: len(mantissas)] = np.ldexp(np.asarray(mantissas, np.float32), exponent + 1)
    expected = np.linalg.norm(x.astype(np.float64))
    assert expected < np.finfo(np.float32).max
    np.testing.assert_allclose(float(norm(x)), expected, rtol=2e-6)


@settings(deadline=None)
@given(st.lists(st.integers(-126, 120), min_size=2, max_size=20))
def test_norm_is_right_for_numbers_of_very_different_size(exponents):
    x = np.zeros(20, np.float32)
    x[: len(exponents)] = np.ldexp(np.float32(1), exponents)
    expected = np.linalg.norm(x.astype(np.float64))
    np.testing.assert_allclose(float(norm(x)), expected, rtol=2e-6)


def test_the_plain_norm_underflows_where_ours_does_not():
    x = jnp.full(100, 1e-20, jnp.float32)
    assert float(jnp.linalg.norm(x)) == 0
    assert float(vg.norm(x)) == pytest.approx(1e-19, rel=1e-6)


@given(
    st.lists(
        st.tuples(st.integers(-126, 120), st.integers(1, 9)), min_size=1, max_size=6
    ),
)
@settings(deadline=None)
def test_sums_of_several_arrays_add_up(parts):
    arrays = [np.ldexp(np.full(9, n, np.float32), exponent) for exponent, n in parts]
    sums = sum(sums_of_squares(x) for x in arrays)
    expected = np.linalg.norm(np.concatenate(arrays).astype(np.float64))
    np.testing.assert_allclose(float(probe.root(sums)), expected, rtol=2e-6)


def test_norm_of_special_values():
    assert np.isnan(vg.norm(jnp.array([1.0, jnp.nan])))
    assert np.isnan(vg.norm(jnp.array([jnp.inf, jnp.nan])))
    assert np.isinf(vg.norm(jnp.array([1.0, -jnp.inf])))
    assert float(vg.norm(jnp.zeros(3))) == 0
    assert float(vg.norm(jnp.asarray([3, 4], jnp.bfloat16))) == 5


@pytest.mark.parametrize("scale", [1e-32, 1e-25, 1.0, 1e25])
def test_gradients_near_the_ends_of_float32_are_not_read_as_zero(scale):
    model = mlp()

    def scaled(model, x, y):
        return loss(model, x, y) * scale

    plain, extreme = vg.profile(model, loss, X, Y), vg.profile(model, scaled, X, Y)
    for quantity in ("gradient_norm", "weight_gradient_norm"):
        expected = np.asarray(getattr(plain, quantity), np.float64) * scale
        # At 1e-32 single entries of the gradient, not the norm, come near the subnormal numbers.
        np.testing.assert_allclose(getattr(extreme, quantity), expected, rtol=1e-4)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_gradients_that_are_not_finite_are_reported(bad):
    def broken(model, x, y):
        h = model.first(x)
        # One element of one example has a bad slope; all else is healthy.
        h = h.at[0, 0].multiply(bad)
        return jnp.sum(model.readout(vg.models.scan_layers(model.hidden, h)))

    profile = vg.profile(mlp(activation="linear"), broken, X, Y)
    assert not np.isfinite(profile.at("first").gradient_norm[0])
    assert not np.isfinite(profile.at("first.linear").weight_gradient_norm[0])
    assert np.isfinite(profile.at("readout").gradient_norm[0])
    assert "nan" in str(profile) or "inf" in str(profile)


def test_what_the_loss_does_not_depend_on_reads_zero():
    def detached(model, x, y):
        return jnp.sum(model.readout(jax.lax.stop_gradient(model.first(x))))

    profile = vg.profile(mlp(depth=1), detached, X, Y)
    assert float(profile.at("first").gradient_norm[0]) == 0
    assert float(profile.at("first.linear").weight_gradient_norm[0]) == 0
    assert float(profile.at("readout").gradient_norm[0]) > 0


# --- any module -----------------------------------------------------------------------------------


class Mixed(nnx.Module):
    """Convolution, batch norm, dropout, an LSTM in time, attention, a layer used twice."""

    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.rnn = nnx.RNN(nnx.LSTMCell(4, 8, rngs=rngs))
        self.attend = nnx.MultiHeadAttention(
            num_heads=2, in_features=8, decode=False, rngs=rngs
        )
        self.twice = nnx.Linear(8, 8, rngs=rngs)
        self.never = nnx.Linear(2, 2, rngs=rngs)

    def __call__(self, x):
        h = self.drop(nnx.relu(self.norm(self.conv(x))))
        h = self.attend(self.rnn(h.reshape(h.shape[0], -1, 4)))
        return self.twice(self.twice(h))


def test_a_model_of_many_kinds_of_layer():
    model = Mixed(nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (5, 4, 4, 1))

    def square(model, x):
        return jnp.mean(model(x) ** 2)

    profile = vg.profile(model, square, x)
    names = list(profile.names)
    order = ["conv", "norm", "drop", "rnn", "attend", "twice", "model"]
    assert [name for name in names if name in order] == order
    assert np.isnan(profile.at("never").gradient_norm[0])  # not called
    assert float(profile.at("never").weight_gradient_norm[0]) == 0
    called = [name for name in names if name != "never" and "rngs" not in name]
    assert np.all(np.isfinite(profile.at(*called).gradient_norm))
    # The same dropout mask and statistics as an uninstrumented gradient from the same state.
    expected = nnx.grad(square)(nnx.clone(model), x)["conv"]
    both = np.sqrt(sum(np.sum(np.square(g[...])) for g in jax.tree.leaves(expected)))
    np.testing.assert_allclose(
        profile.at("conv").weight_gradient_norm[0], both, rtol=1e-5
    )


def test_a_layer_used_twice_adds_up_its_calls():
    class Twice(nnx.Module):
        def __init__(self, rngs):
            self.layer = nnx.Linear(6, 6, rngs=rngs)

        def __call__(self, x):
            return self.layer(self.layer(x))

    model = Twice(nnx.Rngs(0))

    def total(model, x):
        return jnp.sum(model(x) ** 2)

    w, b = model.layer.kernel[...], model.layer.bias[...]
    inner, outer = jax.grad(
        lambda s, t: jnp.sum(((X @ w + b + s) @ w + b + t) ** 2), argnums=(0, 1)
    )(jnp.zeros((8, 6)), jnp.zeros((8, 6)))
    expected = np.sqrt(np.sum(inner**2) + np.sum(outer**2))
    profile = vg.profile(model, total, X, at="layer")
    np.testing.assert_allclose(
        profile.at("layer").gradient_norm[0], expected, rtol=1e-5
    )


def test_a_caller_that_reads_signatures_sees_that_of_the_layer():
    class Noisy(nnx.Module):
        def __init__(self, rngs):
            self.linear = nnx.Linear(6, 6, rngs=rngs)
            self.drop = nnx.Dropout(0.5)

        def __call__(self, x, rngs):
            return self.drop(self.linear(x), rngs=rngs)

    # nnx.Sequential hands `rngs` on only to layers whose signature has it.
    model = nnx.Sequential(Noisy(nnx.Rngs(0)), Noisy(nnx.Rngs(1)))

    def total(model, x):
        return jnp.sum(model(x, rngs=nnx.Rngs(2)) ** 2)

    expected = nnx.grad(total)(model, X)["layers"][0]["linear"]
    both = np.sqrt(sum(np.sum(np.square(g[...])) for g in jax.tree.leaves(expected)))
    profile = vg.profile(model, total, X)
    np.testing.assert_allclose(
        profile.at("layers.0.linear").weight_gradient_norm[0], both, rtol=1e-5
    )


def test_naming_submodules_taps_only_those_and_keeps_all_weights():
    profile = vg.profile(mlp(), loss, X, Y, at="hidden")
    assert np.isfinite(profile.at("hidden[2]").gradient_norm[0])
    assert np.isnan(profile.at("readout").gradient_norm[0])
    assert np.isfinite(profile.at("readout").weight_gradient_norm[0])


def test_inside_a_training_step_of_ones_own():
    tapped = vg.instrument(mlp(), loss, X, Y)
    profile = nnx.jit(lambda model: vg.read(model, nnx.grad(loss)(model, X, Y)))(tapped)
    expected = vg.profile(mlp(), loss, X, Y)
    np.testing.assert_allclose(profile.gradient_norm, expected.gradient_norm, rtol=1e-5)


def test_instrumenting_twice_is_instrumenting_once():
    twice = vg.instrument(vg.instrument(mlp(), loss, X, Y), loss, X, Y, at="readout")
    profile = vg.read(twice, nnx.grad(loss)(twice, X, Y))
    assert np.isnan(profile.at("first.linear").gradient_norm[0])
    assert np.isfinite(profile.at("readout").gradient_norm[0])


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import vgutils as vg
model = vg.MLP(6, 5, 4, 3, "tanh", rngs=nnx.Rngs(0))
x = jax.random.normal(jax.random.key(1), (16, 6))
y = jnp.arange(16) % 3
mesh = Mesh(np.array(jax.devices()), ("data",))
spread = jax.device_put(x, NamedSharding(mesh, PartitionSpec("data")))
assert len(spread.sharding.device_set) == 8
measure = nnx.jit(lambda model, x: vg.profile(model, vg.training.cross_entropy, x, y))
for a, b in zip(jax.tree.leaves(measure(model, spread)), jax.tree.leaves(measure(model, x))):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
"""


def test_a_batch_sharded_over_devices_gives_the_same_profile():
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    root = Path(__file__).parents[1]
    subprocess.run(
        [sys.executable, "-c", SHARDED], check=True, env=environment, cwd=root
    )


# --- the profile ----------------------------------------------------------------------------------


def test_rows_by_pattern_brackets_being_plain_characters():
    profile = vg.profile(mlp(), loss, X, Y)
    assert profile.at("hidden[1]").names == ("hidden[1]",)
    assert profile.at("*.linear").names[:2] == ("first.linear", "hidden[0].linear")
    with pytest.raises(
        ValueError, match=r"patterns must match a row among first.linear"
    ):
        profile.at("nothing")


def test_to_dict_is_plain_data():
    as_data = vg.profile(mlp(), loss, X, Y).to_dict()
    assert set(as_data) >= {"names", "gradient_norm", "weight_gradient_norm"}
    assert isinstance(as_data["gradient_norm"][0], float)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: vg.profile(jnp.ones(3), loss, X, Y),
            TypeError,
            "model must be a flax.nnx.Module",
        ),
        (lambda: vg.profile(mlp(), None, X, Y), TypeError, "loss must be callable"),
        (lambda: vg.profile(mlp(), lambda m, x: m(x), X), TypeError, "floating scalar"),
        (lambda: vg.profile(mlp(), lambda m, x: 1, X), TypeError, "floating scalar"),
        (
            lambda: vg.profile(mlp(), loss, X, Y, at="hiden"),
            ValueError,
            "at must match",
        ),
        (lambda: vg.read(mlp(), None), ValueError, "tapped must come from instrument"),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_stack_along_another_axis_is_refused():
    class Sideways(nnx.Module):
        def __init__(self, rngs):
            make = nnx.vmap(lambda r: nnx.Linear(6, 6, rngs=r), in_axes=0, out_axes=1)
            self.layers = nnx.split_rngs(splits=3)(make)(rngs)

        def __call__(self, x):
            scan = nnx.scan(
                lambda h, layer: layer(h), in_axes=(nnx.Carry, 1), out_axes=nnx.Carry
            )
            return scan(x, self.layers)

    with pytest.raises(ValueError, match="leading axes"):
        vg.profile(Sideways(nnx.Rngs(0)), lambda m, x: jnp.sum(m(x)), X)


def test_a_loss_that_returns_more_than_the_scalar():
    with_aux = functools.partial(lambda m, x, y: (loss(m, x, y), "anything"))
    expected = vg.profile(mlp(), loss, X, Y).gradient_norm
    np.testing.assert_array_equal(
        vg.profile(mlp(), with_aux, X, Y).gradient_norm, expected
    )
