"""The networks of the chapter on frameworks: the reference, the comparison, the recorded table."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import ROOT

from vgutils import frameworks, theory
from vgutils.frameworks import Error, compare, failures, norms, read, recorded, worst

sys.path.insert(0, str(ROOT / "frameworks"))
import reference


@pytest.fixture(scope="module")
def data():
    return frameworks.inputs()


@pytest.fixture(scope="module")
def right(data):
    return reference.gradients(data)


def test_inputs_are_always_the_same(data):
    again = frameworks.inputs()
    assert all(np.array_equal(data[name], again[name]) for name in data)
    assert data["lstm/W"].shape == (8, 128)
    assert data["mlp/W0"].dtype == np.float32


# The reference against finite differences. The sigmoid network's own slopes are too small for
# them, so that its weights are made larger here.


@pytest.mark.parametrize(
    "name",
    [
        *(
            "mlp/W0",
            "mlp/b3",
            "mlp/W20",
            "lstm/W",
            "lstm/U",
            "lstm/b",
            "lstm/x",
            "lstm/V",
        ),
        *("res/stem", "res/K0", "res/K15", "res/gamma6", "res/beta7", "res/c"),
    ],
)
def test_the_reference_is_the_slope_of_its_loss(data, name):
    network = name.split("/")[0]
    wide = {key: v * 1.0 if v.dtype == np.float32 else v for key, v in data.items()}
    wide = {
        key: v.astype(float) if v.dtype.kind == "f" else v for key, v in wide.items()
    }
    if network == "mlp":
        for i in range(20):
            wide[f"mlp/W{i}"] = wide[f"mlp/W{i}"] * 4
            wide[f"mlp/b{i}"] = wide[f"mlp/b{i}"] - wide[f"mlp/W{i}"].sum(0) / 2 * (
                i > 0
            )
    only = {key: v for key, v in wide.items() if key.startswith(network)}
    for key in (f"{network}/x", f"{network}/y"):
        only[key] = only[key][:3]  # examples
    run = {"mlp": reference.mlp, "lstm": reference.lstm, "res": reference.residual}

    def evaluate(step):
        p = {key.split("/")[1]: v for key, v in only.items()}
        p[name.split("/")[1]] = p[name.split("/")[1]] + step
        y = p.pop("y")
        return run[network](p, p.pop("x"), y)

    direction = np.random.default_rng(0).normal(size=only[name].shape)
    ahead, back = evaluate(1e-5 * direction), evaluate(-1e-5 * direction)
    slope = (ahead["loss"] - back["loss"]) / 2e-5
    if name == "lstm/x":
        by_hand = np.sum(evaluate(0)["x"] * direction)
    else:
        by_hand = np.sum(evaluate(0)[name.split("/")[1]] * direction)
    assert abs(by_hand) > 1e-6
    assert slope == pytest.approx(by_hand, rel=1e-5)


def test_the_reference_is_what_jax_differentiates(data, right):
    with theory.float64():
        p = {k: jnp.asarray(v, float) for k, v in data.items() if k.startswith("mlp/")}
        y = data["mlp/y"]

        def loss(p):
            h = p["mlp/x"]
            for i in range(20):
                h = jax.nn.sigmoid(h @ p[f"mlp/W{i}"] + p[f"mlp/b{i}"])
            log_p = jax.nn.log_softmax(h @ p["mlp/W20"] + p["mlp/b20"])
            return -log_p[jnp.arange(len(y)), y].mean()

        grads = jax.jit(jax.grad(loss))(p)
        for name in (f"mlp/{leaf}{i}" for leaf in "Wb" for i in range(21)):
            np.testing.assert_allclose(
                grads[name], right[name], rtol=0, atol=1e-12 * np.abs(right[name]).max()
            )


# The comparison.


def test_equal_gradients_have_no_error(right):
    errors = compare(right, right)
    assert set(errors.values()) == {Error(0.0, 0.0)}
    assert failures(errors) == []
    assert set(worst(errors)) == {"mlp", "lstm", "res", "steps"}
    assert "lstm/x99" in norms(right)


def planted(right, name, change):
    return {**right, name: change(right[name])}


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("mlp/W7", lambda g: g.T),  # another layout
        ("lstm/b", lambda g: np.roll(g, 32)),  # another order of the gates
        ("res/K3", lambda g: -g),
        ("lstm/loss", lambda g: g * 1.001),
        ("mlp/W0", lambda g: g * 32),  # the batch's sum
        ("mlp/W0", lambda g: g * 0),  # "it has vanished"
    ],
)
def test_a_wrong_gradient_fails(right, name, change):
    wrong = failures(compare(planted(right, name, change), right))
    assert len(wrong) == 1
    assert wrong[0].startswith(name)


def test_a_small_gradient_is_not_zero():
    tiny = {
        "mlp/W0": np.full((10, 10), 1e-30, np.float32)
    }  # its square is 0 in float32
    assert norms(tiny)["mlp/W0"] == pytest.approx(1e-29)
    assert compare(tiny, tiny)["mlp/W0"] == (0.0, 0.0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda g: g[:-1], "must have shape"),
        (lambda g: np.where(g == g.flat[0], np.nan, g), "must be finite"),
        (lambda g: np.where(g == g.flat[0], np.inf, g), "must be finite"),
    ],
)
def test_what_is_no_gradient_is_refused(right, change, told):
    with pytest.raises(ValueError, match=told):
        compare(planted(right, "mlp/W5", change), right)


def test_names_and_zero_references_are_refused(right):
    with pytest.raises(ValueError, match="mlp/W5"):
        compare({k: v for k, v in right.items() if k != "mlp/W5"}, right)
    with pytest.raises(ValueError, match="must not be 0"):
        compare(right, planted(right, "mlp/W5", lambda g: 0 * g))


def test_the_tolerance_is_above_what_rounding_does():
    typical = [frameworks.typical_error(name) for name in frameworks.NETWORKS]
    assert max(typical) <= frameworks.TOLERANCE < 10 * max(typical)
    with pytest.raises(ValueError, match="mlp, lstm, res"):
        frameworks.typical_error("transformer")


# The recorded table.


def test_the_recorded_table_is_of_these_networks_and_green(right):
    table = recorded()
    expected = norms(right)
    assert set(table.rows) >= {"flax", "torch", "tensorflow", "keras-torch", "cntk"}
    assert set(table.reference) == set(expected)
    for name, value in expected.items():
        assert table.reference[name] == pytest.approx(value, rel=1e-8)
    for row in table.rows.values():
        assert set(row.norms) == set(expected)
        assert max(row.worst.values()) <= frameworks.TOLERANCE
        for name, value in expected.items():
            assert row.norms[name] == pytest.approx(value, rel=frameworks.TOLERANCE)
        assert row.versions
    for name in ("flax", "torch", "keras-torch", "cntk"):
        assert {len(values) for values in table.rows[name].defaults.values()} == {5}


@pytest.mark.parametrize("content", ["", "[]", '{"rows": {}}', '{"rows": {"a": 1}}'])
def test_another_file_is_no_table(tmp_path, content):
    path = tmp_path / "table.json"
    path.write_text(content)
    with pytest.raises(ValueError, match="not a table"):
        read(path)


def test_a_live_row_that_differs_from_the_record_is_told():
    spec = importlib.util.spec_from_file_location(
        "runs", ROOT / "tools" / "frameworks.py"
    )
    runs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(runs)
    table = recorded()
    assert runs.against(table, table) == []
    sizes = table.rows["torch"].norms
    changed = {**sizes, "mlp/W3": sizes["mlp/W3"] * 1.001}
    row = replace(table.rows["torch"], norms=changed)
    other = replace(table, rows={**table.rows, "torch": row})
    assert runs.against(table, other) == ["torch: not as recorded: mlp/W3"]
    drawn = {**row.defaults, "lstm": [1.0] * 5}
    row = replace(table.rows["torch"], defaults=drawn)
    other = replace(table, rows={**table.rows, "torch": row})
    assert runs.against(table, other) == ["torch: default lstm is not as recorded"]
