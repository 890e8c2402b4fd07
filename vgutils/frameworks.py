"""The same three networks in other frameworks: their inputs, what a row holds, the comparison.

Nothing here imports a framework. The runners in `frameworks/` read `inputs()` and write gradients,
each in its own process; `tools/frameworks.py` runs them; `recorded()` is what it found.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

NETWORKS = ("mlp", "lstm", "res")
CLASSES = 10
DEPTH, WIDTH = 20, 64  # hidden sigmoid layers of the first network, and their units
STEPS, FEATURES, UNITS = 100, 8, 32  # of the LSTM
CONVOLUTIONS, CHANNELS, SIDE = 16, 16, 8  # two a residual block, after the stem

# How many roundings the longest path of each network has, forward and back: at each layer or step,
# the terms of its sums, and about ten for activation, gates or normalization, each way.
ROUNDINGS = {
    "mlp": 2 * (DEPTH + 1) * (WIDTH + 10),
    "lstm": STEPS * (FEATURES + UNITS + 10 + 4 * UNITS + 10),
    "res": 2 * (CONVOLUTIONS + 1) * (9 * CHANNELS + 10),
}
TOLERANCE = 1e-5  # of a norm
# Of an array, entry by entry: where a sum's terms cancel, rounding counts for more than in a norm.
# Another order of the gates, a transposed kernel or a wrong sign is an error of about 1.
ARRAY_TOLERANCE = 1e-4


class Error(NamedTuple):
    """How far a gradient g is from its reference r, both relative to ‖r‖.

    Attributes:
        norm: | ‖g‖ − ‖r‖ |
        array: ‖g − r‖
    """

    norm: float
    array: float


@dataclass(frozen=True)
class Row:
    """What one framework found.

    Attributes:
        versions: Of its packages.
        date: When it ran, ISO.
        norms: The norm of each gradient, as `norms` gives them.
        worst: The largest error of each network, as `worst` gives them.
        defaults: With the weights that it draws by itself, for each of five seeds. Gradient of the
            first over that of the last hidden layer, of pre-activations ("hidden/sigmoid", "tanh",
            "relu") and of weights ("weights/sigmoid", ...); of the input at step 0 over step 99 of
            an LSTM ("lstm"); fan_in times the variance of a dense layer's weights ("dense"), and
            of an LSTM's ("input", "recurrent"), and the mean bias of its forget gate ("forget").
            Empty for a framework that draws nothing.
        notes: Its conventions ("leaky_slope", "gelu" at 1, "relu_slope_at_0", "batchnorm_epsilon",
            "layernorm_epsilon"), as far as it has them; of TensorFlow also the relative errors of
            its "BlockLSTMV2/loss" and "BlockLSTMV2/x".
    """

    versions: dict[str, str]
    date: str
    norms: dict[str, float]
    worst: dict[str, float]
    defaults: dict[str, list[float]] = field(default_factory=dict)
    notes: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """All rows, by framework, and the norms of the float64 reference."""

    reference: dict[str, float]
    rows: dict[str, Row]


def typical_error(network: str) -> float:
    """The relative error that float32 leaves in one gradient entry, if signs are random: u·√n.

    u is the unit roundoff, 2⁻²⁴, n the network's `ROUNDINGS`. `TOLERANCE` is the largest of the
    three, rounded up to a power of ten. Source: Higham and Mary (2019), theorem 2.4.

    Raises:
        ValueError: `network` is none of `NETWORKS`.
    """
    if network not in ROUNDINGS:
        raise ValueError(
            f"network must be one of {', '.join(NETWORKS)}; got {network!r}"
        )
    return float(2.0**-24 * ROUNDINGS[network] ** 0.5)


def inputs() -> dict[str, NDArray[Any]]:
    """Weights and batches of the three networks, in a layout that belongs to no framework.

    Returns:
        Arrays named `network/name`, float32 (labels int32), always the same. Kernels are
        (fan_in, fan_out), convolutions (height, width, in, out), images (batch, height, width,
        channels), sequences (batch, time, features); the LSTM's gates stand in the order
        i, f, g, o. Each network ends in the mean cross-entropy of ten logits. `default/x`
        (1, 64) and `default/sequence` (1, 100, 8) are the one example for default weights, with
        label 0.
    """
    random = np.random.default_rng(20)
    arrays: dict[str, NDArray[Any]] = {}

    def normal(name: str, *shape: int, std: float, mean: float = 0.0) -> None:
        arrays[name] = (mean + std * random.normal(size=shape)).astype(np.float32)

    def batch(network: str, *shape: int) -> None:
        normal(f"{network}/x", *shape, std=1.0)
        labels = random.integers(CLASSES, size=shape[0])
        arrays[f"{network}/y"] = labels.astype(np.int32)

    batch("mlp", 32, WIDTH)
    for i in range(DEPTH + 1):
        fan_out = CLASSES if i == DEPTH else WIDTH
        normal(f"mlp/W{i}", WIDTH, fan_out, std=WIDTH**-0.5)
        normal(f"mlp/b{i}", fan_out, std=0.1)

    batch("lstm", 16, STEPS, FEATURES)
    normal("lstm/W", FEATURES, 4 * UNITS, std=FEATURES**-0.5)
    normal("lstm/U", UNITS, 4 * UNITS, std=UNITS**-0.5)
    normal("lstm/b", 4 * UNITS, std=0.1)
    arrays["lstm/b"][UNITS : 2 * UNITS] += 1  # the forget gate: remember

    batch("res", 16, SIDE, SIDE, 3)
    normal("res/stem", 3, 3, 3, CHANNELS, std=27**-0.5)
    for i in range(CONVOLUTIONS):
        normal(f"res/gamma{i}", CHANNELS, mean=1.0, std=0.1)
        normal(f"res/beta{i}", CHANNELS, std=0.1)
        normal(f"res/K{i}", 3, 3, CHANNELS, CHANNELS, std=(9 * CHANNELS) ** -0.5)
    for network, fan_in in (("lstm", UNITS), ("res", CHANNELS)):
        normal(f"{network}/V", fan_in, CLASSES, std=fan_in**-0.5)
        normal(f"{network}/c", CLASSES, std=0.1)

    normal("default/x", 1, WIDTH, std=1.0)
    normal("default/sequence", 1, STEPS, FEATURES, std=1.0)
    return arrays


def norms(gradients: Mapping[str, ArrayLike]) -> dict[str, float]:
    """The L2 norm of each gradient, in float64; of the LSTM's input, one for each step.

    Args:
        gradients: Arrays named `network/name`; `lstm/x` has shape (batch, time, features).

    Returns:
        Norms under the same names; for `lstm/x`, `lstm/x0` to `lstm/x99`.

    Raises:
        ValueError: An array is empty, or not finite.
    """
    layers = _layers(gradients)
    return {name: float(np.linalg.norm(value)) for name, value in layers.items()}


def compare(
    gradients: Mapping[str, ArrayLike], reference: Mapping[str, ArrayLike]
) -> dict[str, Error]:
    """How far each gradient is from the reference, in float64.

    Args:
        gradients: A framework's gradients and losses, named `network/name`.
        reference: The same in float64.

    Returns:
        An error for each layer, and for each step of `lstm/x`.

    Raises:
        ValueError: Names or shapes differ, a value is not finite, or a reference is 0.
    """
    if set(gradients) != set(reference):
        odd = sorted(set(gradients) ^ set(reference))
        raise ValueError(
            f"gradients must have the names of the reference; these differ: {odd}"
        )
    for name, value in reference.items():
        if np.shape(gradients[name]) != np.shape(value):
            raise ValueError(
                f"gradients[{name!r}] must have shape {np.shape(value)}, "
                f"got {np.shape(gradients[name])}"
            )
    found, expected = _layers(gradients), _layers(reference)
    errors = {}
    for name, value in expected.items():
        size = np.linalg.norm(value)
        if size == 0:
            raise ValueError(
                f"reference[{name!r}] must not be 0: nothing compares with it"
            )
        norm = abs(np.linalg.norm(found[name]) - size) / size
        errors[name] = Error(
            float(norm), float(np.linalg.norm(found[name] - value) / size)
        )
    return errors


def failures(errors: Mapping[str, Error]) -> list[str]:
    """Say which errors are above `TOLERANCE` or `ARRAY_TOLERANCE`, the largest first."""
    wrong = {
        name: error
        for name, error in errors.items()
        if not (error.norm <= TOLERANCE and error.array <= ARRAY_TOLERANCE)
    }
    return [
        f"{name}: norm off by {error.norm:.1e}, array by {error.array:.1e}"
        for name, error in sorted(wrong.items(), key=lambda item: -item[1].array)
    ]


def worst(errors: Mapping[str, Error]) -> dict[str, float]:
    """The largest error of a norm in each network, and apart the LSTM's steps ("steps")."""
    largest = dict.fromkeys((*NETWORKS, "steps"), 0.0)
    for name, error in errors.items():
        network = "steps" if name.startswith("lstm/x") else name.split("/")[0]
        largest[network] = max(largest[network], error.norm)
    return largest


def read(path: Path) -> Table:
    """Read a table that `tools/frameworks.py` wrote.

    Raises:
        OSError: There is no such file.
        ValueError: It is not such a table.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
        rows = {name: Row(**row) for name, row in content["rows"].items()}
        return Table(content["reference"], rows)
    except (KeyError, TypeError, AttributeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a table of frameworks: {error!r}") from error


def recorded() -> Table:
    """The table that ships with the package: what `make frameworks` found when it was recorded."""
    return read(Path(__file__).parent / "data" / "frameworks.json")


def _layers(gradients: Mapping[str, ArrayLike]) -> dict[str, NDArray[np.float64]]:
    """Arrays in float64, scaled by nothing, with the steps of `lstm/x` apart."""
    layers: dict[str, NDArray[np.float64]] = {}
    for name, value in gradients.items():
        array = np.asarray(value, np.float64)
        if array.size == 0 or not np.all(np.isfinite(array)):
            raise ValueError(f"{name} must be finite and not empty, got {array!r:.60}")
        if name == "lstm/x":
            layers |= {f"{name}{t}": array[:, t] for t in range(array.shape[1])}
        else:
            layers[name] = array
    return layers
