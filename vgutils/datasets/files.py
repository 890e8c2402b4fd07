"""The files in `vgutils/data`: opened only when they are what they were."""

from __future__ import annotations

import hashlib
from importlib import resources

import numpy as np


def load(name: str, sha256: str) -> dict[str, np.ndarray]:
    """Return the arrays of one `.npz` file of the package.

    Args:
        name: The file's name in `vgutils/data`.
        sha256: What its bytes must hash to, in hexadecimal.

    Returns:
        The arrays by name.

    Raises:
        FileNotFoundError: The file is missing.
        OSError: The file is damaged (its checksum is wrong).
    """
    path = resources.files("vgutils") / "data" / name
    if not path.is_file():
        raise FileNotFoundError(
            f"vgutils/data/{name} is missing from this installation: reinstall vgutils"
        )
    if hashlib.sha256(path.read_bytes()).hexdigest() != sha256:
        raise OSError(
            f"vgutils/data/{name} is damaged (wrong checksum): reinstall vgutils"
        )
    with path.open("rb") as file, np.load(file) as archive:
        return dict(archive)
