"""Dashboards read back by TensorBoard itself and by `json`; KPIs against scikit-learn and loops."""

from __future__ import annotations

import builtins
import json
import math
import sys
import time

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vgutils as vg
from vgutils import alerts, dashboards
from vgutils.alerts import PerLayer, Rule

NAMES = ("first", "hidden[0]", "plain", "readout")
STEPS = 6


def history(steps=STEPS, *, profile=True, watched=True, seeds=()):
    """A run whose numbers are known, with a NaN, an infinity and a gradient of 1e-30."""
    shape = (*seeds, steps, 4)
    base = np.broadcast_to(np.array([1e-30, 0, 3e-4, 1]), shape).copy()
    base[..., 2, 0], base[..., 3, 0] = math.nan, math.inf
    column = jnp.asarray(base, jnp.float32)
    weights = jnp.ones(shape).at[..., 2].set(jnp.nan)
    one = vg.Profile(NAMES, column, column + 1, column, weights, column * weights)
    loss = jnp.broadcast_to(jnp.linspace(2, 1, steps), (*seeds, steps))
    events = None
    if watched:
        rule = Rule(
            name="low", statistic="loss", below=1.5, why="w", source="derivation: none"
        )
        state, kept = alerts.init([rule]), []
        for value in loss[(0,) * len(seeds)]:
            state, event = alerts.update(state, {"loss": value})
            kept.append(event)
        stacked = {
            name: jnp.stack([getattr(event, name) for event in kept])
            for name in ("rings", "ringing", "value", "layer")
        }
        events = alerts.Events(state.rules, ((),), **stacked)
    ratio = PerLayer(NAMES, column * weights) if watched else None
    return vg.History(loss, one if profile else None, ratio, events)


# --- files ----------------------------------------------------------------------------------------


def test_jsonl_is_the_whole_run(tmp_path):
    run = history()
    path = dashboards.to_jsonl(run, tmp_path / "run.jsonl")

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    rows = [
        json.loads(line, parse_constant=refuse)
        for line in path.read_text().splitlines()
    ]
    assert [row["step"] for row in rows] == list(range(STEPS))
    np.testing.assert_allclose([row["loss"] for row in rows], run.loss, rtol=1e-7)
    for field in ("activation_mean", "activation_std", "gradient_norm"):
        read = [[float(row[field][name]) for name in NAMES] for row in rows]
        np.testing.assert_allclose(read, getattr(run.profile, field), rtol=1e-7)
    assert [float(rows[i]["gradient_norm"]["first"]) for i in (2, 3)] == [
        pytest.approx(math.nan, nan_ok=True),
        math.inf,
    ]
    assert "plain" not in rows[0]["update_ratio"]  # It has no weights.
    assert [len(row["alerts"]) for row in rows] == [0, 0, 0, 1, 0, 0]
    assert rows[3]["alerts"][0]["rule"] == "low"
    assert list(tmp_path.iterdir()) == [path]


def test_tensorboard_reads_what_was_written(tmp_path, caplog):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    run = history()
    folder = dashboards.write(run, tmp_path / "runs" / "one")
    assert [path.name for path in folder.parent.iterdir()] == ["one"]
    assert caplog.messages == []  # Infinities are meant.
    reader = accumulator.EventAccumulator(str(folder))
    reader.Reload()
    tags = reader.Tags()["scalars"]
    assert (
        len(tags) == 1 + 3 * 4 + 3 * 3
    )  # Weights, their slopes and updates: 3 layers.

    def column(tag):
        events = reader.Scalars(tag)
        assert [event.step for event in events] == list(range(STEPS))
        return [event.value for event in events]

    np.testing.assert_allclose(column("loss"), run.loss, rtol=1e-6)
    with np.errstate(divide="ignore"):
        logs = np.log10(np.asarray(run.profile.gradient_norm, np.float64))
    for i, name in enumerate(["first", "hidden_0", "plain", "readout"]):
        got = column(f"log10_gradient_norm/{i:03d}_{name}")
        np.testing.assert_allclose(got, logs[:, i], rtol=1e-6)
        np.testing.assert_allclose(
            column(f"activation_std/{i:03d}_{name}"),
            run.profile.activation_std[:, i],
            rtol=1e-6,
        )
    assert column("log10_gradient_norm/000_first")[0] == pytest.approx(-30)
    assert column("log10_gradient_norm/001_hidden_0") == [-math.inf] * STEPS
    assert "log10_update_ratio/002_readout" in tags
    (tag,) = [tag for tag in reader.Tags()["tensors"] if tag.startswith("alerts")]
    (event,) = reader.Tensors(tag)
    assert event.step == 3
    assert event.tensor_proto.string_val[0].decode() == str(run.alerts[0])


def test_every_step_or_every_third(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    )
    run = history(7, profile=False, watched=False)
    reader = accumulator.EventAccumulator(
        str(dashboards.write(run, tmp_path / "a", every=3))
    )
    reader.Reload()
    assert reader.Tags()["scalars"] == ["loss"]
    assert [event.step for event in reader.Scalars("loss")] == [0, 3, 6]


def test_nothing_is_left_half_written(tmp_path, monkeypatch):
    pytest.importorskip("tensorboardX")
    path = tmp_path / "run.jsonl"
    path.write_text("before")

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(dashboards, "_finite", fail)
    with pytest.raises(KeyboardInterrupt):
        dashboards.to_jsonl(history(), path)
    monkeypatch.setattr("tensorboardX.SummaryWriter.add_text", fail)
    with pytest.raises(KeyboardInterrupt):
        dashboards.write(history(), tmp_path / "run")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "before"


def test_without_tensorboardx_it_says_what_to_install(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.startswith("tensorboardX"):
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "tensorboardX", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match="pip install tensorboardX"):
        dashboards.write(history(), tmp_path / "run")
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    pytest.importorskip("tensorboardX")
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(FileExistsError, match="folder must be new or empty"):
        dashboards.write(history(), tmp_path)
    (tmp_path / "empty").mkdir()
    assert list(dashboards.write(history(), tmp_path / "empty").iterdir())


@pytest.mark.parametrize(
    "use",
    [
        lambda h, path: dashboards.to_jsonl(h, path / "run.jsonl"),
        lambda h, path: dashboards.write(h, path / "run"),
        lambda h, path: dashboards.plot_dashboard(h),
        lambda h, path: dashboards.kpis(h),
    ],
)
def test_only_one_run_at_a_time(use, tmp_path):
    with pytest.raises(ValueError, match=r"of one run, got losses of shape \(2, 6\)"):
        use(history(seeds=(2,)), tmp_path)
    with pytest.raises(TypeError, match="history must be a History, got list"):
        use([1.0], tmp_path)
    assert not list(tmp_path.iterdir())


# --- the figure -----------------------------------------------------------------------------------


def test_the_figure_shows_what_was_recorded(shown):
    run = history()
    fig = dashboards.plot_dashboard(run)
    loss, heat, ratio, bar = fig.axes
    np.testing.assert_allclose(loss.get_lines()[0].get_ydata(), run.loss, rtol=1e-6)
    drawn = heat.get_images()[0].get_array()
    assert drawn.shape == (4, STEPS)
    np.testing.assert_allclose(drawn[:, 0].filled(np.nan)[[0, 3]], [-30, 0], rtol=1e-5)
    assert np.ma.getmaskarray(drawn)[1].all() or np.isnan(drawn[1]).all()
    for ax in (loss, heat, ratio):
        marks = [list(line.get_xdata()) for line in ax.get_lines()]
        assert [4, 4] in marks  # Step 3, counted from 1 as the loss is.
    assert [text.get_text() for text in loss.texts] == ["low"]
    assert bar.get_ylabel().startswith("log₁₀")
    vg.show(
        fig,
        alt="A loss, a heat map of gradients and a band of updates.",
        caption="What a run looked like.",
    )
    assert "<svg" in shown[0]["text/html"]
    assert (
        len(dashboards.plot_dashboard(history(profile=False, watched=False)).axes) == 1
    )


# --- indicators -----------------------------------------------------------------------------------


def test_convergence_by_hand():
    loss = jnp.array([2.1, 1.9, 5, 0.75, 0.25])
    assert dashboards.loss_convergence(loss, window=2) == pytest.approx(0.75)
    assert dashboards.loss_convergence(loss, floor=0.5, window=2) == pytest.approx(1)
    assert dashboards.loss_convergence(jnp.array([1.0, 3])) == pytest.approx(-2)
    assert math.isnan(dashboards.loss_convergence(jnp.array([1.0, math.nan])))
    with pytest.raises(ValueError, match="floor must be below the loss's beginning"):
        dashboards.loss_convergence(loss, floor=3)
    with pytest.raises(ValueError, match="window must be at most 5"):
        dashboards.loss_convergence(loss, window=6)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=30)
)
def test_f1_equals_scikit_learn(pairs):
    metrics = pytest.importorskip("sklearn.metrics")
    labels, predictions = map(np.array, zip(*pairs, strict=True))
    expected = metrics.f1_score(labels, predictions, average="macro")
    assert dashboards.macro_f1(labels, predictions) == pytest.approx(expected)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10), st.integers(0, 1)), min_size=1, max_size=25),
    st.sampled_from([0.5, 0.8, 0.9, 1.0]),
)
def test_manual_work_saved_equals_a_search_over_all_thresholds(pairs, precision):
    p, y = np.array(pairs).T
    p = p / 10
    best = 0.0
    for threshold in np.unique(np.maximum(p, 1 - p)):
        decided = np.maximum(p, 1 - p) >= threshold
        right = (np.stack([1 - p, p]).argmax(0) == y)[decided].mean()
        if right >= precision:
            best = max(best, decided.mean())
    found = dashboards.manual_reduction(p, y, precision=precision)
    assert found.share == pytest.approx(best)
    same = dashboards.manual_reduction(np.stack([1 - p, p], 1), y, precision=precision)
    assert same == found or best == 0
    if best:
        assert found.precision >= precision
        assert (np.maximum(p, 1 - p) >= found.threshold).mean() == found.share
    else:
        assert found.threshold == math.inf


def test_latency_waits_for_the_result_and_leaves_compilation_out(monkeypatch):
    clock = [0.0]

    class Result:
        def block_until_ready(self):
            clock[0] += 0.001 * next(durations)
            return self

    durations = iter([900, 800, 700, *range(1, 102)])  # The first three compile.
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    p50, p99 = dashboards.latency(lambda x: Result(), 3, calls=101)
    assert (p50, p99) == (pytest.approx(51), pytest.approx(100))


def test_a_table_of_all_indicators():
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.45, 0.55]])
    found = dashboards.kpis(
        history(),
        labels=np.array([0, 0, 1, 0]),
        scores=probabilities,
        precision=1.0,
        predict=lambda x: x,
        x=jnp.ones(2),
    )
    assert found.accuracy == 0.75
    assert found.manual_reduction == 0.75
    assert found.macro_f1 == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert found.loss_convergence == pytest.approx(0.5)
    assert found.gradient_norm["readout"] == 1
    table = json.loads(json.dumps(found.to_dict()))
    assert set(table) == {field for field in table if getattr(found, field) is not None}
    assert len(str(found).splitlines()) == 6 + len(NAMES)
    assert "accuracy" in str(found)
    assert dashboards.kpis().to_dict() == {}


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: dashboards.kpis(labels=[1]),
            ValueError,
            "go together, got only labels",
        ),
        (lambda: dashboards.kpis(x=[1]), ValueError, "go together, got only x"),
        (lambda: dashboards.macro_f1([1, 2], [1]), ValueError, "as many, got 2 and 1"),
        (
            lambda: dashboards.macro_f1(["a"], [1]),
            TypeError,
            "labels must be a numeric",
        ),
        (
            lambda: dashboards.manual_reduction([0.5], [1], precision=0),
            ValueError,
            "precision must be finite and above 0 and at most 1",
        ),
        (
            lambda: dashboards.manual_reduction(np.ones((1, 1, 1)), [1], precision=1),
            ValueError,
            "scores must have 1 or 2 axes",
        ),
        (lambda: dashboards.latency(3), TypeError, "function must be callable"),
        (lambda: dashboards.latency(len, [], calls=0), ValueError, "calls must be"),
        (
            lambda: dashboards.write(history(), "x", every=0),
            ValueError,
            "every must be at least 1",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
