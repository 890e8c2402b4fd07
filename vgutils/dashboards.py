"""What a run looked like, for those who were not there: files, a figure, and a table of KPIs.

`to_jsonl` writes the plain truth, a line a step. `write` gives the same numbers to TensorBoard, if
tensorboardX is there. Gradient norms are written as log10: TensorBoard shows 4e-9 as 0.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import math
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vgutils import errors
from vgutils.alerts import PerLayer
from vgutils.figures import COLORS, SIZE, subplots
from vgutils.html import plain_number
from vgutils.plots import plot_loss
from vgutils.training import History

# --- files ----------------------------------------------------------------------------------------


def to_jsonl(history: History, path: str | os.PathLike[str]) -> Path:
    """Write a run as JSON lines: one object a step, in the order of the steps.

    An object has "step", "loss", "alerts" (those that begin to ring there), and for each statistic
    that was recorded ("gradient_norm", "update_ratio", …) an object from layer to number. JSON has
    no NaN and no infinity: they are the strings "nan", "inf" and "-inf", which `float` reads.

    Args:
        history: Of one run.
        path: The file. It appears when it is complete, in the place of one of that name.

    Returns:
        The path.

    Raises:
        TypeError, ValueError: `history` is not the `History` of one run.
        OSError: The file cannot be written; one that was there still is.
    """
    loss, path = _loss(history), Path(path)
    alerts = [dataclasses.asdict(alert) for alert in history.alerts]
    layered = list(_layered(history))
    part = _part(path)
    try:
        with open(part, "x", encoding="utf-8") as file:
            for step, value in enumerate(loss):
                row: dict[str, Any] = {"step": step, "loss": float(value)}
                for name, layers, values in layered:
                    row[name] = dict(zip(layers, values[step].tolist(), strict=True))
                row["alerts"] = [alert for alert in alerts if alert["step"] == step]
                file.write(json.dumps(_finite(row), allow_nan=False) + "\n")
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def write(history: History, folder: str | os.PathLike[str], *, every: int = 1) -> Path:
    """Write a run as TensorBoard event files: `tensorboard --logdir` shows its parent folder.

    Scalars: "loss"; for each layer that was recorded "activation_mean", "activation_std" and the
    log10 of norms and ratios, under tags such as "log10_gradient_norm/002_hidden_0"; that of a
    norm of 0 is -inf. Texts: "alerts".

    Args:
        history: Of one run.
        folder: A new folder. It appears when it is complete.
        every: Write each `every`-th step; alerts are all written.

    Returns:
        The folder.

    Raises:
        ImportError: tensorboardX is not installed.
        FileExistsError: The folder is there, and not empty.
        TypeError, ValueError: `history` is not the `History` of one run, or `every` is below 1.
    """
    loss, folder = _loss(history), Path(folder)
    errors.integer("every", every, minimum=1)
    try:
        from tensorboardX import SummaryWriter  # type: ignore[import-untyped]
    except ImportError as error:
        raise ImportError(
            "event files are written by tensorboardX: pip install tensorboardX"
        ) from error
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"folder must be new or empty, got {folder}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    part = _part(folder)
    try:
        with _infinity_is_meant(), SummaryWriter(str(part)) as writer:
            for tag, column in _scalars(history, loss):
                for step in range(0, len(loss), every):
                    writer.add_scalar(tag, column[step], step)
            for alert in history.alerts:
                writer.add_text("alerts", str(alert), alert.step)
        os.replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


@contextlib.contextmanager
def _infinity_is_meant() -> Iterator[None]:
    """Keep tensorboardX from a warning for each number that is not finite."""
    logger = logging.getLogger("tensorboardX.x2num")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _part(path: Path) -> Path:
    """Where to write what becomes `path` when it is complete: beside it, under another name."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")


def _loss(history: Any) -> np.ndarray:
    if not isinstance(history, History):
        raise TypeError(f"history must be a History, got {type(history).__name__}")
    loss = np.asarray(history.loss, np.float64)
    if loss.ndim != 1:
        raise ValueError(
            f"history must be of one run, got losses of shape {loss.shape}; of several, take "
            "jax.tree.map(lambda values: values[0], history)"
        )
    return loss


def _layered(history: History) -> Iterator[tuple[str, tuple[str, ...], np.ndarray]]:
    """Name, layers and (steps, layers) values of what was recorded; no layer is all NaN."""
    columns: list[tuple[str, tuple[str, ...], Any]] = []
    if (profile := history.profile) is not None:
        columns += [
            (field.name, profile.names, getattr(profile, field.name))
            for field in dataclasses.fields(profile)
            if field.name != "names"
        ]
    if isinstance(history.update_ratio, PerLayer):
        columns.append(
            ("update_ratio", history.update_ratio.names, history.update_ratio.values)
        )
    for name, layers, values in columns:
        array = np.asarray(values, np.float64)
        kept = np.flatnonzero(~np.isnan(array).all(axis=0))
        if kept.size:
            yield name, tuple(layers[i] for i in kept), array[:, kept]


_LOGGED = ("gradient_norm", "weight_gradient_norm", "weight_norm", "update_ratio")


def _scalars(history: History, loss: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    yield "loss", loss
    for name, layers, values in _layered(history):
        if name in _LOGGED:
            name = f"log10_{name}"
            with np.errstate(divide="ignore"):
                values = np.log10(values)
        for i, layer in enumerate(layers):
            # A tag takes no brackets; the number keeps the layers apart, and in their order.
            plain = layer.replace("[", "_").replace("]", "")
            yield f"{name}/{i:03d}_{plain}", values[:, i]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return (
        str(value) if isinstance(value, float) and not math.isfinite(value) else value
    )


# --- a figure -------------------------------------------------------------------------------------


def plot_dashboard(history: History) -> Any:
    """Draw a run: its loss, and as far as they were recorded its gradients and its updates.

    Above the loss a mark stands where an alert begins to ring, with its name. Below it the gradient
    norms are a heat map, layers over steps, in decades below the largest; then the update ratio:
    the median over the layers in a band from the smallest to the largest.

    Args:
        history: Of one run.

    Returns:
        A figure for `vg.show`.

    Raises:
        TypeError, ValueError: `history` is not the `History` of one run.
    """
    loss = _loss(history)
    found = {name: (layers, values) for name, layers, values in _layered(history)}
    panels = [name for name in ("gradient_norm", "update_ratio") if name in found]
    count = 1 + len(panels)
    fig, axes = subplots(
        count, figsize=(SIZE[0], 2.3 * count), sharex=True, squeeze=False
    )
    plot_loss(history, ax=axes[0, 0])
    _mark_alerts(axes[:, 0], history)
    # Of a long run, as many steps as a picture has columns.
    step = np.unique(np.linspace(0, len(loss) - 1, 400).astype(int))
    for ax, name in zip(axes[1:, 0], panels, strict=True):
        values = found[name][1][step]
        if name == "gradient_norm":
            _heat(fig, ax, step + 1, values)
        else:
            _band(ax, step + 1, values)
    for ax in axes[:-1, 0]:
        ax.set_xlabel("")
    axes[-1, 0].set(xlabel="training step", xlim=(0.5, len(loss) + 0.5))
    return fig


def _mark_alerts(axes: Any, history: History) -> None:
    by_step: dict[int, list[str]] = {}
    for alert in history.alerts:
        by_step.setdefault(alert.step + 1, []).append(alert.rule)
    for row, (step, names) in enumerate(by_step.items()):
        late = step > history.loss.shape[0] / 2  # Then there is room on the left.
        for ax in axes:
            ax.axvline(step, color=COLORS["orange"], linewidth=0.8, marker="none")
        axes[0].annotate(
            ", ".join(names),
            (step, 1),
            (-3 if late else 3, 4 + 12 * (len(by_step) - 1 - row)),
            ha="right" if late else "left",
            xycoords=axes[0].get_xaxis_transform(),
            textcoords="offset points",
            color=COLORS["orange"],
            fontsize=9.5,
            annotation_clip=False,
        )


def _heat(fig: Any, ax: Any, step: np.ndarray, values: np.ndarray) -> None:
    good = np.isfinite(values) & (values > 0)
    logs = np.log10(values, where=good, out=np.full(values.shape, np.nan))
    decades = logs - np.nanmax(logs, initial=-np.inf)
    image = ax.imshow(
        decades.T,
        aspect="auto",
        origin="lower",
        interpolation="nearest",
        cmap="viridis",
        vmin=np.nanmin(decades, initial=-3),
        vmax=0,
        extent=(step[0] - 0.5, step[-1] + 0.5, 0.5, values.shape[1] + 0.5),
    )
    ax.grid(False)
    ax.set_ylabel("layer")
    fig.colorbar(image, ax=ax, label="log₁₀ ‖∂L/∂h‖\nbelow the largest")


def _band(ax: Any, step: np.ndarray, values: np.ndarray) -> None:
    values = np.where(np.isfinite(values) & (values > 0), values, np.nan)
    good = ~np.isnan(values).all(axis=1)
    low, middle, high = np.nanpercentile(values[good], [0, 50, 100], axis=1)
    ax.set_yscale("log")
    (line,) = ax.plot(step[good], middle, marker="none")
    ax.fill_between(
        step[good], low, high, color=line.get_color(), alpha=0.18, linewidth=0
    )
    ax.set_ylabel("update / weight")


# --- indicators -----------------------------------------------------------------------------------


def loss_convergence(
    loss: Any, *, floor: float = 0.0, window: int | None = None
) -> float:
    """The share of the loss above its floor that is gone: 1 - (last - floor) / (first - floor).

    Args:
        loss: (steps,), as in `History.loss`.
        floor: What the loss cannot fall below, such as the noise of the targets.
        window: `first` and `last` are means over so many steps; a tenth of the run by default.

    Returns:
        1 where the floor is reached, 0 where nothing is gained, negative where the loss has risen,
        NaN where it is not finite at either end.

    Raises:
        TypeError, ValueError: An argument is not such, or the loss begins at its floor or below.
    """
    values = np.asarray(errors.array("loss", loss, ndim=1, finite=False), np.float64)
    floor = errors.number("floor", floor)
    window = max(1, len(values) // 10) if window is None else window
    if errors.integer("window", window, minimum=1) > len(values):
        raise ValueError(f"window must be at most {len(values)} steps, got {window}")
    first, last = values[:window].mean(), values[-window:].mean()
    if first <= floor:
        raise ValueError(
            f"floor must be below the loss's beginning, {first:g}; got {floor:g}"
        )
    return float(1 - (last - floor) / (first - floor))


def macro_f1(labels: Any, predictions: Any) -> float:
    """The mean over the classes of F1 = 2 TP / (2 TP + FP + FN): every class counts alike.

    Args:
        labels: (n,) integers, the truth.
        predictions: (n,) integers.

    Returns:
        Between 0 and 1, over the classes that occur in either.

    Raises:
        TypeError, ValueError: They are not two such arrays of one length.
    """
    y, p = _pair(labels, predictions)
    scores = [
        2 * np.sum((y == c) & (p == c)) / (np.sum(y == c) + np.sum(p == c))
        for c in np.union1d(y, p)
    ]
    return float(np.mean(scores))


def _pair(labels: Any, predictions: Any) -> tuple[np.ndarray, np.ndarray]:
    y = np.asarray(errors.array("labels", labels, ndim=1))
    p = np.asarray(errors.array("predictions", predictions, ndim=1))
    if len(y) != len(p):
        raise ValueError(
            f"labels and predictions must be as many, got {len(y)} and {len(p)}"
        )
    return y, p


@dataclasses.dataclass(frozen=True)
class Automation:
    """What a model may decide alone.

    Attributes:
        share: The share of the items that it decides alone: so much manual work is gone.
        threshold: It decides where its largest score is at least this; infinite where never.
        precision: The share of those decisions that is right; NaN where there is none.
    """

    share: float
    threshold: float
    precision: float


def manual_reduction(scores: Any, labels: Any, *, precision: float) -> Automation:
    """How much manual work a model saves, if its own decisions must be right often enough.

    The model decides where its largest score reaches a threshold, and a person does the rest. The
    threshold is the one at which it decides the most items and a share of at least `precision` of
    them right. Choosing it on the data it is judged on flatters: choose on one set, and judge by
    `(scores.max(1) >= threshold)` on another.

    Args:
        scores: (n, classes), such as probabilities; or (n,), the probability of class 1 of two.
        labels: (n,) integers, the truth.
        precision: The least share of right decisions that is accepted; above 0, at most 1.

    Raises:
        TypeError, ValueError: An argument is not what is described here.
    """
    s = np.asarray(errors.array("scores", scores, floating=True), np.float64)
    s = np.stack([1 - s, s], axis=1) if s.ndim == 1 else s
    if s.ndim != 2:
        raise ValueError(f"scores must have 1 or 2 axes, got shape {s.shape}")
    needed = errors.number("precision", precision, minimum=0, maximum=1, strict=True)
    y, decided = _pair(labels, s.argmax(axis=1))
    order = np.argsort(-s.max(axis=1), kind="stable")
    score = s.max(axis=1)[order]
    right = np.cumsum((y == decided)[order])
    share_right = right / np.arange(1, len(y) + 1)
    # Equal scores are decided together: a threshold cannot tell them apart.
    last = np.append(score[1:] < score[:-1], True)
    allowed = np.flatnonzero(last & (share_right >= needed))
    if not allowed.size:
        return Automation(0.0, math.inf, math.nan)
    k = allowed[-1]
    return Automation((k + 1) / len(y), float(score[k]), float(share_right[k]))


def latency(
    function: Callable[..., Any], *args: Any, calls: int = 200
) -> tuple[float, float]:
    """How long a call takes: the median and the 99th percentile, in milliseconds.

    Each call is waited for (`jax.block_until_ready`), and the first three, which compile, are left
    out.

    Args:
        function: Such as a jitted prediction.
        *args: What it takes.
        calls: How many are timed, at least 1.

    Raises:
        TypeError, ValueError: `function` is not callable, or `calls` is below 1.
    """
    import jax

    if not callable(function):
        raise TypeError(f"function must be callable, got {function!r}")
    errors.integer("calls", calls, minimum=1)
    times = []
    for _ in range(calls + 3):
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        times.append(1e3 * (time.perf_counter() - start))
    p50, p99 = np.percentile(times[3:], [50, 99])
    return float(p50), float(p99)


@dataclasses.dataclass(frozen=True)
class KPIs:
    """Key performance indicators of a run; None where nothing was given to compute one from.

    Attributes:
        loss_convergence: See `loss_convergence`.
        gradient_norm: From layer to ‖∂L/∂h‖, the median over the last tenth of the steps.
        accuracy: The share of predictions that is right.
        macro_f1: See `macro_f1`.
        latency_p50_ms: Median time of a call, in milliseconds.
        latency_p99_ms: The 99th percentile.
        manual_reduction: The share of the items that the model decides alone.
    """

    loss_convergence: float | None = None
    gradient_norm: dict[str, float] | None = None
    accuracy: float | None = None
    macro_f1: float | None = None
    latency_p50_ms: float | None = None
    latency_p99_ms: float | None = None
    manual_reduction: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """The indicators that are known, as plain numbers."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v is not None}

    def __str__(self) -> str:
        """A table, an indicator a row."""
        rows: dict[str, float] = {}
        for name, value in self.to_dict().items():
            name = name.replace("_", " ")
            rows |= (
                {f"{name}, {layer}": v for layer, v in value.items()}
                if isinstance(value, dict)
                else {name: value}
            )
        width = max(map(len, rows), default=0)
        return "\n".join(
            f"{name:<{width}}  {plain_number(value, 3)}" for name, value in rows.items()
        )


def kpis(
    history: History | None = None,
    *,
    floor: float = 0.0,
    labels: Any = None,
    scores: Any = None,
    precision: float = 0.99,
    predict: Callable[..., Any] | None = None,
    x: Any = None,
) -> KPIs:
    """The indicators of a run, from what there is of it.

    Args:
        history: Of one run: gives the loss's convergence, and with a profile the gradient norms.
        floor: As for `loss_convergence`.
        labels: (n,) integers, with `scores`: give accuracy, F1 and the manual work saved.
        scores: (n, classes), such as probabilities.
        precision: As for `manual_reduction`.
        predict: With `x`, the call that is timed.
        x: What it takes.

    Raises:
        TypeError, ValueError: An argument is not what is described here, or comes without the one
            that goes with it.
    """
    for pair in ({"labels": labels, "scores": scores}, {"predict": predict, "x": x}):
        if len(given := [name for name in pair if pair[name] is not None]) == 1:
            raise ValueError(f"{' and '.join(pair)} go together, got only {given[0]}")
    found: dict[str, Any] = {}
    if history is not None:
        found["loss_convergence"] = loss_convergence(_loss(history), floor=floor)
        for name, layers, values in _layered(history):
            if name == "gradient_norm":
                late = np.median(values[-max(1, len(values) // 10) :], axis=0)
                found[name] = dict(zip(layers, late.tolist(), strict=True))
    if scores is not None:
        reduction = manual_reduction(scores, labels, precision=precision)
        found["manual_reduction"] = reduction.share
        s = np.asarray(scores)
        y, decided = _pair(labels, s > 0.5 if s.ndim == 1 else s.argmax(axis=1))
        found["accuracy"] = float(np.mean(y == decided))
        found["macro_f1"] = macro_f1(y, decided)
    if predict is not None:
        found["latency_p50_ms"], found["latency_p99_ms"] = latency(predict, x)
    return KPIs(**found)
