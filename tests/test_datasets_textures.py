"""Surfaces: what is in the file, clear errors, and patches that no two parts share."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vgutils import datasets
from vgutils.datasets import files
from vgutils.datasets.textures import TEXTURE_PARTS, patches, strips, texture

PARTS = ("train", "validation", "test")


def test_what_is_in_it(capsys):
    """Sizes, and the means and extremes that the images of scikit-image 0.26 have."""
    brick, gravel = texture(), texture("gravel")
    for found in (brick, gravel):
        assert found.image.shape == (512, 512)
        assert found.image.dtype == np.uint8
    assert brick.image.mean() == pytest.approx(111.4554, abs=1e-3)
    assert gravel.image.mean() == pytest.approx(126.5450, abs=1e-3)
    assert (brick.image.min(), brick.image.max()) == (63, 207)
    assert "brick (scikit-image, CC0): 512 x 512" in capsys.readouterr()[0]
    assert datasets.texture is texture
    assert datasets.patches is patches


@pytest.mark.parametrize("name", ["bricks", "grass", ""])
def test_unknown_name(name):
    with pytest.raises(ValueError, match="name must be one of"):
        texture(name)


def test_missing_and_damaged(monkeypatch, tmp_path):
    monkeypatch.setattr(files.resources, "files", lambda _: tmp_path)
    with pytest.raises(FileNotFoundError, match=r"textures\.npz is missing"):
        texture()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "textures.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(OSError, match=r"textures\.npz is damaged"):
        texture()


def test_a_file_of_the_reader(tmp_path):
    grey = np.random.default_rng(0).integers(256, size=(40, 60)).astype(np.uint8)
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / "part.png")
    found = texture(source=tmp_path / "part.png")
    assert found.name == "part.png"
    np.testing.assert_array_equal(found.image, grey)


def test_no_image(tmp_path):
    with pytest.raises(FileNotFoundError, match="existing image file"):
        texture(source=tmp_path / "none.png")
    with pytest.raises(FileNotFoundError, match="existing image file"):
        texture(source=tmp_path)
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match=r"must be an image file.*text\.png is none"):
        texture(source=tmp_path / "text.png")


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_cut_short(tmp_path, kind):
    noise = np.random.default_rng(0).integers(256, size=(80, 80)).astype(np.uint8)
    path = tmp_path / f"part.{kind}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(OSError, match="is damaged"):
        texture(source=path)


@given(st.integers(100, 600), st.integers(1, 16))
@settings(deadline=None)
def test_no_two_parts_share_a_pixel(width, size):
    """The claim of the split, for every place at which a patch may begin."""
    seen = {
        part: (strips(width, part, size=size)[:, None] + np.arange(size)).ravel()
        for part in PARTS
    }
    for one, other in (PARTS[:2], PARTS[1:], PARTS[::2]):
        assert np.abs(np.subtract.outer(seen[one], seen[other])).min() > 0.03 * width
    assert max(columns.max() for columns in seen.values()) < width


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=20)
def test_patches_stay_in_their_part(seed):
    """Each pixel holds its own place, so that a patch tells where it came from."""
    image = np.arange(512 * 512).reshape(512, 512)
    pixels = {}
    for part in PARTS:
        cut, places = patches(image, part, 50, size=16, rng=np.random.default_rng(seed))
        assert cut.shape == (50, 16, 16)
        assert cut.dtype == np.float32
        np.testing.assert_array_equal(cut[:, 0, 0], places @ [512, 1])
        pixels[part] = set(cut.ravel().astype(int).tolist())
        columns = (cut.astype(int) % 512) / 512
        blocks = TEXTURE_PARTS[part]
        inside = [(columns >= a - 1 / 512) & (columns < b) for a, b in blocks]
        assert np.any([block.all(axis=(1, 2)) for block in inside], axis=0).all()
    assert not pixels["train"] & pixels["validation"]
    assert not pixels["train"] & pixels["test"]
    assert not pixels["validation"] & pixels["test"]


def test_every_place_is_used():
    """Both ends of each strip, and the first and last row, are drawn."""
    image = np.zeros((20, 100))
    _, places = patches(image, "train", 5000, size=8, rng=np.random.default_rng(0))
    assert set(places[:, 0]) == set(range(13))
    assert set(places[:, 1]) == set(strips(100, "train", size=8))


RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("image", "arguments", "error", "words"),
    [
        (np.zeros((64, 64)), {"part": "tests"}, ValueError, "part must be one of"),
        (np.zeros((64, 64)), {"n": 0}, ValueError, "n must be at least 1"),
        (np.zeros((64, 64)), {"size": 18}, ValueError, "got 18"),
        (np.zeros((8, 512)), {"size": 9}, ValueError, "height of the image, 8, got 9"),
        (np.zeros((64, 64, 3)), {}, ValueError, "image"),
        ("no image", {}, TypeError, "image"),
        (np.full((64, 64), np.nan), {}, ValueError, "finite"),
        (np.zeros((64, 64)), {"rng": 7}, TypeError, "Generator"),
    ],
)
def test_bad_patches(image, arguments, error, words):
    usual = {"part": "train", "n": 4, "size": 8, "rng": RNG} | arguments
    with pytest.raises(error, match=words):
        patches(image, usual.pop("part"), usual.pop("n"), **usual)
