"""What can be wrong: one question after another, from the evidence to a finding or none.

The order goes from causes to their consequences: a saturated network, whose gradient vanishes, is
called saturated. Thresholds are data: `LIMITS` says where each comes from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from vgutils.evidence import FACTORS, Evidence
from vgutils.html import plain_number

Limits = Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class Limit:
    """A threshold, and why it stands where it does."""

    value: float
    why: str


LIMITS: dict[str, Limit] = {
    "vanishing": Limit(
        1e-3,
        "first over last hidden gradient: the first layers need 1,000 steps for what the last "
        "ones do in one",
    ),
    "exploding": Limit(
        1e3, "the same, upside down; finite width alone spreads less than this"
    ),
    "time": Limit(
        2.0**-24,
        "first over last position: below float32's rounding unit the first position is lost in "
        "the sum over positions",
    ),
    "dead": Limit(
        0.8,
        "share of units that are 0 on every example: where examples are all alike it is one half",
    ),
    "saturated": Limit(
        0.5,
        "share of values within 0.01 of an end, where the slope is below 4 % of its largest",
    ),
    "zeros": Limit(
        0.2,
        "share of the gradient's elements that scaling the loss brings back from zero",
    ),
    "spread": Limit(
        0.05, "1 - cosine of two examples after the last hidden layer: they look alike"
    ),
    "rank": Limit(2.0, "directions that tell examples apart: fewer than two"),
    "uses": Limit(
        0.05,
        "share by which the loss must rise, after the trial, when examples exchange their inputs",
    ),
    "learns": Limit(
        0.02,
        "share of the loss that a trial must take off a repeated batch to count as learning",
    ),
    "rises": Limit(0.05, "share by which a trial's loss must rise to count as rising"),
    "faster": Limit(
        10.0,
        "how many times more another learning rate must take off to be called far better",
    ),
}
"""The thresholds of `diagnose`; override some by `limits={"vanishing": 1e-4}`."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        verdict: A key of `CURES`.
        evidence: What was measured, in words and numbers.
        numbers: The same numbers by name.
    """

    verdict: str
    evidence: str
    numbers: Mapping[str, float]


Question = Callable[[Evidence, Limits], "Finding | None"]


def bad_data(e: Evidence, limits: Limits) -> Finding | None:
    """Inputs or targets from which nothing can be learned."""
    return Finding("bad data", e.data, {}) if e.data else None


def not_finite(e: Evidence, limits: Limits) -> Finding | None:
    """NaN or infinity: by growth from layer to layer, or in one place."""
    gradients, sizes = _column(e, "gradient_norm"), _column(e, "activation_std")
    slopes = np.asarray(e.profile.weight_gradient_norm, np.float64)
    weighted = ~np.isnan(np.asarray(e.profile.weight_norm, np.float64))
    broken = ~np.isfinite(slopes[weighted])
    if not broken.any() and not np.isinf(gradients).any():
        return None
    numbers = {"layers": float(broken.sum())}
    growth = _growth(sizes), _growth(gradients)
    if max(growth) > limits["exploding"]:
        words = f"numbers grow {plain_number(max(growth), 3)} times, then overflow"
        return Finding("exploding", words, numbers)
    words = f"the gradient of {broken.sum()} layers is NaN or infinite"
    return Finding("overflow", words, numbers)


def symmetric(e: Evidence, limits: Limits) -> Finding | None:
    """Units that start equal and stay equal."""
    if not e.uniform:
        return None
    words = f"after the trial all units of {_list(e.uniform)} still have equal weights"
    return Finding("symmetric units", words, {"kernels": len(e.uniform)})


def underflow(e: Evidence, limits: Limits) -> Finding | None:
    """Zeros that a multiplied loss brings back, in a 16-bit format."""
    lost = e.zeros - e.zeros_scaled
    if not e.half or not lost > limits["zeros"]:
        return None
    words = (
        f"{e.zeros:.0%} of the gradient's elements are 0 in {e.half}; "
        f"with the loss scaled up {e.zeros_scaled:.0%}"
    )
    return Finding(
        "underflow", words, {"zeros": e.zeros, "zeros_scaled": e.zeros_scaled}
    )


def dead(e: Evidence, limits: Limits) -> Finding | None:
    """ReLU units that are 0 on every example."""
    return _share(
        e, e.dead, "dead units", limits["dead"], "units are 0 on every example"
    )


def saturated(e: Evidence, limits: Limits) -> Finding | None:
    """Activations at the ends of their range."""
    words = "activations are within 0.01 of an end of their range"
    return _share(e, e.saturated, "saturated", limits["saturated"], words)


def vanishing(e: Evidence, limits: Limits) -> Finding | None:
    """A hidden gradient that falls toward the input."""
    first, last = _ends(e)
    # An exact zero with nothing small above it was cut off, not worn away.
    small = _column(e, "gradient_norm")
    faded = first > 0 or np.min(small[small > 0], initial=1.0) < 1e-20
    if not (last > 0 and first / last < limits["vanishing"] and faded):
        return None
    words = (
        f"the first layers receive {plain_number(first / last, 2)} of the gradient that the "
        "last ones do"
    )
    return Finding("vanishing", words, {"ratio": first / last})


def exploding(e: Evidence, limits: Limits) -> Finding | None:
    """A hidden gradient that grows toward the input."""
    first, last = _ends(e)
    if not (last > 0 and limits["exploding"] < first / last < np.inf):
        return None
    words = (
        f"the first layers receive {plain_number(first / last, 2)} times the gradient that the "
        "last ones do"
    )
    return Finding("exploding", words, {"ratio": first / last})


def vanishing_through_time(e: Evidence, limits: Limits) -> Finding | None:
    """A gradient that falls toward the first position of a sequence."""
    if not e.time_ratio < limits["time"]:
        return None
    words = (
        f"the first position receives {plain_number(e.time_ratio, 2)} of the gradient that the "
        "last one does"
    )
    return Finding("vanishing through time", words, {"ratio": e.time_ratio})


def frozen(e: Evidence, limits: Limits) -> Finding | None:
    """Parameters that no gradient or no update reaches."""
    stuck = e.unmoved if e.update == 0 or not e.update < 2.0**-24 else ()
    if not (stuck or e.uncalled):
        return None
    words = " and ".join(
        f"{_list(names)} {what}"
        for names, what in [
            (stuck, "received no gradient or no update in the trial"),
            (e.uncalled, "is not called by the loss"),
        ]
        if names
    )
    numbers = {"unmoved": len(stuck), "uncalled": len(e.uncalled)}
    return Finding("frozen parameters", words, numbers)


def rate_too_high(e: Evidence, limits: Limits) -> Finding | None:
    """A loss that rises in the trial, and falls in one with smaller steps."""
    taken = _taken(e)
    lower = [i for i, factor in enumerate(FACTORS) if factor < 1 and taken[i] > 0]
    if _knows(e, -1) or not (taken[0] < -limits["rises"] and lower):
        return None
    best = max(lower, key=lambda i: taken[i])
    rise = "becomes NaN" if np.isinf(taken[0]) else f"rises by {-taken[0]:.0%}"
    words = (
        f"the loss {rise} in the trial, and falls by {taken[best]:.1%} with updates "
        f"{plain_number(FACTORS[best], 2)} times as large"
    )
    return Finding("learning rate too high", words, {"factor": FACTORS[best]})


def rate_too_low(e: Evidence, limits: Limits) -> Finding | None:
    """A loss that stays in the trial, and falls in one with larger steps."""
    taken = _taken(e)
    best = int(np.argmax(taken))
    if _knows(e) or not (
        -limits["rises"] <= taken[0] < limits["learns"]
        and FACTORS[best] > 1
        and taken[best] > max(limits["faster"] * taken[0], limits["learns"])
    ):
        return None
    words = (
        f"the loss falls by {max(taken[0], 0):.2%} in the trial, and by {taken[best]:.1%} with "
        f"updates {FACTORS[best]:g} times as large"
    )
    return Finding("learning rate too low", words, {"factor": FACTORS[best]})


def collapsed(e: Evidence, limits: Limits) -> Finding | None:
    """Examples that look alike after the last hidden layer, and are not told apart by training."""
    rows = _plain_rows(e)[:-2]
    if not rows or _uses_inputs(e, limits):
        return None
    spread, rank = e.spread[rows[-1]], e.rank[rows[-1]]
    if not (spread < limits["spread"] and rank < limits["rank"]):
        return None
    words = (
        f"after {e.profile.names[rows[-1]]} two examples differ by {plain_number(spread, 2)} "
        f"(1 - cosine) along {rank:.1f} directions"
    )
    return Finding("collapsed", words, {"spread": spread, "rank": rank})


def plateau(e: Evidence, limits: Limits) -> Finding | None:
    """A loss that no learning rate lowers, in a model that knows nothing of the targets."""
    taken = _taken(e)
    if _knows(e) or np.isnan(e.losses[0, 0]) or not max(taken) < limits["learns"]:
        return None
    words = f"no learning rate takes more than {max(max(taken), 0):.2%} off the loss"
    return Finding("plateau", words, {"taken": max(taken)})


QUESTIONS: tuple[Question, ...] = (
    bad_data,
    not_finite,
    symmetric,
    underflow,
    dead,
    saturated,
    vanishing,
    exploding,
    vanishing_through_time,
    frozen,
    rate_too_high,
    rate_too_low,
    collapsed,
    plateau,
)
"""In the order in which they are asked."""


# --- how the evidence is read ---------------------------------------------------------------------


def _column(e: Evidence, name: str) -> np.ndarray:
    """One column of the profile, without the rows of recurrent cells: they add up over time."""
    values = np.asarray(getattr(e.profile, name), np.float64)
    return values[_plain_rows(e)]


def _plain_rows(e: Evidence) -> list[int]:
    return [i for i, inside in enumerate(e.inside_cells) if not inside]


def _ends(e: Evidence) -> tuple[float, float]:
    """The largest hidden gradient in the first and in the last quarter of the layers.

    The largest, because side branches (a gate, the queries of an attention) may receive little.
    """
    gradients = _column(e, "gradient_norm")
    gradients = gradients[~np.isnan(gradients)]
    if len(gradients) < 2:
        return np.nan, np.nan
    quarter = max(1, len(gradients) // 4)
    return float(gradients[:quarter].max()), float(gradients[-quarter:].max())


def _growth(values: np.ndarray) -> float:
    """How many times the largest finite value of a column is the smallest."""
    finite = values[np.isfinite(values) & (values > 0)]
    return float(finite.max() / finite.min()) if len(finite) else 1.0


def _share(
    e: Evidence, shares: np.ndarray, verdict: str, limit: float, words: str
) -> Finding | None:
    """A finding if one layer's share is above the limit. What the data enters is left out."""
    first = e.profile.names[0]
    hidden = [
        i
        for i in _plain_rows(e)
        if not first.startswith(e.profile.names[i]) and e.profile.names[i] != "model"
    ]
    if not hidden or not max(shares[hidden]) > limit:
        return None
    worst = max(hidden, key=lambda i: shares[i])
    share = float(shares[worst])
    where = e.profile.names[worst]
    return Finding(
        verdict, f"before {where} {share:.0%} of the {words}", {"share": share}
    )


def _taken(e: Evidence) -> list[float]:
    """For each factor the share of the loss that its trial took off; minus infinity for NaN."""
    quarter = max(1, e.losses.shape[1] // 4)
    start, ends = e.losses[:, 0], e.losses[:, -quarter:].mean(axis=1)
    taken = (start - ends) / np.maximum(np.abs(start), np.finfo(float).tiny)
    return [float(x) if np.isfinite(x) else -np.inf for x in taken]


def _uses_inputs(e: Evidence, limits: Limits) -> bool:
    """Whether the trial taught the model to tell the examples apart (or cannot say)."""
    end, exchanged = e.losses[0, -1], e.exchanged[1]
    return not exchanged - end < limits["uses"] * abs(exchanged)


def _knows(e: Evidence, step: int = 0) -> bool:
    """Whether the model has learned something: with its inputs exchanged it does much worse."""
    return bool(e.losses[0, step] < 0.5 * e.exchanged[0])


def _list(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
