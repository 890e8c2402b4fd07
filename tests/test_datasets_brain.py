"""The brain's slices: what they are, how they are split, and what a bad file is told."""

from __future__ import annotations

import gzip
import importlib.util
import sys

import numpy as np
import pytest

from vgutils import datasets

nibabel = pytest.importorskip("nibabel")
FILE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
ROOM = sys.modules["vgutils.datasets.brain"]


@pytest.fixture(scope="module")
def brain():
    if importlib.util.find_spec("nilearn") is None:
        pytest.skip("nilearn is not installed")
    return datasets.brain()


@pytest.fixture
def folder(tmp_path):
    """Three small files of the right shape: white matter in a block, grey around it, CSF left."""
    t1 = np.zeros((197, 233, 189), np.uint8)
    t1[30:167, 30:200, :170] = 90
    grey, white = np.zeros_like(t1), np.zeros_like(t1)
    grey[50:147, 50:180, :170] = 200
    white[70:127, 70:160, :170] = 255
    grey[white > 0] = 0
    for kind, volume in (("t1", t1), ("gm", grey), ("wm", white)):
        nibabel.save(
            nibabel.Nifti1Image(volume, np.eye(4)), tmp_path / FILE.format(kind)
        )
    return tmp_path


def write(folder, kind, volume):
    nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), folder / FILE.format(kind))


def test_shapes_and_labels(brain):
    for part, slices in (("train", 24), ("val", 4), ("test", 6)):
        x, y = getattr(brain, f"x_{part}"), getattr(brain, f"y_{part}")
        assert x.shape == y.shape == (slices, 40, 96)
        assert x.dtype == np.float32
        assert y.dtype == np.int32
        assert set(np.unique(y)) == {0, 1, 2, 3}
        assert x.min() >= 0
        assert x.max() <= 255
    assert brain.classes == ("outside", "CSF", "grey matter", "white matter")
    assert brain.symmetric
    brightness = [np.median(brain.x_train[brain.y_train == k]) for k in range(4)]
    assert brightness == sorted(brightness)  # T1: water is dark, white matter is bright


def test_parts_do_not_touch(brain):
    parts = [brain.height_train, brain.height_val, brain.height_test]
    for i, one in enumerate(parts):
        assert len(set(one)) == len(one)
        for other in parts[i + 1 :]:
            assert np.abs(one[:, None] - other).min() > 4


def test_labels_follow_the_rule(folder, capsys):
    brain = datasets.brain(folder=folder)
    assert str(folder) in brain.source
    assert "average of 152" in capsys.readouterr().out
    labels = brain.y_test[
        0
    ]  # x runs from voxel 18, y from voxel 20, both in steps of 2
    assert labels[3, 50] == 0  # x = 24: outside
    assert labels[10, 50] == 1  # x = 38: inside, in neither map
    assert labels[20, 50] == 2  # x = 58: grey
    assert labels[30, 50] == 3  # x = 78: white
    np.testing.assert_array_equal(brain.x_test[0][[3, 10], 50], [0, 90])
    np.testing.assert_array_equal(brain.height_test, np.arange(34, 40))


def test_an_asymmetric_brain_is_told(folder):
    t1 = np.asarray(nibabel.load(folder / FILE.format("t1")).dataobj).copy()
    t1[40] += 1
    write(folder, "t1", t1)
    assert not datasets.brain(folder=folder).symmetric


def test_missing_file(folder):
    (folder / FILE.format("gm")).unlink()
    with pytest.raises(FileNotFoundError, match=r"mni_icbm152_gm.*missing"):
        datasets.brain(folder=folder)


@pytest.mark.parametrize(
    "content", [b"", b"no image", gzip.compress(b"no image", mtime=0)]
)
def test_damaged_file(folder, content):
    (folder / FILE.format("wm")).write_bytes(content)
    with pytest.raises(OSError, match=r"mni_icbm152_wm.*damaged"):
        datasets.brain(folder=folder)


def test_truncated_file(folder):
    path = folder / FILE.format("t1")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(OSError, match=r"mni_icbm152_t1.*damaged"):
        datasets.brain(folder=folder)


def test_wrong_shape(folder):
    write(folder, "gm", np.zeros((10, 10, 10), np.uint8))
    with pytest.raises(
        ValueError, match=r"shape \(197, 233, 189\), got \(10, 10, 10\)"
    ):
        datasets.brain(folder=folder)


@pytest.mark.parametrize(
    ("value", "words"), [(np.nan, "finite"), (-3.0, "0 to 255"), (300.0, "0 to 255")]
)
def test_wrong_values(folder, value, words):
    volume = np.zeros((197, 233, 189), np.float32)
    volume[100, 100, 100] = value
    write(folder, "t1", volume)
    with pytest.raises(ValueError, match=words):
        datasets.brain(folder=folder)


def test_without_nilearn(monkeypatch):
    monkeypatch.setattr(ROOM.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install -q --no-deps nilearn"):
        datasets.brain()


def test_without_nibabel(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(ModuleNotFoundError, match="pip install -q nibabel"):
        datasets.brain(folder=folder)


def test_nilearn_is_not_imported(brain):
    assert "nilearn" not in sys.modules
