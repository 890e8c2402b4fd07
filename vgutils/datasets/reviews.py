"""Sentences from film reviews, and the few steps from text to arrays."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vgutils import errors
from vgutils.datasets import files

REVIEWS_FILE = "reviews.npz"
REVIEWS_SHA256 = "445012aa9622b0b11d71604e7b377915df72f15ea2f9482c7f0ac181b6196dfe"

PADDING, UNKNOWN = 0, 1
"""The ids of what fills a sequence up, and of every word that the vocabulary lacks."""

_TOKEN = re.compile(r"\w+(?:'\w+)*|[^\w\s]")


@dataclass(frozen=True)
class Part:
    """Some of the reviews.

    Attributes:
        text: n sentences as they were written.
        ids: (n, length) int32, the tokens' ids, then `PADDING`.
        mask: (n, length) bool, True at tokens and False at padding.
        y: (n,) int32, 1 where the mean rating is above 0, else 0.
    """

    text: tuple[str, ...]
    ids: np.ndarray
    mask: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Reviews:
    """Reviews in three parts, and the vocabulary of the first.

    Attributes:
        vocabulary: The words by id; the first two are `<padding>` and `<unknown>`.
        train: What models are fitted to.
        validation: What choices are made on.
        test: What is looked at once, at the end.
        source: Where the reviews came from.
    """

    vocabulary: tuple[str, ...]
    train: Part
    validation: Part
    test: Part
    source: str


def reviews(
    *,
    source: str | Path = "bundled",
    length: int = 32,
    vocabulary_size: int = 5000,
    seed: int = 0,
) -> Reviews:
    """Load sentences from film reviews with the mean rating of about twenty people.

    The sentences are those of Pang and Lee, the ratings those of Hutto and Gilbert (2014).
    Sentences of mean rating 0 are left out, and so are repeated ones. Seven in ten are for
    training, one for validation, two for the test.

    Args:
        source: "bundled", or the path of a UTF-8 file whose lines hold an identifier, a rating and
            a text, separated by tabs (as the files of Hutto and Gilbert do).
        length: Tokens of a sequence; longer sentences are cut, shorter ones filled up at the end.
        vocabulary_size: Ids in all. Words are chosen by how often they stand in the training part,
            and nowhere else.
        seed: Chooses which sentence is in which part.

    Raises:
        FileNotFoundError: The file is missing.
        OSError: The bundled file is damaged (its checksum is wrong).
        ValueError: A line of another file is not as above (the message has its number), fewer than
            10 reviews are left, or an argument is out of range.
        TypeError: An argument has the wrong type.
    """
    errors.integer("seed", seed, minimum=0)
    texts, ratings = _bundled() if source == "bundled" else _from_file(Path(source))
    first = {text: n for n, text in reversed(list(enumerate(texts)))}
    kept = [n for n in sorted(first.values()) if ratings[n] != 0]
    if len(kept) < 10:
        raise ValueError(
            f"source must hold at least 10 different reviews, got {len(kept)}"
        )
    order = np.random.default_rng(seed).permutation(kept)
    cuts = [7 * len(kept) // 10, 8 * len(kept) // 10]
    groups = np.split(order, cuts)
    vocabulary = build_vocabulary([texts[n] for n in groups[0]], vocabulary_size)

    def part(group: np.ndarray) -> Part:
        chosen = tuple(texts[n] for n in group)
        ids, mask = encode(chosen, vocabulary, length=length)
        return Part(chosen, ids, mask, np.array(ratings[group] > 0, np.int32))

    train, validation, test = map(part, groups)
    print(
        f"Film reviews ({source}): {len(train.y)} to train on, {len(validation.y)} to choose by, "
        f"{len(test.y)} to test"
    )
    return Reviews(vocabulary, train, validation, test, str(source))


def tokens(text: str) -> list[str]:
    """Cut a text into words and punctuation marks, in lower case.

    Raises:
        TypeError: `text` is not a string.
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a string, got {text!r}")
    return _TOKEN.findall(text.lower())


def build_vocabulary(texts: Sequence[str], size: int) -> tuple[str, ...]:
    """The most frequent words by id, after the ids of padding and unknown words.

    Args:
        texts: What the words are counted in: the training texts.
        size: Ids in all, at least 3. Fewer come back where there are fewer words.

    Raises:
        TypeError: A text is not a string, `size` not an integer.
        ValueError: `size` is below 3.
    """
    errors.integer("size", size, minimum=3)
    counts = Counter(word for text in texts for word in tokens(text))
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return ("<padding>", "<unknown>", *ranked[: size - 2])


def encode(
    texts: Sequence[str],
    vocabulary: Sequence[str],
    *,
    length: int,
    unknown: str = "mark",
) -> tuple[np.ndarray, np.ndarray]:
    """Turn texts into ids of one length, with padding after the text.

    Args:
        texts: n strings, each with at least one token.
        vocabulary: Words by id, from `build_vocabulary`.
        length: Tokens of a sequence; longer texts are cut.
        unknown: "mark" gives a word that the vocabulary lacks the id `UNKNOWN`, "refuse" raises.

    Returns:
        ids: (n, length) int32.
        mask: (n, length) bool, True at tokens.

    Raises:
        TypeError: `texts` is one string, or holds something else; `length` is not an integer.
        ValueError: A text is empty, or (with "refuse") has unknown words; `length` is below 1.
    """
    if isinstance(texts, str):
        raise TypeError(f"texts must be a sequence of strings, got one: {texts!r}")
    errors.integer("length", length, minimum=1)
    errors.one_of("unknown", unknown, ["mark", "refuse"])
    id_of = {word: n for n, word in enumerate(vocabulary)}
    ids = np.full((len(texts), length), PADDING, np.int32)
    for row, text in enumerate(texts):
        words = tokens(text)[:length]
        if not words:
            raise ValueError(f"texts[{row}] has no word in it: {text!r}")
        missing = [word for word in words if word not in id_of]
        if missing and unknown == "refuse":
            raise ValueError(
                f"texts[{row}] has words that the vocabulary lacks: {', '.join(missing)}"
            )
        ids[row, : len(words)] = [id_of.get(word, UNKNOWN) for word in words]
    return ids, ids != PADDING


def _bundled() -> tuple[list[str], np.ndarray]:
    arrays = files.load(REVIEWS_FILE, REVIEWS_SHA256)
    return arrays["text"].tobytes().decode("utf-8").split("\n"), arrays["ratings"]


def _from_file(path: Path) -> tuple[list[str], np.ndarray]:
    """The texts and ratings of a tab-separated file; every error names the line."""
    if not path.is_file():
        raise FileNotFoundError(
            f'source must be "bundled" or an existing file, got {path}'
        )
    texts, ratings = [], []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            _, rating, text = line.decode("utf-8").split("\t")
            ratings.append(float(rating))
        except ValueError as wrong:
            raise ValueError(
                f"{path}, line {number}: expected an identifier, a rating and a text, separated by "
                f"tabs, in UTF-8 ({wrong})"
            ) from None
        if not (math.isfinite(ratings[-1]) and tokens(text)):
            raise ValueError(
                f"{path}, line {number}: the rating must be finite and the text not empty, got "
                f"{line[:80]!r}"
            )
        texts.append(text)
    return texts, np.array(ratings, np.float32)
