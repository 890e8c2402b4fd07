"""Brain MRI: slices of the MNI152 template, with the tissue of every pixel."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vgutils import errors

BRAIN_CLASSES = ("outside", "CSF", "grey matter", "white matter")

BRAIN_PARTS = {
    "train": ((18, 30), (44, 52), (64, 68)),
    "validation": ((56, 60),),
    "test": ((34, 40),),
}
"""Heights of the slices, in steps of 2 mm from the template's lowest, first to one past the last.
Between parts at least four slices are left out."""

_FILE = "mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
_SHAPE = (197, 233, 189)
_BOX = (slice(18, 98), slice(20, 212), slice(0, 188))


@dataclass(frozen=True)
class Brain:
    """Axial slices of one half of the average brain, split into blocks with gaps between them.

    Images are (slices, 40, 96) float32: T1 brightness from 0 (outside) to 255, in pixels of 2 mm,
    from the side of the head to the middle, and from back to front. Labels are (slices, 40, 96)
    int32: an index into `classes`.

    Attributes:
        x_train, x_val, x_test: Images.
        y_train, y_val, y_test: Labels.
        height_train, height_val, height_test: (slices,) int, the height in steps of 2 mm.
        classes: The names of the four labels.
        symmetric: Whether the other half is this one's mirror image, voxel for voxel.
        source: Where the images came from.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    height_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    height_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    height_test: np.ndarray
    classes: tuple[str, ...]
    symmetric: bool
    source: str


def brain(*, folder: str | Path | None = None) -> Brain:
    """Load slices of the MNI152 T1 template, the average of 152 healthy people's brains.

    It is not a patient, and it has no lesion. The template is ICBM 2009a nonlinear symmetric
    (Fonov et al., 2011), its skull removed. Three volumes of 1 mm are averaged over cubes of 2 mm.
    A pixel is outside where less than half of its cube has any T1 brightness. Elsewhere it has
    three shares: those of the grey and white matter maps, and what they leave, which is counted as
    CSF. Its label is the largest of the three (the first of them in this order: CSF, grey, white).

    Args:
        folder: Where the three NIfTI files are; by default inside the installed `nilearn`, which is
            not imported.

    Returns:
        The slices, split by `BRAIN_PARTS`.

    Raises:
        ModuleNotFoundError: nilearn or nibabel is not installed.
        FileNotFoundError: A file is missing.
        OSError: A file is damaged, or no NIfTI image.
        ValueError: An image has another shape, or values that are not finite or negative.
    """
    where = _nilearn_folder() if folder is None else Path(folder)
    t1, grey, white = (
        _volume(where / _FILE.format(kind)) for kind in ("t1", "gm", "wm")
    )
    symmetric = all(np.array_equal(v, v[::-1]) for v in (t1, grey, white))
    inside = _cubes(t1 > 0) >= 0.5
    image, grey, white = _cubes(t1), _cubes(grey), _cubes(white)
    tissue = 1 + np.argmax(np.stack([255 - grey - white, grey, white]), axis=0)
    label = np.where(inside, tissue, 0).astype(np.int32)
    rows = {
        part: np.concatenate([np.arange(*block) for block in blocks])
        for part, blocks in BRAIN_PARTS.items()
    }
    print(
        "MNI152 T1 template (average of 152 people, skull removed), from "
        f"{'nilearn' if folder is None else where}: slices of 2 mm, one half of the head, "
        f"{len(rows['train'])} to train on, {len(rows['validation'])} to choose by, "
        f"{len(rows['test'])} held out"
    )
    train, val, test = (rows[part] for part in ("train", "validation", "test"))
    return Brain(
        x_train=image[train],
        y_train=label[train],
        height_train=train,
        x_val=image[val],
        y_val=label[val],
        height_val=val,
        x_test=image[test],
        y_test=label[test],
        height_test=test,
        classes=BRAIN_CLASSES,
        symmetric=symmetric,
        source="nilearn" if folder is None else str(where),
    )


def _nilearn_folder() -> Path:
    found = importlib.util.find_spec("nilearn")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(
            "brain() reads files that come with nilearn, which is not installed: "
            "pip install -q --no-deps nilearn",
            name="nilearn",
        )
    return Path(found.submodule_search_locations[0]) / "datasets" / "data"


def _volume(path: Path) -> np.ndarray:
    """One volume as it stands in its file: (197, 233, 189)."""
    try:
        import nibabel
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            "brain() needs nibabel to read NIfTI files: pip install -q nibabel",
            name="nibabel",
        ) from missing
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.name} is missing in {path.parent}: reinstall nilearn, or give the folder"
        )
    try:
        volume: Any = np.asarray(nibabel.load(path).dataobj)  # type: ignore[attr-defined]
    except (
        Exception
    ) as error:  # gzip, zlib, nibabel: each has its own for a damaged file
        raise OSError(
            f"{path.name} is damaged, or no NIfTI image ({error}): reinstall nilearn"
        ) from error
    if volume.shape != _SHAPE:
        raise ValueError(
            f"{path.name} must hold an image of shape {_SHAPE}, got {volume.shape}"
        )
    errors.array(path.name, volume)
    if volume.min() < 0 or volume.max() > 255:
        raise ValueError(
            f"{path.name} must hold values from 0 to 255, "
            f"got {volume.min():g} to {volume.max():g}"
        )
    return volume


def _cubes(volume: np.ndarray) -> np.ndarray:
    """Means over cubes of 2 mm of the left half, slices first: (94, 40, 96) float32."""
    box = volume[_BOX].astype(np.float32)
    x, y, z = (n // 2 for n in box.shape)
    return box.reshape(x, 2, y, 2, z, 2).mean((1, 3, 5)).transpose(2, 0, 1)
