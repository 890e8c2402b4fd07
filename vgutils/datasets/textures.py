"""Photographs of real surfaces, and patches of them that no two parts of a split share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vgutils import errors
from vgutils.datasets import files

TEXTURES_FILE = "textures.npz"
TEXTURES_SHA256 = "4f096430324bc21807ac51321abe4c77d6efa892e2b76a6605c1cf61c2e8dec7"
TEXTURES = ("brick", "gravel")

TEXTURE_PARTS = {
    "train": ((0.0, 0.28), (0.72, 1.0)),
    "validation": ((0.32, 0.48),),
    "test": ((0.52, 0.68),),
}
"""Vertical strips of a surface, as shares of its width: where each begins and ends. Between two
parts, 4 % of the width is left out."""


@dataclass(frozen=True)
class Texture:
    """One surface.

    Attributes:
        name: "brick", "gravel", or the name of the file.
        image: (height, width) uint8, brightness from 0 (black) to 255.
        source: Where it came from.
    """

    name: str
    image: np.ndarray
    source: str


def texture(name: str = "brick", *, source: str | Path = "bundled") -> Texture:
    """Load the photograph of a surface, in grey.

    Args:
        name: "brick" (a brick wall) or "gravel", both 512 x 512; of no use with a file.
        source: "bundled", or the path of an image file that Pillow reads; colours turn grey.

    Raises:
        TypeError, ValueError: An unknown `name`; or a file that is no image.
        FileNotFoundError: The file is missing.
        OSError: The bundled file is damaged (its checksum is wrong), or the image is cut short.
    """
    errors.one_of("name", name, TEXTURES)
    if source == "bundled":
        image = files.load(TEXTURES_FILE, TEXTURES_SHA256)[name]
        made = Texture(name, image, "scikit-image, CC0")
    else:
        path = Path(source)
        made = Texture(path.name, _read(path), str(path))
    height, width = made.image.shape
    print(f"{made.name} ({made.source}): {height} x {width} pixels")
    return made


def strips(width: int, part: str, *, size: int) -> np.ndarray:
    """The columns at which a patch of one part may begin: (n,) int.

    A patch that begins there lies in its part with all its columns. No pixel is in two parts.

    Args:
        width: Of the surface, in pixels.
        part: "train", "validation" or "test".
        size: Of a patch, in pixels.

    Raises:
        TypeError, ValueError: An argument is not what is described here, or a strip is narrower
            than a patch.
    """
    errors.integer("width", width, minimum=1)
    errors.integer("size", size, minimum=1)
    blocks = TEXTURE_PARTS[errors.one_of("part", part, TEXTURE_PARTS)]
    starts = []
    for first, last in ((int(a * width), int(b * width)) for a, b in blocks):
        if last - first < size:
            raise ValueError(
                f"size must be at most the {last - first} columns of a strip for {part} on a "
                f"surface of width {width}, got {size}"
            )
        starts.append(np.arange(first, last - size + 1))
    return np.concatenate(starts)


def patches(
    image: np.ndarray, part: str, n: int, *, size: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Cut square patches of one part of a surface, at random places.

    Patches of one part may overlap. Patches of different parts share no pixel.

    Args:
        image: (height, width), such as `Texture.image`.
        part: "train", "validation" or "test".
        n: How many, at least 1.
        size: Height and width of a patch, in pixels.
        rng: Where the places come from.

    Returns:
        The patches (n, size, size) float32, and the row and column at which each begins, (n, 2).

    Raises:
        TypeError, ValueError: An argument is not what is described here.
    """
    pixels = np.asarray(errors.array("image", image, ndim=2), np.float32)
    errors.integer("n", n, minimum=1)
    height, width = pixels.shape
    columns = strips(width, part, size=size)
    if height < size:
        raise ValueError(
            f"size must be at most the height of the image, {height}, got {size}"
        )
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, got {rng!r}")
    rows = rng.integers(height - size + 1, size=n)
    places = np.stack([rows, rng.choice(columns, size=n)], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(pixels, (size, size))
    return windows[places[:, 0], places[:, 1]], places


def _read(path: Path) -> np.ndarray:
    """One image file in grey: (height, width) uint8."""
    from PIL import Image, UnidentifiedImageError

    if not path.is_file():
        raise FileNotFoundError(
            f'source must be "bundled" or an existing image file, got {path}'
        )
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("L"))
    except UnidentifiedImageError:
        raise ValueError(
            f"source must be an image file, such as a PNG or JPEG; {path} is none"
        ) from None
    except (OSError, SyntaxError) as error:  # SyntaxError: a PNG that is broken inside
        raise OSError(f"the image {path} is damaged: {error}") from error
