"""Train on and replace the model, when what comes in has been something else for long enough.

`python -m service.redeploy` from the repository's root watches a running service. When the drift
of the version that serves (`drift.py`) is beyond the alarm at several looks in a row, it goes on
from the newest checkpoint, with labelled new records among the old ones, and publishes what came
out. The service takes a new version up by itself, without losing a request.

Drift only asks; labels answer. The last quarter of the new records is held out, and nothing is
published that reads fewer of them than what serves now, or beyond chance fewer of the old held-out
ones. How much there was to learn, the gradient of the loss on new records over that on old ones, is
logged and stands in the manifest. The new version's drift is measured against new held-out records.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import jax
import numpy as np
from flax import nnx
from prometheus_client.parser import text_string_to_metric_families

import vgutils as vg
from pipeline import checkpoints, ingest, train
from service import export, models
from service.drift import ALARM
from vgutils.training import cross_entropy

log = logging.getLogger("service")

TIMEOUT = 5.0
"""Seconds to wait for one answer of the service."""
LEARN = 0.75
"""The share of the new records to learn from, the first that came. Neighbours are often alike, of
one writer or one machine, so that others among them would not be unseen."""

Pairs = tuple[np.ndarray, np.ndarray]
"""Images (n, 784) float32 and their labels (n,)."""


class Unreachable(Exception):
    """The service does not answer, or not as ours does."""


class NotYet(Exception):
    """Something is missing that may come: worth another try while the alarm lasts."""


class Worse(Exception):
    """What was trained reads held-out records worse than what serves; it is not published."""


FAILURES = (NotYet, Unreachable, models.Refused, *train.EXPECTED)


@dataclass(frozen=True)
class Plan:
    """When to act, and how much to train."""

    every: float = 10.0
    lasts: int = 6
    steps: int = 300
    at_least: int = 200
    patience: float = 60.0


HELP = {
    "every": "seconds between two looks",
    "lasts": "looks in a row beyond the alarm",
    "steps": "of training",
    "at_least": "labelled new records that are needed",
    "patience": "seconds for the service to take a version up",
}


@dataclass(frozen=True)
class Place:
    """Where everything is."""

    service: str  # Its address, http://server:port.
    models: Path  # The folder of versions that it serves.
    checkpoints: Path  # Of the first training.
    retrained: Path  # Checkpoints of what is trained here.
    new: ingest.Source  # Labelled records of what comes in now.
    old: ingest.Source  # Of the first training.


class Watch:
    """Counts looks in a row beyond the alarm; rings once for each version, or again after quiet."""

    def __init__(self, lasts: int) -> None:
        self.lasts, self.count, self.version = lasts, 0, ""

    def __call__(self, version: str, z: float) -> bool:
        """Does it ring at this look? NaN, a window that is not full, is quiet."""
        goes_on = version == self.version
        self.version = version
        self.count = 0 if not z > ALARM else self.count + 1 if goes_on else 1
        return self.count == self.lasts


def look(service: str) -> tuple[str, float]:
    """The version that serves, "00000000" for none, and the largest |z| of its signals.

    Raises:
        Unreachable: There is no answer, or none of our service.
    """
    families = text_string_to_metric_families(_get(f"{service}/metrics"))
    try:
        samples = [sample for family in families for sample in family.samples]
        [number] = [s.value for s in samples if s.name == "service_version"]
    except ValueError:
        raise Unreachable(f"{service}/metrics is not that of this service") from None
    version = f"{int(number):08d}"
    drifts = [s for s in samples if s.name == "service_drift"]
    z = [abs(s.value) for s in drifts if s.labels["version"] == version]
    return version, max(z, default=math.nan)


def renew(place: Place, plan: Plan, version: str) -> Path:
    """Train on, and publish if held-out records are read no worse than by `version`.

    Returns:
        The new version's folder.

    Raises:
        Worse: They are.
        NotYet: There are too few labelled records, or there is no checkpoint.
        SourceUnavailable, BadRecord, Busy, Refused, FloatingPointError: As in training.
    """
    records = place.new.read()
    if len(records) < plan.at_least:
        few = f"{len(records)} labelled new records, {plan.at_least} are needed"
        raise NotYet(few)
    about: dict[str, Any] = {"sha256": ingest.check(records), "records": len(records)}
    cut = int(LEARN * len(records))
    learned = records[:cut]
    digits = vg.datasets.digits()
    held_out = {
        "new": _arrays(records[cut:]),
        "old": (digits.x_test, digits.y_test),
    }
    recipe = train.Recipe()
    graph, start, update = train.build(recipe)
    same = train.identity(recipe, start)
    step, began, state = _newest(place, start, same)

    about["gradient"] = steepness(nnx.merge(graph, state["weights"]), held_out)
    least, most = min(about["gradient"]), max(about["gradient"])
    log.info("new records have %.1f to %.1f times the gradient of old", least, most)
    old = place.old.read()
    ingest.check(old)
    mixed = old + learned * max(1, len(old) // len(learned))  # About half of them new.
    state = learn(state, update, mixed, recipe.batch_size, step, plan.steps)
    model = nnx.merge(graph, state["weights"])

    serving = models.load(place.models / version)
    about["right"] = gate(_right(serving, held_out), _right(model, held_out))
    weights = train.digest(nnx.state(model))
    step += plan.steps
    where = same | {"step": step, "began": began}
    checkpoints.save(place.retrained, train.flat(state), where, keep=3)
    about |= {"began": began, "instead of": version}
    told = {"weights": weights, "retrained": about}
    return export.publish(place.models, model, held_out["new"][0], told)


def steepness(model: Any, held_out: dict[str, Pairs]) -> list[float]:
    """The gradient's norm on new records over that on old ones, for each array of weights."""
    slopes = nnx.jit(nnx.grad(cross_entropy))
    norms = {
        which: [vg.norm(slope) for slope in jax.tree.leaves(slopes(model, x, y))]
        for which, (x, y) in held_out.items()
    }
    pairs = zip(norms["new"], norms["old"], strict=True)
    return [float(new / old) for new, old in pairs]


def learn(
    state: train.State,
    update: train.Update,
    records: Sequence[bytes],
    batch_size: int,
    seed: int,
    steps: int,
) -> train.State:
    """The state after so many steps on the records.

    Raises:
        FloatingPointError: The loss is not finite.
    """
    batches = ingest.batches(records, batch_size, seed)
    for _ in range(steps):
        state, loss = update(state, *next(batches))
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss is {loss} after {steps} more steps")
    return state


def gate(
    before: dict[str, np.ndarray], after: dict[str, np.ndarray]
) -> dict[str, list[float]]:
    """Compare which held-out records are read rightly, (n,) bool each, before and after.

    Returns:
        The shares before and after, for new and old records.

    Raises:
        Worse: Fewer new ones than before, or fewer old ones by more than twice the standard error
            of the difference, the root of the number of records that changed.
    """
    shares = {
        which: [float(before[which].mean()), float(after[which].mean())]
        for which in before
    }
    told = ", ".join(
        f"{k} {100 * b:.1f} -> {100 * a:.1f} %" for k, (b, a) in shares.items()
    )
    changed = after["old"].astype(int) - before["old"]
    forgotten = -changed.sum() > 2 * math.sqrt(abs(changed).sum())
    if shares["new"][1] < shares["new"][0] or forgotten:
        raise Worse(f"held-out records read rightly: {told}")
    log.info("held-out records read rightly: %s", told)
    return shares


def await_version(service: str, version: str, patience: float) -> None:
    """Come back when `/readyz` says that `version` serves, or a later one.

    Raises:
        NotYet: It does not within `patience` seconds.
    """
    pause, ready = threading.Event(), f"{service}/readyz"
    for _ in range(math.ceil(patience / 0.1)):
        try:
            if (json.loads(_get(ready)).get("version") or "") >= version:
                return
        except (Unreachable, ValueError):
            pass  # It may be starting again.
        pause.wait(0.1)
    raise NotYet(f"version {version} is published, but {ready} does not say so")


def watch(place: Place, plan: Plan, stop: threading.Event, once: bool = False) -> int:
    """Look, and act on alarms, until `stop` is set; with `once`, until one alarm was answered.

    Returns:
        0 if a new version serves, or it was stopped; 1 if something failed; 3 if what was trained
        is worse.
    """
    rings, answers = Watch(plan.lasts), True
    while not stop.wait(plan.every):
        try:
            version, z = look(place.service)
        except Unreachable as reason:
            if answers:
                log.warning("waiting for the service: %s", reason)
            answers = False
            continue
        if not answers:
            log.info("the service answers again")
        answers = True
        if not rings(version, z):
            continue
        log.warning("alarm: version %s, |z| %.1f, %d looks", version, z, plan.lasts)
        code = _answer(place, plan, version)
        if once:
            return code
        if code == 1:
            rings.count = 0  # Tried again if it lasts.
    return 0


def _answer(place: Place, plan: Plan, version: str) -> int:
    """What an alarm sets off; the code that `watch` gives back."""
    try:
        path = renew(place, plan, version)
        log.info("version %s is published", path.name)
        await_version(place.service, path.name, plan.patience)
    except Worse as reason:
        log.warning("nothing is published: %s", reason)
        return 3
    except FAILURES as reason:
        log.error("not replaced: %s", reason)
        return 1
    log.info("version %s serves", path.name)
    return 0


def _get(url: str) -> str:
    """What the service answers with status 200."""
    try:
        with urlopen(url, timeout=TIMEOUT) as answer:
            return answer.read().decode()
    except (OSError, HTTPException, ValueError) as error:
        raise Unreachable(f"{url}: {error}") from None


def _arrays(records: Sequence[bytes]) -> Pairs:
    x, y = zip(*map(ingest.decode, records), strict=True)
    return np.stack(x), np.stack(y)


def _right(
    model: Callable[[Any], Any], held_out: dict[str, Pairs]
) -> dict[str, np.ndarray]:
    """Which of the held-out records a model reads rightly: (n,) bool for new and old ones."""
    size = models.BATCHES[-1]
    found = {}
    for which, (x, y) in held_out.items():
        parts = [model(x[at : at + size]) for at in range(0, len(x), size)]
        found[which] = np.concatenate([np.asarray(p).argmax(1) for p in parts]) == y
    return found


def _newest(
    place: Place, like: train.State, same: dict[str, Any]
) -> tuple[int, str, train.State]:
    """The newest checkpoint, of a retraining if there was one: step, where it began, state.

    Where it began is the digest of the weights that came from the first training.
    """
    expected = train.flat(like)
    found = checkpoints.latest(place.retrained, expected, same)
    if found is None:
        with checkpoints.locked(place.checkpoints):
            found = checkpoints.latest(place.checkpoints, expected, same)
    if found is None:
        raise NotYet(f"{place.checkpoints} has no checkpoint to go on from")
    state = train.unflat(like, found[0])
    began = found[1].get("began") or train.digest(state["weights"])
    return found[1]["step"], began, state


def main(arguments: Sequence[str] | None = None) -> int:
    """Watch until a signal comes."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        epilog="Exit status: 0 a new version serves, or stopped by a signal; 1 something failed; "
        "2 wrong options; 3 what was trained is worse.",
    )
    option, build = parser.add_argument, Path("_build")
    option("--new", required=True, help="labelled records: file:path, kafka:… or s3:…")
    option("--old", default="digits:", help="the records of the first training")
    option("--service", default="http://127.0.0.1:8000", help="its address")
    option("--models", type=Path, default=build / "models", help="the versions")
    option("--checkpoints", type=Path, default=build / "pipeline", help="to go on from")
    option("--retrained", type=Path, default=build / "retrained", help="checkpoints")
    option("--once", action="store_true", help="stop after one alarm")
    for name, default in vars(Plan()).items():
        flag = f"--{name.replace('_', '-')}"
        option(flag, type=type(default), default=default, help=HELP[name])
    options = vars(parser.parse_args(arguments))
    try:
        new, old = (ingest.open_source(options.pop(name)) for name in ("new", "old"))
    except ValueError as error:
        parser.error(str(error))
    once = options.pop("once")
    plan = Plan(**{name: options.pop(name) for name in vars(Plan())})
    place = Place(new=new, old=old, **options)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", force=True)
    log.setLevel(logging.INFO)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with checkpoints.locked(place.retrained):
            return watch(place, plan, stop, once)
    except checkpoints.Busy as error:
        print(f"service: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
