"""Film reviews: what is loaded, that nothing leaks, and what bad input is told."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import vgutils as vg
from vgutils.datasets import files
from vgutils.datasets.reviews import (
    PADDING,
    REVIEWS_FILE,
    REVIEWS_SHA256,
    UNKNOWN,
    build_vocabulary,
    encode,
    reviews,
    tokens,
)


@pytest.fixture(scope="module")
def data():
    return reviews()


def parts(data):
    return data.train, data.validation, data.test


def test_the_file_holds_what_its_authors_say():
    arrays = files.load(REVIEWS_FILE, REVIEWS_SHA256)
    texts = arrays["text"].tobytes().decode().split("\n")
    assert len(texts) == len(arrays["ratings"]) == 10_605  # Their README's number.
    assert np.all(np.abs(arrays["ratings"]) <= 4)
    assert texts[2] == "Effective but too tepid biopic"
    assert arrays["ratings"][2] == np.float32(-0.6)


def test_shapes_and_types(data):
    for part in parts(data):
        assert part.ids.shape == part.mask.shape == (len(part.y), 32)
        assert (part.ids.dtype, part.mask.dtype, part.y.dtype) == (
            "int32",
            bool,
            "int32",
        )
        assert len(part.text) == len(part.y)
        assert part.ids.min() == PADDING
        assert part.ids.max() < 5000
        assert set(part.y) == {0, 1}
        assert 0.45 < part.y.mean() < 0.55
        np.testing.assert_array_equal(part.mask, part.ids != PADDING)
        lengths = part.mask.sum(1)
        assert lengths.min() >= 1
        np.testing.assert_array_equal(part.mask, np.arange(32) < lengths[:, None])
    sizes = [len(part.y) for part in parts(data)]
    np.testing.assert_allclose(np.array(sizes) / sum(sizes), [0.7, 0.1, 0.2], atol=1e-3)


def test_no_sentence_is_in_two_parts(data):
    texts = [set(part.text) for part in parts(data)]
    assert sum(map(len, texts)) == len(set().union(*texts))
    assert sum(map(len, texts)) == sum(len(part.y) for part in parts(data))


def test_the_vocabulary_never_sees_other_parts(data):
    """Counted again here, by hand, from the training text alone."""
    counts: dict[str, int] = {}
    for text in data.train.text:
        for word in tokens(text):
            counts[word] = counts.get(word, 0) + 1
    known = [counts.get(word, 0) for word in data.vocabulary[2:]]
    assert len(data.vocabulary) == len(set(data.vocabulary)) == 5000
    assert known == sorted(counts.values(), reverse=True)[: len(known)]
    elsewhere = {
        w for part in parts(data)[1:] for text in part.text for w in tokens(text)
    }
    never_taught = elsewhere - set(counts)
    assert never_taught
    assert not never_taught & set(data.vocabulary)


def test_ids_are_the_words(data):
    text = data.test.text[0]
    words = tokens(text)[:32]
    known = set(data.vocabulary)
    read = [data.vocabulary[i] for i in data.test.ids[0] if i != PADDING]
    assert read == [word if word in known else "<unknown>" for word in words]


def test_seed_splits_and_repeats(data, capsys):
    again, other = reviews(), reviews(seed=1)
    assert again.train.text == data.train.text
    assert other.train.text != data.train.text
    assert "7396 to train on" in capsys.readouterr().out


def test_tokens():
    assert tokens("It's NOT bad, it's awful.") == [
        "it's", "not", "bad", ",", "it's", "awful", ".",
    ]  # fmt: skip
    assert tokens("Touché!") == ["touché", "!"]
    assert tokens(" ") == []
    with pytest.raises(TypeError, match="text must be a string, got 3"):
        tokens(3)


def test_vocabulary():
    words = build_vocabulary(["b a b", "c a b"], 4)
    assert words == ("<padding>", "<unknown>", "b", "a")
    assert len(build_vocabulary(["a"], 100)) == 3
    with pytest.raises(ValueError, match="size must be at least 3"):
        build_vocabulary(["a"], 2)


def test_encode():
    words = build_vocabulary(["good good film"], 10)
    ids, mask = encode(["Good film", "bad", "film film film film"], words, length=3)
    np.testing.assert_array_equal(ids, [[2, 3, 0], [UNKNOWN, 0, 0], [3, 3, 3]])
    np.testing.assert_array_equal(mask.sum(1), [2, 1, 3])


@pytest.mark.parametrize(
    ("texts", "options", "error", "message"),
    [
        (["good", " \t"], {}, ValueError, r"texts\[1\] has no word in it: ' \\t'"),
        (
            ["a good qwert"],
            {"unknown": "refuse"},
            ValueError,
            "vocabulary lacks: a, qwert",
        ),
        ("good", {}, TypeError, "texts must be a sequence of strings"),
        ([None], {}, TypeError, "text must be a string, got None"),
        (["good"], {"length": 0}, ValueError, "length must be at least 1"),
        (["good"], {"unknown": "drop"}, ValueError, "unknown must be one of"),
    ],
)
def test_bad_text(texts, options, error, message):
    with pytest.raises(error, match=message):
        encode(texts, build_vocabulary(["good"], 3), **{"length": 4, **options})


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"seed": 0.5}, TypeError, "seed must be an integer"),
        ({"length": 0}, ValueError, "length must be at least 1"),
        ({"vocabulary_size": 2}, ValueError, "size must be at least 3"),
        ({"source": "nowhere.txt"}, FileNotFoundError, '"bundled" or an existing file'),
    ],
)
def test_bad_arguments(options, error, message):
    with pytest.raises(error, match=message):
        reviews(**options)


def write(path, lines):
    path.write_bytes("\r\n".join(lines).encode())
    return path


def test_a_file_of_your_own(tmp_path):
    path = write(tmp_path / "own.txt", [f"{n}\t{n - 6.5}\ttext {n}" for n in range(20)])
    data = reviews(source=path, length=4)
    assert sum(len(part.y) for part in parts(data)) == 20
    assert data.source == str(path)
    of = {
        text: y
        for part in parts(data)
        for text, y in zip(part.text, part.y, strict=True)
    }
    assert of["text 6"] == 0
    assert of["text 7"] == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("7\t1.5", "line 3: expected an identifier"),
        ("7\tgood\tfilm", "line 3: .*could not convert"),
        ("7\tnan\tfilm", "line 3: the rating must be finite"),
        ("7\t1.5\t ", "line 3: .*text not empty"),
    ],
)
def test_a_damaged_file_of_your_own(tmp_path, line, message):
    path = write(tmp_path / "own.txt", ["1\t1\ta film", "2\t-1\tno film", line])
    with pytest.raises(ValueError, match=message):
        reviews(source=path)


def test_a_file_in_another_encoding(tmp_path):
    path = tmp_path / "own.txt"
    path.write_bytes("1\t1\tTouché".encode("latin-1"))
    with pytest.raises(ValueError, match=r"line 1: .*UTF-8"):
        reviews(source=path)


def test_too_few(tmp_path):
    path = write(tmp_path / "own.txt", ["1\t1\ta film"] * 20)
    with pytest.raises(ValueError, match="at least 10 different reviews, got 1"):
        reviews(source=path)


def test_a_damaged_or_missing_bundle(monkeypatch):
    module = sys.modules["vgutils.datasets.reviews"]  # The name is the function's, too.
    monkeypatch.setattr(module, "REVIEWS_SHA256", "0" * 64)
    with pytest.raises(OSError, match="damaged"):
        vg.datasets.reviews()
    monkeypatch.setattr(module, "REVIEWS_FILE", "no.npz")
    with pytest.raises(FileNotFoundError, match=r"no\.npz is missing"):
        vg.datasets.reviews()
