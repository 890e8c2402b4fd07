"""The package as a whole: light to import, its data, its settings, its argument checks."""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vgutils as vg
from vgutils import datasets, errors, settings
from vgutils.datasets import files, mnist


def test_import_loads_nothing_heavy():
    code = "import sys, vgutils; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"jax", "flax", "optax", "numpy", "matplotlib", "IPython"}
    assert heavy.isdisjoint(loaded.stdout.split())


def test_every_public_name_is_there_and_typed_alike():
    for name in vg.__all__:
        assert getattr(vg, name) is not None
        assert name in dir(vg)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vg.nothing


def test_every_public_thing_has_a_docstring():
    for room in vg._ROOMS:
        module = importlib.import_module(f"vgutils.{room}")
        assert module.__doc__
        for name, thing in vars(module).items():
            if (
                callable(thing)
                and not name.startswith("_")
                and thing.__module__ == module.__name__
            ):
                assert thing.__doc__, f"{room}.{name}"


# --- data -----------------------------------------------------------------------------------------


def test_digits(capsys):
    data = datasets.digits()
    assert data.x_train.shape == (4000, 784)
    assert data.x_test.shape == (1000, 784)
    assert "4000 to train on, 1000 held out" in capsys.readouterr().out
    np.testing.assert_array_equal(np.bincount(data.y_train), 400)
    np.testing.assert_array_equal(np.bincount(data.y_test), 100)
    assert data.x_train.mean() == pytest.approx(0, abs=1e-5)
    assert data.x_train.std() == pytest.approx(1, abs=1e-5)
    assert data.x_train.dtype == np.float32


def test_splits_share_no_image_and_depend_on_the_seed():
    def pictures(x):
        return {row.tobytes() for row in np.round(x, 3)}

    first, second = datasets.digits(), datasets.digits(seed=1)
    everything = len(pictures(np.concatenate([first.x_train, first.x_test])))
    assert len(pictures(first.x_train)) + len(pictures(first.x_test)) == everything
    assert not np.array_equal(first.y_test, second.y_test) or not np.array_equal(
        first.x_test, second.x_test
    )
    np.testing.assert_array_equal(first.x_test, datasets.digits().x_test)


def test_digits_look_like_digits():
    """The mean picture of each class classifies held-out images far above chance."""
    data = datasets.digits()
    means = np.stack(
        [data.x_train[data.y_train == digit].mean(0) for digit in range(10)]
    )
    nearest = ((data.x_test[:, None] - means) ** 2).sum(-1).argmin(1)
    assert (nearest == data.y_test).mean() > 0.7


def test_missing_or_damaged_data_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(files.resources, "files", lambda package: tmp_path)
    with pytest.raises(FileNotFoundError, match="reinstall vgutils"):
        datasets.digits()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / mnist.DIGITS_FILE).write_bytes(b"half a file")
    with pytest.raises(OSError, match="damaged"):
        datasets.digits()


def test_the_full_set_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ModuleNotFoundError, match="pip install scikit-learn"):
        datasets.digits(source="full")


def test_bad_dataset_arguments():
    with pytest.raises(ValueError, match="source must be one of bundled, full"):
        datasets.digits(source="web")
    with pytest.raises(
        ValueError, match="test_fraction must be finite and above 0 and at most"
    ):
        datasets.digits(test_fraction=0)
    with pytest.raises(TypeError, match="seed must be an integer"):
        datasets.digits(seed=0.5)


# --- settings -------------------------------------------------------------------------------------


@given(st.integers(0, 999), st.integers(0, 50))
def test_seeds_of_different_shifts_never_meet(base, shift):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VG_SEED", str(shift))
        shifted = settings.seed(base)
        patch.delenv("VG_SEED")
        assert shifted // 1000 == shift
        assert shifted % 1000 == settings.seed(base) == base


@pytest.mark.parametrize("value", ["one", "-1", "1.5", ""])
def test_a_bad_seed_is_named(monkeypatch, value):
    monkeypatch.setenv("VG_SEED", value)
    with pytest.raises(ValueError, match="VG_SEED must be a non-negative integer"):
        settings.seed()


def test_size_by_backend(monkeypatch):
    import jax

    assert settings.size(cpu=1, accelerator=2) in (1, 2)
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert settings.size(cpu=1, accelerator=2) == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    assert settings.size(cpu=1, accelerator=2) == 2


# --- argument checks ------------------------------------------------------------------------------


@given(st.floats(), st.floats(-10, 10), st.floats(0, 10))
def test_number_accepts_exactly_what_it_says(value, low, extent):
    high = low + extent
    inside = np.isfinite(value) and low <= value <= high
    if inside:
        assert errors.number("x", value, minimum=low, maximum=high) == value
    else:
        with pytest.raises(ValueError, match="x must be finite and at least"):
            errors.number("x", value, minimum=low, maximum=high)


@pytest.mark.parametrize("value", [True, "3", None, [1.0], b"1", 1j])
def test_number_refuses_what_is_no_number(value):
    with pytest.raises(TypeError, match="x must be a number"):
        errors.number("x", value)


@pytest.mark.parametrize(
    ("value", "options", "error", "message"),
    [
        ([], {}, ValueError, "x must not be empty"),
        ([1.0, np.nan], {}, ValueError, "x must be finite, got 1 values"),
        ([1, 2], {"floating": True}, TypeError, "x must be a floating-point array"),
        ([1.0], {"ndim": 2}, ValueError, r"x must have 2 axes, got shape \(1,\)"),
        (["a"], {}, TypeError, "x must be a numeric array"),
    ],
)
def test_array_says_what_is_wrong(value, options, error, message):
    with pytest.raises(error, match=message):
        errors.array("x", value, **options)
