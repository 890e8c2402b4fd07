"""Alert rules against a state machine in plain Python, NumPy, and runs that are ill or well."""

from __future__ import annotations

import logging
import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

import vgutils as vg
from vgutils import alerts
from vgutils.alerts import RULES, UNIT_RULES, PerLayer, Rule, Rules

X = jax.random.normal(jax.random.key(0), (32, 6))
Y = (X[:, 0] > 0).astype(jnp.int32)


def rule(**changes):
    fields = {"name": "r", "statistic": "s", "why": "w", "source": "derivation: none"}
    return Rule(**fields | ({"above": 1.0} | changes))


def watch(rules, columns, window=2):
    """All events of a run, of which `columns` gives each statistic as (steps, ...) values."""

    def step(state, found):
        return alerts.update(state, found)

    columns = {"loss": jnp.ones(len(jax.tree.leaves(columns)[0]))} | columns
    return jax.lax.scan(step, alerts.init(rules, window=window), columns)[1]


# --- the state machine ----------------------------------------------------------------------------


def machine(values, above, clears, patience, warm_up):
    """Whether the rule rings at each step, in plain words."""
    ringing, bad, result = False, 0, []
    for step, value in enumerate(values):
        if step < warm_up:
            result.append(False)
            continue
        bad = bad + 1 if value > above else 0
        if bad >= patience:
            ringing = True
        elif value <= clears:  # NaN is neither.
            ringing = False
        result.append(ringing)
    return result


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.sampled_from([-2.0, -1, 0, 1, 2, math.nan]), min_size=20, max_size=20),
    st.sampled_from([0.0, 1.0]),
    st.sampled_from([0.0, 1.0, 2.5]),
    st.integers(1, 3),
    st.integers(0, 5),
    st.booleans(),
)
def test_rules_ring_as_a_state_machine_says(
    values, above, gap, patience, warm_up, mirrored
):
    options = {"patience": patience, "warm_up": warm_up}
    given = rule(above=above, clears=above - gap, **options)
    column = jnp.array(values)
    if mirrored:  # Small is bad: the same, upside down.
        given = rule(above=None, below=-above, clears=gap - above, **options)
        column = -column
    events = watch([given], {"s": column})
    expected = machine(values, above, above - gap, patience, warm_up)
    np.testing.assert_array_equal(events.ringing[:, 0], expected)
    begins = np.diff([False, *expected]) & np.array(expected)
    np.testing.assert_array_equal(events.rings[:, 0], begins)
    found = alerts.read(events, start=7)
    assert [alert.step - 7 for alert in found] == np.flatnonzero(begins).tolist()
    for alert in found:
        over = [i for i in range(alert.step - 7, 20) if not expected[i]]
        assert alert.until == (over[0] + 7 if over else None)


def test_a_number_that_flutters_about_its_threshold_rings_once():
    noise = jax.random.uniform(jax.random.key(0), (500,), minval=0.9, maxval=1.1)
    assert len(alerts.read(watch([rule(clears=0.5)], {"s": noise}))) == 1
    assert len(alerts.read(watch([rule()], {"s": noise}))) > 100


def test_of_several_layers_the_worst_is_named():
    nan = math.nan
    values = jnp.array([[nan, 5, 3], [nan, nan, nan], [2, 0, -4]])
    found = {
        "s": PerLayer(("a", "b", "c"), values),
        "t": {"c": values[:, 2], "b": values[:, 1]},
    }
    rules = [
        rule(),
        rule(name="low", above=None, below=-1, layers=("a", "c")),
        rule(name="t", statistic="t"),
    ]
    seen = [
        (a.step, a.rule, a.layer, a.value) for a in alerts.read(watch(rules, found))
    ]
    assert seen == [(0, "r", "b", 5), (0, "t", "b", 5), (2, "low", "c", -4)]


def test_update_is_the_same_eager_jitted_and_mapped_over_runs():
    key = jax.random.key(1)
    columns = {
        "loss": jnp.exp(jax.random.normal(key, (4, 30))),
        "s": jax.random.normal(key, (4, 30)),
    }
    rules = [rule(above=0.5, patience=2), *RULES[-2:]]
    together = jax.jit(jax.vmap(lambda columns: watch(rules, columns)))(columns)
    for run in range(4):
        state = alerts.init(rules, window=2)
        for step in range(30):
            now = {name: column[run, step] for name, column in columns.items()}
            state, events = alerts.update(state, now)
            np.testing.assert_array_equal(events.ringing, together.ringing[run, step])
    found = alerts.read(together)
    assert {alert.seed for alert in found} == {0, 1, 2, 3}
    alone = alerts.read(jax.tree.map(lambda values: values[2], together))
    assert [replace(a, seed=2) for a in alone] == [a for a in found if a.seed == 2]
    assert "callback" not in str(
        jax.make_jaxpr(lambda c: watch(rules, c))(
            jax.tree.map(lambda values: values[0], columns)
        )
    )


# --- the loss -------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0.5, 2, width=32), min_size=17, max_size=17))
def test_fall_and_rise_of_the_loss_equal_numpy(losses):
    window = 4
    rules = [rule(statistic=name) for name in ("loss_fall", "loss_rise")]
    rules = [replace(r, name=r.statistic) for r in rules]
    value = watch(rules, {"loss": jnp.array(losses)}, window).value
    assert np.isnan(value[: 2 * window - 1]).all()
    for step in range(2 * window - 1, len(losses)):
        last = np.array(losses[step + 1 - 2 * window : step + 1], np.float64)
        a, b = last[:window], last[window:]
        error = np.sqrt(a.var(ddof=1) / window + b.var(ddof=1) / window)
        fall = (a.mean() - b.mean()) / a.mean()
        expected = [fall + 4 * error / a.mean(), -fall - 4 * error / a.mean()]
        np.testing.assert_allclose(value[step], expected, rtol=1e-4, atol=1e-5)


def test_noise_and_a_loss_that_falls_ring_nothing_a_loss_that_stands_or_rises_does():
    step, runs = jnp.arange(1000), 50
    noise = jax.random.normal(jax.random.key(0), (runs, 1000))
    rules = RULES.without(
        "vanishing", "exploding", "frozen", "large update", "not finite"
    )

    def names(loss):
        events = jax.jit(jax.vmap(lambda loss: watch(rules, {"loss": loss}, 50)))(loss)
        return [(alert.rule, alert.seed) for alert in alerts.read(events)]

    falls = jnp.exp(-step / 300) + 0.05
    assert names(falls * (1 + 0.3 * noise)) == []
    assert names(jnp.exp(-step / 300) + 0 * noise) == []  # No noise at all.
    assert names(0.1 + 0.9 * (step < 100) * jnp.exp(-step / 30) + 0 * noise) == []
    assert {name for name, _ in names(1 + 0.3 * noise)} <= {"stalled"}
    every = set(range(runs))
    assert set(names(jnp.log(2) * (1 + 0.01 * noise))) == {
        ("stalled", i) for i in every
    }
    up = (1 + 0.01 * step) * (1 + 0.1 * noise)
    assert {i for name, i in names(up) if name == "rising"} == every


def test_a_rule_for_the_beginning_is_silent_once_the_loss_is_low():
    given = rule(while_loss_above=0.5)
    loss = jnp.concatenate([jnp.full(10, 2.0), jnp.full(10, 0.9)])
    (alert,) = alerts.read(watch([given], {"loss": loss, "s": jnp.full(20, 3.0)}))
    assert (alert.step, alert.until) == (0, 11)  # Both of the latest two are low.


# --- what a step knows ----------------------------------------------------------------------------


def profile(gradient, weight, slope):
    zeros = jnp.zeros(len(gradient))
    names = tuple("abcd"[: len(gradient)])
    columns = [jnp.array(c, jnp.float32) for c in (gradient, weight, slope)]
    return vg.Profile(names, zeros, zeros, *columns)


def test_statistics_by_hand():
    p = profile([1e-6, 4, 2, math.nan], [2, math.nan, 0, 4], [1, math.nan, 1, 1])
    found = alerts.statistics(jnp.array(0.5), p, jnp.array([1, math.nan, 3, 1.0]))
    assert found["gradient_ratio"].names == ("a", "b", "c", "d")
    np.testing.assert_allclose(
        found["gradient_ratio"].values, [5e-7, 2, 1, math.nan], rtol=1e-6
    )
    np.testing.assert_allclose(
        found["update_ratio"].values, [0.5, math.nan, math.nan, 0.25]
    )
    assert float(found["not_finite"]) == 0
    ill = profile([math.inf, 1], [1, 1], [math.nan, math.inf])
    assert float(alerts.statistics(jnp.array(math.nan), ill)["not_finite"]) == 4
    assert set(alerts.statistics(jnp.array(1.0))) == {"loss", "not_finite"}


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "relu"])
def test_shares_of_units_by_hand(name):
    z = np.random.default_rng(0).normal(0, 4, (50, 8)).astype(np.float32)
    z[:, 2] = -np.abs(z[:, 2])
    slope = {
        "tanh": 1 - np.tanh(z) ** 2,
        "sigmoid": 4 / (1 + np.exp(-z)) / (1 + np.exp(z)),
        "relu": z > 0,
    }[name]
    shares = alerts.unit_shares(jnp.array(z), name)
    assert float(shares["saturated"]) == pytest.approx((slope < 0.05).mean())
    assert float(shares["dead"]) == pytest.approx(1 / 8 if name == "relu" else 0)


@pytest.mark.parametrize("norm", [None, "batch"])
def test_units_of_an_mlp_equal_a_loop(norm):
    model = vg.MLP(6, 8, 3, 2, "relu", norm=norm, rngs=nnx.Rngs(0))
    model.hidden.linear.bias[...] -= 0.5
    before = jax.tree.leaves(nnx.state(model))
    found = alerts.mlp_units(model, X)
    h, expected = X, []
    graphdef, hidden = nnx.split(model.hidden)
    layers = [model.first] + [
        nnx.merge(graphdef, jax.tree.map(lambda w, i=i: w[i], hidden)) for i in (0, 1)
    ]
    for layer in [nnx.clone(layer) for layer in layers]:
        z = layer.linear(h)
        z = layer.norm(z) if norm else z
        expected.append(alerts.unit_shares(z, "relu"))
        h = jax.nn.relu(z)
    for name in ("saturated", "dead"):
        assert found[name].names == ("first", "hidden[0]", "hidden[1]")
        np.testing.assert_allclose(found[name].values, [e[name] for e in expected])
    for old, new in zip(before, jax.tree.leaves(nnx.state(model)), strict=True):
        np.testing.assert_array_equal(old, new)
    with pytest.raises(TypeError, match=r"model must be a vg\.MLP, got Linear"):
        alerts.mlp_units(model.readout, X)


# --- rules as data --------------------------------------------------------------------------------


def test_rules_print_as_a_table_and_change_by_name():
    lines = str(RULES).splitlines()
    assert len(lines) == 1 + 2 * len(RULES)
    for one, row, why in zip(RULES, lines[1::2], lines[2::2], strict=True):
        assert row.startswith(one.name)
        assert one.words in row
        assert one.why in why
        assert one.source in why
    other = RULES.replace("vanishing", below=1e-5, clears=None)
    assert isinstance(other, Rules)
    assert [r.name for r in other] == [r.name for r in RULES]
    assert other[1].threshold == 1e-5
    assert other.replace("vanishing", below=1e-3, clears=1e-2) == RULES
    assert [r.name for r in other.without("vanishing", "frozen")] == [
        r.name for r in RULES if r.name not in ("vanishing", "frozen")
    ]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: rule(below=1.0), ValueError, "either above or below"),
        (lambda: rule(above=None), ValueError, "either above or below"),
        (lambda: rule(above="1"), TypeError, "above must be a number"),
        (lambda: rule(above=math.nan), ValueError, "above must be finite"),
        (
            lambda: rule(clears=2.0),
            ValueError,
            "clears must be at most the threshold 1",
        ),
        (
            lambda: rule(above=None, below=1.0, clears=0.5),
            ValueError,
            "clears must be at least the threshold 1",
        ),
        (lambda: rule(patience=0), ValueError, "patience must be at least 1"),
        (lambda: rule(warm_up=-1), ValueError, "warm_up must be at least 0"),
        (lambda: rule(layers="*"), TypeError, "layers must be a tuple"),
        (lambda: rule(why=""), ValueError, "why of a rule must not be empty"),
        (lambda: rule(while_loss_above=-1), ValueError, "while_loss_above must be"),
        (lambda: Rules([3]), TypeError, "a sequence of Rule, got 3"),
        (lambda: Rules(rule()), TypeError, "a sequence of Rule"),
        (lambda: Rules([rule(), rule()]), ValueError, r"got \['r'\] twice"),
        (lambda: RULES.replace("vanish", below=1), ValueError, "'vanishing'"),
        (lambda: RULES.without("vanish"), ValueError, "did you mean 'vanishing'"),
        (lambda: alerts.init(window=1), ValueError, "window must be at least 2"),
        (
            lambda: alerts.update(alerts.init([rule()]), {"s": 1.0}),
            ValueError,
            "must hold 'loss', got s",
        ),
        (
            lambda: alerts.update(alerts.init([rule()]), {"loss": 1.0}),
            ValueError,
            "rule 'r' watches 's'",
        ),
        (
            lambda: watch([rule(layers=("z*",))], {"s": {"a": jnp.ones(3)}}),
            ValueError,
            r"must match one of a; got \('z\*',\)",
        ),
        (
            lambda: alerts.read(alerts.update(alerts.init(), {"loss": 1.0})[1]),
            ValueError,
            "rule 'not finite' watches",
        ),
        (
            lambda: alerts.read(
                alerts.update(alerts.init([rule()]), {"loss": 1.0, "s": 1.0})[1]
            ),
            ValueError,
            r"must be over \(steps, rules\)",
        ),
        (
            lambda: alerts.unit_shares(jnp.ones(3), "tanh"),
            ValueError,
            "z must have 2 axes",
        ),
    ],
)
def test_bad_rules_are_named(make, error, message):
    with pytest.raises(error, match=message):
        make()


# --- in training ----------------------------------------------------------------------------------


def mlp(seed=0, depth=8, activation="sigmoid"):
    return vg.MLP(6, 8, depth, 2, activation, rngs=nnx.Rngs(seed))


def run(model=None, *, steps=30, rate=0.1, rules=RULES, **options):
    optimizer = optax.sgd(rate)
    model = mlp() if model is None else model
    return vg.train(model, optimizer, X, Y, steps=steps, alerts=rules, **options)


def ignore(alert):
    pass


def test_update_ratio_equals_the_movement_of_the_weights():
    model = mlp(depth=1, activation="tanh")
    trained, history = run(model, steps=1, rate=0.5, on_alert=ignore)
    found = dict(
        zip(history.update_ratio.names, history.update_ratio.values[0], strict=True)
    )
    for name in ("first.linear", "readout"):
        old, new = (
            np.concatenate(
                [np.ravel(w) for w in jax.tree.leaves(nnx.state(layer, nnx.Param))]
            ).astype(np.float64)
            for layer in (
                [m.first.linear, m.readout][name == "readout"] for m in (model, trained)
            )
        )
        expected = np.linalg.norm(new - old) / np.linalg.norm(old)
        assert float(found[name]) == pytest.approx(expected, rel=1e-4)


def test_a_deep_sigmoid_network_rings_and_a_healthy_one_does_not(caplog):
    with caplog.at_level(logging.WARNING, "vgutils.alerts"):
        _, history = run()
        (vanishing,) = history.alerts
        assert vanishing.rule == "vanishing"
        assert vanishing.layer == "first.linear"
        assert vanishing.step == 9
        assert [record.getMessage() for record in caplog.records] == [str(vanishing)]
        assert vanishing.value < 1e-3
        assert vanishing.chapter == "chapters/1_problem/problem"
        ratios = vg.profile(mlp(), vg.training.cross_entropy, X, Y).gradient_norm
        assert vanishing.value == pytest.approx(
            float(ratios[0] / ratios[-1]), rel=0.3
        )  # Ten steps later.
        caplog.clear()
        _, history = run(mlp(depth=4, activation="tanh"), steps=150)
        assert history.alerts == []
        assert not caplog.records


def test_alerts_do_not_change_the_training():
    model, history = vg.train(
        mlp(), optax.adam(1e-2), X, Y, steps=12, batch_size=8, profile=True
    )
    same, watched = vg.train(
        *(mlp(), optax.adam(1e-2), X, Y),
        steps=12,
        batch_size=8,
        profile=True,
        alerts=RULES,
        on_alert=ignore,
    )
    np.testing.assert_allclose(history.loss, watched.loss, rtol=1e-5)
    np.testing.assert_allclose(
        history.profile.gradient_norm, watched.profile.gradient_norm, rtol=1e-3
    )
    for a, b in zip(
        jax.tree.leaves(nnx.state(model)), jax.tree.leaves(nnx.state(same)), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert history.events is None
    assert history.alerts == []
    assert history.update_ratio is None


def test_the_length_of_a_chunk_changes_nothing(monkeypatch):
    whole, one = run(on_alert=ignore)
    monkeypatch.setattr(alerts, "CHUNK", 7)
    parts, many = run(on_alert=ignore)
    assert one.alerts == many.alerts != []
    assert one.loss.shape == many.loss.shape == (30,)
    for a, b in zip(
        jax.tree.leaves((nnx.state(whole), one)),
        jax.tree.leaves((nnx.state(parts), many)),
        strict=True,
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-7)


def test_several_runs_ring_as_each_alone():
    models = [mlp(0), mlp(1, activation="sigmoid")]
    seen = []
    _, history = vg.train_seeds(
        *(models, optax.sgd(0.1), X, Y),
        steps=20,
        batch_size=8,
        seed=3,
        alerts=RULES,
        on_alert=seen.append,
    )
    assert seen == history.alerts
    for i, model in enumerate(models):
        _, alone = run(model, steps=20, batch_size=8, seed=3 + i, on_alert=ignore)
        together = [(a.step, a.rule, a.layer) for a in history.alerts if a.seed == i]
        assert together == [(a.step, a.rule, a.layer) for a in alone.alerts] != []


def test_a_run_that_shall_stop_stops_with_all_it_has(monkeypatch):
    monkeypatch.setattr(alerts, "CHUNK", 10)
    _, history = run(on_alert=ignore)
    with pytest.raises(vg.alerts.AlertRaised, match="vanishing") as caught:
        run(on_alert="raise", steps=1000)
    error = caught.value
    assert [alert.step for alert in error.alerts] == [9]
    assert error.alerts == error.history.alerts
    assert error.history.loss.shape == (10,)
    np.testing.assert_allclose(error.history.loss, history.loss[:10], rtol=1e-5)
    expected, _ = vg.train(mlp(), optax.sgd(0.1), X, Y, steps=10)
    np.testing.assert_allclose(error.trained(X), expected(X), rtol=1e-5)


def test_a_callback_that_fails_loses_nothing(monkeypatch):
    monkeypatch.setattr(alerts, "CHUNK", 10)
    seen = []

    def broken(alert):
        seen.append(alert)
        raise OSError("no network")

    rules = Rules([RULES[1], rule(statistic="loss", above=0)])
    with pytest.raises(alerts.CallbackFailed, match="no network") as caught:
        run(rules=rules, on_alert=broken)
    error = caught.value
    assert isinstance(error.__cause__, OSError)
    assert len(seen) == len(error.alerts) == 2  # Of the first chunk; none was skipped.
    assert error.history.loss.shape == (30,)
    model, history = run(rules=rules, on_alert=ignore)
    np.testing.assert_allclose(error.history.loss, history.loss, rtol=1e-6)
    np.testing.assert_allclose(error.trained(X), model(X), rtol=1e-6)


def test_a_measure_feeds_rules_once_a_chunk(monkeypatch):
    monkeypatch.setattr(alerts, "CHUNK", 5)
    monkeypatch.setattr(alerts, "LARGE", 16)
    sizes = []

    def measure(model, x, y):
        sizes.append((x.shape, y.shape))
        return {"bias": jnp.abs(model.readout.bias[...]).max()} | alerts.mlp_units(
            model, x
        )

    given = Rules([rule(statistic="bias", above=0)]) + UNIT_RULES
    model = mlp(depth=2, activation="relu")
    model.hidden.linear.bias[...] -= 9
    seen = []
    _, history = run(
        model, steps=10, rules=given, measure=measure, on_alert=seen.append
    )
    assert seen == history.alerts  # Delivered in two parts.
    found = [(alert.step, alert.rule, alert.layer) for alert in history.alerts]
    assert found == [
        (0, "saturated", "hidden[0]"),
        (0, "dead", "hidden[0]"),
        (5, "r", None),  # The bias was 0 at the beginning.
    ]
    assert set(sizes) == {((16, 6), (16,))}


def test_numbers_that_are_not_finite_ring_at_once():
    def loss(model, x, y):
        value = vg.training.cross_entropy(model, x, y)
        # Overflows once the readout's bias has moved.
        return value + 0 * jnp.exp(1e4 * jnp.abs(model.readout.bias[...]).max())

    _, history = run(loss=loss, steps=20, on_alert=ignore)
    first = history.alerts[0]
    assert first.rule == "not finite"
    assert first.step == int(np.flatnonzero(~np.isfinite(history.loss))[0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"rules": 3}, TypeError, "alerts must be a sequence of Rule"),
        ({"rules": [3]}, TypeError, "alerts must be a sequence of Rule"),
        ({"on_alert": "mail"}, ValueError, "on_alert must be one of log, raise"),
        ({"on_alert": 3}, TypeError, "on_alert must be one of the names"),
        ({"measure": 3}, TypeError, "measure must be callable"),
        ({"rules": UNIT_RULES}, ValueError, "give a measure that returns it"),
        (
            {"rules": UNIT_RULES, "measure": lambda model, x, y: {"deaf": 1.0}},
            ValueError,
            "rule 'saturated' watches 'saturated', which is not among the statistics",
        ),
    ],
)
def test_bad_options_of_training_are_named(options, error, message):
    with pytest.raises(error, match=message):
        run(**options)
