"""Alert rules for a training run: data that says when a number is bad, judged inside the scan.

A `Rule` names a statistic, a threshold and a level at which the alert clears again. `init` and
`update` are pure functions that carry the state of all rules as arrays, so that they run in any
`lax.scan` or jitted step and the host is never asked:

    state = alerts.init(alerts.RULES)
    state, events = alerts.update(state, alerts.statistics(loss, profile, update_norm))

What they return, stacked over the steps, `read` turns into a list of `Alert`s. With `vg.train`:

    model, history = vg.train(..., alerts=alerts.RULES)
    for alert in history.alerts:
        print(alert)

`train` looks at the events every `CHUNK` steps, between two calls of one compiled program, and
delivers them then. A callback from inside the program would come sooner, but training is a `vmap`
over seeds, where a `lax.cond` takes both of its branches: such a callback would stop the device at
every step of every run, alert or not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vgutils import activations, errors
from vgutils.html import plain_number, text
from vgutils.models import MLP, Layer
from vgutils.probe import Profile, matches

CHUNK = 100
"""Steps of `train` between two looks at the alerts, and between two calls of `measure`."""

WINDOW = 50
"""Losses in each of the two windows whose means `loss_fall` and `loss_rise` compare."""

LARGE = 1024
"""Examples, at most, that `train` gives to `measure`."""

STATISTICS = {
    "loss": "loss",
    "loss_fall": "share by which the loss fell in a window, plus noise,",
    "loss_rise": "share by which the loss rose in a window, less noise,",
    "not_finite": "number of losses and gradient norms that are not finite",
    "gradient_ratio": "gradient norm ‖∂L/∂h‖ over the last layer's",
    "update_ratio": "update norm ‖ΔW‖ over weight norm ‖W‖",
    "saturated": "share of slopes below 5 % of the largest",
    "dead": "share of units that are 0 on every example",
}
"""Statistics that the rules of this module watch, in words. A rule may watch others."""

_OF_A_STEP = tuple(STATISTICS)[:6]  # What `train` has without a `measure`.

logger = logging.getLogger("vgutils.alerts")


# --- rules ----------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Rule:
    """When to ring: data, hashable, changed by `dataclasses.replace` or `Rules.replace`.

    Attributes:
        name: What the alert is called.
        statistic: The number it watches: a key of `STATISTICS`, or of what `update` is given.
        above: It rings above this; or
        below: below this. One of the two.
        clears: The level, on the good side of the threshold, at which a ringing alert clears. The
            gap is hysteresis: a number that flutters about its threshold rings once. The
            threshold itself if None.
        patience: For how many steps in a row the number must be bad.
        warm_up: How many steps at the beginning are not judged.
        while_loss_above: Judged only while the mean of the latest `WINDOW` losses is at least this
            share of the mean of the first: a network that has learnt may stand still. For losses
            from 0 up.
        layers: Which layers are looked at: names or patterns such as "hidden*".
        why: Why it matters, in a sentence.
        source: Where the threshold comes from: "derivation: …", "rule of thumb: …", or keys of
            the bibliography.
        chapter: The page of the book that explains it; may be empty.

    Raises:
        TypeError, ValueError: A field is not what is described here; the message names it.
    """

    name: str
    statistic: str
    above: float | None = None
    below: float | None = None
    clears: float | None = None
    patience: int = 1
    warm_up: int = 0
    while_loss_above: float | None = None
    layers: tuple[str, ...] = ("*",)
    why: str
    source: str
    chapter: str = ""

    def __post_init__(self) -> None:
        for name in ("name", "statistic", "why", "source"):
            text(f"{name} of a rule", getattr(self, name))
        errors.integer("patience", self.patience, minimum=1)
        errors.integer("warm_up", self.warm_up, minimum=0)
        if self.while_loss_above is not None:
            errors.number("while_loss_above", self.while_loss_above, minimum=0)
        if isinstance(self.layers, str) or not all(
            isinstance(pattern, str) for pattern in self.layers
        ):
            raise TypeError(
                f"layers must be a tuple of names or patterns, got {self.layers!r}"
            )
        if (self.above is None) == (self.below is None):
            raise ValueError(
                f"rule {self.name!r} must have either above or below; "
                f"got above={self.above}, below={self.below}"
            )
        threshold = errors.number(
            "below" if self.above is None else "above", self.threshold
        )
        if (
            self.clears is not None
            and self.sign * (errors.number("clears", self.clears) - threshold) > 0
        ):
            side = "at least" if self.above is None else "at most"
            raise ValueError(
                f"clears must be {side} the threshold {threshold:g}, got {self.clears}"
            )

    @property
    def threshold(self) -> float:
        """The level at which it rings."""
        return self.above if self.above is not None else self.below  # type: ignore[return-value]

    @property
    def sign(self) -> int:
        """1 where large numbers are bad, -1 where small ones are."""
        return 1 if self.above is not None else -1

    @property
    def words(self) -> str:
        """When it rings: "gradient_ratio < 0.001"."""
        return f"{self.statistic} {'>' if self.sign > 0 else '<'} {self.threshold:.3g}"


class Rules(tuple[Rule, ...]):
    """A tuple of rules that prints as a table."""

    __slots__ = ()

    def __new__(cls, rules: Iterable[Rule] = ()) -> Rules:
        """Check that these are rules and that no two share a name.

        Raises:
            TypeError: Something among them is not a `Rule`.
            ValueError: Two have one name.
        """
        if isinstance(rules, Rule | str | Mapping) or not isinstance(rules, Iterable):
            raise TypeError(f"alerts must be a sequence of Rule, got {rules!r}")
        self = super().__new__(cls, rules)
        for rule in self:
            if not isinstance(rule, Rule):
                raise TypeError(f"alerts must be a sequence of Rule, got {rule!r}")
        names = [rule.name for rule in self]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"rules must differ in their names, got {twice} twice")
        return self

    def __add__(self, other: Any) -> Rules:
        return Rules((*self, *other))

    def replace(self, name: str, **changes: Any) -> Rules:
        """The same rules, the one called `name` with other fields.

        Example:
            >>> RULES.replace("vanishing", below=1e-5, patience=50)

        Raises:
            TypeError, ValueError: No rule has that name, or a field is refused.
        """
        errors.one_of("name", name, [rule.name for rule in self])
        return Rules(replace(r, **changes) if r.name == name else r for r in self)

    def without(self, *names: str) -> Rules:
        """The same rules, but those of these names.

        Raises:
            TypeError, ValueError: No rule has that name.
        """
        for name in names:
            errors.one_of("name", name, [rule.name for rule in self])
        return Rules(rule for rule in self if rule.name not in names)

    def __str__(self) -> str:
        """A table: when each rule rings and clears, why, and where its threshold comes from."""
        rows = [("rule", "rings when", "clears at", "steps", "from step")]
        for rule in self:
            clears = rule.threshold if rule.clears is None else rule.clears
            rows.append(
                (
                    rule.name,
                    rule.words,
                    f"{clears:.3g}",
                    str(rule.patience),
                    str(rule.warm_up),
                )
            )
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = [
            "  ".join(
                cell.ljust(width) for cell, width in zip(row, widths, strict=True)
            )
            for row in rows
        ]
        for i, rule in reversed(list(enumerate(self, 1))):
            lines.insert(i + 1, f"    {rule.why} ({rule.source})")
        return "\n".join(line.rstrip() for line in lines)


_LEARNING = 0.5

RULES = Rules(
    (
        Rule(
            name="not finite",
            statistic="not_finite",
            above=0,
            why="One NaN or infinity in the loss or a gradient spoils every weight it reaches.",
            source="derivation: NaN + x = NaN",
            chapter="chapters/1_problem/exploding",
        ),
        Rule(
            name="vanishing",
            statistic="gradient_ratio",
            below=1e-3,
            clears=1e-2,
            patience=10,
            why="The gradient shrinks on its way to this layer: it learns last, or never.",
            source="derivation: at one learning rate, 1000 steps of this layer are one of the last",
            chapter="chapters/1_problem/problem",
        ),
        Rule(
            name="exploding",
            statistic="gradient_ratio",
            above=1e3,
            clears=1e2,
            patience=10,
            why="The gradient grows on its way to this layer: no learning rate suits them all.",
            source="derivation: at one learning rate, one step of this layer is 1000 of the last",
            chapter="chapters/1_problem/exploding",
        ),
        Rule(
            name="frozen",
            statistic="update_ratio",
            below=2**-24,
            clears=2**-20,
            patience=10,
            while_loss_above=_LEARNING,
            why="The update is lost when it is added: float32 has no number between.",
            source="derivation: half the spacing of float32 is at most 2^-24 of a number",
            chapter="chapters/1_problem/problem",
        ),
        Rule(
            name="large update",
            statistic="update_ratio",
            above=0.1,
            clears=0.03,
            patience=10,
            why="A step moves the weights by a tenth of their size: ten steps make others of them.",
            source="rule of thumb: about 1e-3 is usual (Karpathy); a hundred times that is not",
            chapter="chapters/2_depth/optimizers",
        ),
        Rule(
            name="stalled",
            statistic="loss_fall",
            below=0.02,
            clears=0.05,
            patience=10,
            while_loss_above=_LEARNING,
            why="The loss stands still, far above where a network that learns would bring it.",
            source="rule of thumb: 2 % in 50 steps is half the loss in 1700; z = 4 for the noise",
            chapter="chapters/1_problem/problem",
        ),
        Rule(
            name="rising",
            statistic="loss_rise",
            above=0.05,
            clears=0,
            patience=10,
            why="The loss rises by more than the noise of its batches: steps are too long.",
            source="rule of thumb: 5 % in 50 steps; z = 4 for the noise",
            chapter="chapters/2_depth/optimizers",
        ),
    )
)
"""What can be seen in any model: the loss, the gradients and the updates."""

UNIT_RULES = Rules(
    (
        Rule(
            name="saturated",
            statistic="saturated",
            above=0.9,
            clears=0.8,
            why="On nearly every example nearly every unit is flat: little gradient gets through.",
            source="derivation: with 9 slopes in 10 below 5 %, the mean slope is below 15 %",
            chapter="chapters/1_problem/sigmoid",
        ),
        Rule(
            name="dead",
            statistic="dead",
            above=0.5,
            clears=0.4,
            why="Half of the layer's units are 0 on every example, and get no gradient.",
            source="rule of thumb: half of the width computes nothing",
            chapter="chapters/2_depth/relu",
        ),
    )
)
"""What only a look at the units shows: `train` needs a `measure` for them, such as `mlp_units`."""


# --- statistics -----------------------------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PerLayer:
    """A statistic with a value for each layer.

    Attributes:
        names: The layers.
        values: (layers,), floating. NaN where a layer has none; a rule steps over it.
    """

    names: tuple[str, ...] = field(metadata={"static": True})
    values: jax.Array


def statistics(
    loss: jax.Array,
    profile: Profile | None = None,
    update_norm: jax.Array | None = None,
) -> dict[str, Any]:
    """What `RULES` watch, out of what a training step has at hand.

    Args:
        loss: Scalar.
        profile: The step's `Profile`, without leading axes.
        update_norm: (layers,), the L2 norm of what the optimizer adds to each row's weights:
            `vg.read(tapped, updates).weight_gradient_norm`.

    Returns:
        "loss" and "not_finite" (scalars); with a profile "gradient_ratio", and with the norms
        "update_ratio" too (`PerLayer`; NaN where a layer has no weights, or where all are 0).
    """
    bad = jnp.sum(~jnp.isfinite(loss))
    found: dict[str, Any] = {"loss": loss}
    if profile is not None:
        norm, weight = profile.gradient_norm, profile.weight_norm
        has_weights = jnp.isfinite(weight) & (weight > 0)
        bad += jnp.sum(has_weights & ~jnp.isfinite(profile.weight_gradient_norm))
        bad += jnp.sum(jnp.isinf(norm))
        # Rows without a gradient are NaN. The last layer is the last row that has one.
        last = jnp.max(jnp.where(jnp.isfinite(norm), jnp.arange(len(norm)), 0))
        found["gradient_ratio"] = PerLayer(profile.names, norm / norm[last])
        if update_norm is not None:
            ratio = jnp.where(has_weights, update_norm / weight, jnp.nan)
            found["update_ratio"] = PerLayer(profile.names, ratio)
    return found | {"not_finite": bad.astype(jnp.float32)}


def unit_shares(z: jax.Array, activation: str | Callable[..., Any]) -> dict[str, Any]:
    """How many units of a layer are saturated, and how many are dead.

    Args:
        z: (n, units) pre-activations, floating.
        activation: A name in `vgutils.activations.ACTIVATIONS` or an elementwise function.

    Returns:
        "saturated": the share of the n × units slopes that are below 5 % of the activation's
        largest (of its largest between -10 and 10). "dead": the share of the units that put out
        0 on all n examples. Scalars between 0 and 1.

    Raises:
        TypeError, ValueError: `z` is not such an array, or the activation is unknown.
    """
    phi = activations.get(activation)
    errors.array("z", z, ndim=2, floating=True, finite=False)
    slope = jax.vmap(jax.grad(phi))
    largest = jnp.max(jnp.abs(slope(jnp.linspace(-10, 10, 401, dtype=z.dtype))))
    flat = jnp.abs(slope(z.ravel())) < 0.05 * largest
    return {
        "saturated": jnp.mean(flat),
        "dead": jnp.mean(jnp.all(phi(z) == 0, axis=0)),
    }


def mlp_units(model: MLP, x: jax.Array, y: Any = None) -> dict[str, PerLayer]:
    """The `unit_shares` of every hidden layer of an `MLP`: a `measure` for `train`.

    Write one like it for a model of your own: it takes (model, x, y) and returns a dictionary
    whose values are scalars, dictionaries from layer to scalar, or `PerLayer`.

    Args:
        model: The network.
        x: (n, in_features).
        y: Not used.

    Returns:
        "saturated" and "dead", each with a value for "first", "hidden[0]", "hidden[1]", ….

    Raises:
        TypeError: `model` is not an `MLP`.
    """
    if not isinstance(model, MLP):
        raise TypeError(f"model must be a vg.MLP, got {type(model).__name__}")
    model = nnx.clone(model)  # A look must not move its batch statistics.

    def look(layer: Layer, h: jax.Array) -> tuple[jax.Array, dict[str, Any]]:
        z = layer.linear(h)
        z = layer.norm(z) if hasattr(layer, "norm") else z
        return layer.activation(z), unit_shares(z, layer.activation)

    h, first = look(model.first, x)
    shares = {name: share[None] for name, share in first.items()}
    if model.depth > 1:
        graphdef, weights = nnx.split(model.hidden)
        _, rest = jax.lax.scan(lambda h, w: look(nnx.merge(graphdef, w), h), h, weights)
        shares = {name: jnp.concatenate([shares[name], rest[name]]) for name in shares}
    names = ("first", *(f"hidden[{i}]" for i in range(model.depth - 1)))
    return {name: PerLayer(names, values) for name, values in shares.items()}


# --- judging, step by step ------------------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class State:
    """What the rules remember from step to step: a pytree of small arrays.

    Attributes:
        rules: Which they are.
        step: () int32, how many steps were judged.
        bad: (rules,) int32, for how many steps in a row each has been bad.
        ringing: (rules,) bool.
        losses: (2 × window,) float32, the latest last; 0 before the beginning.
        start: () float32, the mean of the first `window` losses, or of those there are.
    """

    rules: Rules = field(metadata={"static": True})
    step: jax.Array
    bad: jax.Array
    ringing: jax.Array
    losses: jax.Array
    start: jax.Array


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Events:
    """What `update` saw: arrays over the rules; stacked by a scan, over (..., steps, rules).

    Attributes:
        rules: Which they are.
        layers: For each rule the layers it looks at; empty where its statistic has none.
        rings: Bool: it begins to ring at this step.
        ringing: Bool: it rings at this step.
        value: Float, the watched number, of the worst layer.
        layer: Int32, which of `layers` that is.
    """

    rules: Rules = field(metadata={"static": True})
    layers: tuple[tuple[str, ...], ...] = field(metadata={"static": True})
    rings: jax.Array
    ringing: jax.Array
    value: jax.Array
    layer: jax.Array


def init(rules: Iterable[Rule] = RULES, *, window: int = WINDOW) -> State:
    """The state before the first step.

    Args:
        rules: What to watch.
        window: Losses in each of the two windows that are compared, at least 2.

    Raises:
        TypeError, ValueError: `rules` are not rules, or `window` is not such an integer.
    """
    rules = Rules(rules)
    errors.integer("window", window, minimum=2)
    count = (len(rules),)
    return State(
        rules=rules,
        step=jnp.zeros((), jnp.int32),
        bad=jnp.zeros(count, jnp.int32),
        ringing=jnp.zeros(count, bool),
        losses=jnp.zeros(2 * window, jnp.float32),
        start=jnp.zeros((), jnp.float32),
    )


def update(state: State, found: Mapping[str, Any]) -> tuple[State, Events]:
    """Judge one step. Pure: runs under `jit`, `vmap` and `scan`.

    Of a statistic with layers a rule sees the worst; NaN is no value, neither bad nor good.

    Args:
        state: From `init`, or from the step before.
        found: The step's `statistics`: scalars, `PerLayer`, or dictionaries from layer to scalar.
            "loss" must be among them; "loss_fall" and "loss_rise" are made from it here.

    Returns:
        The next state, and this step's `Events`.

    Raises:
        ValueError: A rule's statistic is missing, or none of its layers is there.
    """
    if "loss" not in found:
        raise ValueError(f"found must hold 'loss', got {', '.join(found) or 'nothing'}")
    rules = state.rules
    losses, start, trend, level = _remember(state, found["loss"])
    seen = dict(found) | trend
    worst = [_worst(rule, seen) for rule in rules]
    value = jnp.stack([value for value, _, _ in worst]) if worst else jnp.zeros(0)
    sign = np.array([rule.sign for rule in rules], np.float32)
    threshold, clears = (
        sign * np.array(levels, np.float32)
        for levels in (
            [r.threshold for r in rules],
            [r.threshold if r.clears is None else r.clears for r in rules],
        )
    )
    shares = [r.while_loss_above for r in rules]
    gated = np.array([share is not None for share in shares], bool)
    needed = np.array([share or 0 for share in shares], np.float32)
    judged = state.step >= np.array([rule.warm_up for rule in rules], np.int32)
    judged &= ~gated | (level >= needed * start)
    bad = jnp.where(judged & (sign * value > threshold), state.bad + 1, 0)
    patient = bad >= np.array([rule.patience for rule in rules], np.int32)
    cleared = ~judged | (sign * value <= clears)
    ringing = patient | (state.ringing & ~cleared)
    events = Events(
        rules=rules,
        layers=tuple(names for _, _, names in worst),
        rings=ringing & ~state.ringing,
        ringing=ringing,
        value=value,
        layer=jnp.array([index for _, index, _ in worst], jnp.int32),
    )
    return State(rules, state.step + 1, bad, ringing, losses, start), events


def _remember(
    state: State, loss: jax.Array
) -> tuple[jax.Array, jax.Array, dict[str, jax.Array], jax.Array]:
    """The losses with this one, the mean of the first, the trends, the mean of the latest."""
    window = len(state.losses) // 2
    loss = jnp.asarray(loss, jnp.float32)
    step = state.step + 1
    start = jnp.where(
        step <= window, state.start + (loss - state.start) / step, state.start
    )
    losses = jnp.concatenate([state.losses[1:], loss[None]])
    both = losses.reshape(2, window)
    older, newer = jnp.mean(both, axis=1)
    # Four standard errors of the difference of the two means, as in `vgutils.claims.sampling`.
    noise = 4 * jnp.sqrt(jnp.sum(jnp.var(both, axis=1, ddof=1)) / window)
    full = step >= 2 * window
    trend = {
        "loss_fall": jnp.where(full, (older - newer + noise) / older, jnp.nan),
        "loss_rise": jnp.where(full, (newer - older - noise) / older, jnp.nan),
    }
    return losses, start, trend, newer * window / jnp.minimum(step, window)


def _worst(
    rule: Rule, found: Mapping[str, Any]
) -> tuple[jax.Array, jax.Array, tuple[str, ...]]:
    """The worst value of the rule's statistic, its place, and the layers that were looked at."""
    if rule.statistic not in found:
        raise ValueError(
            f"rule {rule.name!r} watches {rule.statistic!r}, which is not among the "
            f"statistics {', '.join(found)}"
        )
    statistic = found[rule.statistic]
    if isinstance(statistic, Mapping):
        statistic = PerLayer(
            tuple(statistic), jnp.stack([jnp.asarray(v) for v in statistic.values()])
        )
    if not isinstance(statistic, PerLayer):
        return jnp.asarray(statistic, jnp.float32), jnp.zeros((), jnp.int32), ()
    names = statistic.names
    rows = [i for i, name in enumerate(names) if matches(name, rule.layers)]
    if not rows:
        raise ValueError(
            f"layers of rule {rule.name!r} must match one of {', '.join(names)}; "
            f"got {rule.layers}"
        )
    values = statistic.values.astype(jnp.float32)[np.array(rows)]
    index = jnp.argmax(jnp.where(jnp.isnan(values), -jnp.inf, rule.sign * values))
    return values[index], index, tuple(names[i] for i in rows)


def check(rules: Iterable[Rule] | None, on_alert: Any, measure: Any) -> Rules:
    """The rules that `train` was given, after a look at all that goes with them.

    Raises:
        TypeError, ValueError: One of the three is not what `train` takes, or a rule watches what
            only a `measure` can see and there is none.
    """
    if not callable(on_alert):
        errors.one_of("on_alert", on_alert, ["log", "raise"])
    if not (measure is None or callable(measure)):
        raise TypeError(f"measure must be callable or None, got {measure!r}")
    rules = Rules(() if rules is None else rules)
    if measure is None:
        for rule in rules:
            if rule.statistic not in _OF_A_STEP:
                raise ValueError(
                    f"rule {rule.name!r} watches {rule.statistic!r}, which is not among "
                    f"{', '.join(_OF_A_STEP)}: give a measure that returns it"
                )
    return rules


# --- alerts, in words -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Alert:
    """One ring of one rule.

    Attributes:
        step: The index of the step in the history at which it began to ring.
        rule: The rule's name.
        layer: The worst layer then; None where the statistic has no layers.
        value: What was measured there.
        threshold: The rule's.
        message: All of it in a sentence, with the reason.
        chapter: The page of the book that explains it.
        until: The step at which it was clear again; None if it still rang when this was read.
        seed: Which of several runs; None for a single one.
    """

    step: int
    rule: str
    layer: str | None
    value: float
    threshold: float
    message: str
    chapter: str
    until: int | None = None
    seed: int | None = None

    def __str__(self) -> str:
        run = "" if self.seed is None else f"run {self.seed}, "
        return f"{run}step {self.step}: {self.message}"


def read(events: Events, *, start: int = 0) -> list[Alert]:
    """The alerts that events stand for, in the order of their steps.

    Args:
        events: Concrete arrays over (steps, rules) or (runs, steps, rules).
        start: The index of the first of these steps.

    Raises:
        ValueError: The arrays have other axes.
    """
    rings = np.asarray(events.rings)
    if rings.ndim not in (2, 3):
        raise ValueError(
            "events must be over (steps, rules) or (runs, steps, rules), got shape "
            f"{rings.shape}"
        )
    ringing, values, places = (
        np.asarray(array) for array in (events.ringing, events.value, events.layer)
    )
    found = []
    for index in zip(*np.nonzero(rings), strict=True):
        *run, step, number = (int(i) for i in index)
        rule, layers = events.rules[number], events.layers[number]
        layer = layers[places[index]] if layers else None
        value = float(values[index])
        clear = np.flatnonzero(~ringing[tuple(run)][step:, number])
        found.append(
            Alert(
                step=start + step,
                rule=rule.name,
                layer=layer,
                value=value,
                threshold=rule.threshold,
                message=_message(rule, layer, value),
                chapter=rule.chapter,
                until=start + step + int(clear[0]) if clear.size else None,
                seed=run[0] if run else None,
            )
        )
    return sorted(found, key=lambda alert: alert.step)


def _message(rule: Rule, layer: str | None, value: float) -> str:
    words = STATISTICS.get(rule.statistic, rule.statistic)
    place = "" if layer is None else f" in {layer}"
    side = "above" if rule.sign > 0 else "below"
    long = f" for {rule.patience} steps" if rule.patience > 1 else ""
    page = f" See {rule.chapter}." if rule.chapter else ""
    return (
        f"{rule.name}{place}: {words} is {plain_number(value, 3)}, {side} "
        f"{plain_number(rule.threshold, 3)}{long}. {rule.why}{page}"
    )


class AlertRaised(RuntimeError):
    """A rule rang in a run that was to stop there, or what an alert was handed to failed.

    Attributes:
        alerts: What rang: with `on_alert="raise"` in the steps just run, else in the whole run.
        history: The `History` so far; of the whole run where a callback failed.
        trained: The model, or the list of them, as it stands after that history.
    """

    def __init__(self, words: str, alerts: list[Alert], trained: Any, history: Any):
        super().__init__(words)
        self.alerts, self.trained, self.history = alerts, trained, history


class CallbackFailed(AlertRaised):
    """`on_alert` raised: the run went on to its end, and this is raised from what it raised."""


def deliver(
    alerts: Iterable[Alert], on_alert: Callable[[Alert], Any] | str
) -> Exception | None:
    """Hand alerts on, one after the other: to the logger "vgutils.alerts", or to a callback.

    Returns:
        The first exception that the callback raised; the other alerts were delivered all the same.
    """
    failure = None
    for alert in alerts:
        try:
            if callable(on_alert):
                on_alert(alert)
            else:
                logger.warning("%s", alert)
        except Exception as error:
            failure = failure or error
    return failure
