"""Handwritten digits: 5,000 MNIST images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vgutils import errors
from vgutils.datasets import files

DIGITS_FILE = "mnist_5k.npz"
DIGITS_SHA256 = "246e0c30eeea57c8d0037d3f38c8e00651ec204cc61b8022563e9aeeb9d756f4"


@dataclass(frozen=True)
class Digits:
    """Handwritten digits, split and standardised.

    Attributes:
        x_train: (n_train, 784) float32, mean 0 and variance 1 over the training pixels.
        y_train: (n_train,) int32, the digit 0 to 9.
        x_test: (n_test, 784) float32, scaled with the training set's mean and variance.
        y_test: (n_test,) int32.
        source: Where the images came from.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    source: str


def digits(
    *, source: str = "bundled", test_fraction: float = 0.2, seed: int = 0
) -> Digits:
    """Load MNIST digits (LeCun et al., 1998).

    Args:
        source: "bundled" for the 5,000 images in this package (500 of each digit; no network),
            "full" for all 70,000 through scikit-learn's downloader.
        test_fraction: The share of each class that is held out, between 0 and 1 (exclusive).
        seed: Chooses which images are held out.

    Returns:
        The split data. Every class keeps its share in both parts.

    Raises:
        ValueError: An unknown `source`, or a fraction outside (0, 1).
        FileNotFoundError: The bundled file is missing.
        OSError: The bundled file is damaged (its checksum is wrong).
        ModuleNotFoundError: "full" without scikit-learn.
    """
    errors.one_of("source", source, ["bundled", "full"])
    errors.number("test_fraction", test_fraction, minimum=0, maximum=0.9, strict=True)
    errors.integer("seed", seed, minimum=0)
    if source == "bundled":
        bundled = files.load(DIGITS_FILE, DIGITS_SHA256)
        images, labels = bundled["images"], bundled["labels"]
    else:
        images, labels = _full_digits()
    test = _stratified_test_mask(labels, test_fraction, seed)
    x = images.reshape(len(images), -1).astype(np.float32)
    mean, std = x[~test].mean(), x[~test].std()
    x, y = (x - mean) / std, labels.astype(np.int32)
    print(
        f"MNIST digits ({source}): {(~test).sum()} to train on, {test.sum()} held out"
    )
    return Digits(x[~test], y[~test], x[test], y[test], source)


def _stratified_test_mask(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Mark `fraction` of each class, drawn at random, as test examples: (n,) bool."""
    order = np.random.default_rng(seed).permutation(len(labels))
    mask = np.zeros(len(labels), dtype=bool)
    for digit in np.unique(labels):
        members = order[labels[order] == digit]
        mask[members[: round(fraction * len(members))]] = True
    return mask


def _full_digits() -> tuple[np.ndarray, np.ndarray]:
    """All 70,000 images through scikit-learn (downloads once, then cached by scikit-learn)."""
    try:
        from sklearn.datasets import fetch_openml
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            "digits(source='full') needs scikit-learn: pip install scikit-learn"
        ) from missing
    data, target = fetch_openml("mnist_784", version=1, as_frame=False, return_X_y=True)
    return data.reshape(-1, 28, 28), target.astype(np.uint8)
