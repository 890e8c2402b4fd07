"""Training as one jitted scan over steps, with the profile of every step if it is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from vgutils import alerts as watch
from vgutils import errors, probe
from vgutils.alerts import Alert, AlertRaised, CallbackFailed, Events, Rule, Rules
from vgutils.models import together
from vgutils.probe import Profile

Loss = Callable[..., Any]
Measure = Callable[..., dict[str, Any]]
OnAlert = str | Callable[[Alert], Any]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class History:
    """What happened at each step; axes before the step are seeds.

    Attributes:
        loss: (..., steps), the loss on that step's batch, before the step.
        profile: A `Profile` whose arrays are (..., steps, layers), of that same loss; or None.
        update_ratio: (..., steps, layers), how large the step was beside the weights, in the L2
            norm; NaN for a layer without weights. None without alerts.
        events: What the alert rules saw, (..., steps, rules); None without alerts.
    """

    loss: jax.Array
    profile: Profile | None
    update_ratio: watch.PerLayer | None = None
    events: Events | None = None

    @property
    def alerts(self) -> list[Alert]:
        """The alerts in the order of their steps: none where none were asked for."""
        return [] if self.events is None else watch.read(self.events)


def cross_entropy(model: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """Mean softmax cross-entropy of `model(x)` against integer labels: scalar, in nats.

    Args:
        model: Maps (n, features) to (n, classes) logits.
        x: (n, features).
        y: (n,) integers.
    """
    logits = model(x).astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


@nnx.jit
def accuracy(model: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """The share of examples whose largest logit is the label's: scalar between 0 and 1."""
    return jnp.mean(jnp.argmax(model(x), axis=-1) == y)


def train(
    model: nnx.Module,
    optimizer: optax.GradientTransformation,
    x: Any,
    y: Any,
    *,
    loss: Loss = cross_entropy,
    steps: int,
    batch_size: int | None = None,
    seed: int = 0,
    profile: bool | str | Sequence[str] = False,
    alerts: Iterable[Rule] | None = None,
    on_alert: OnAlert = "log",
    measure: Measure | None = None,
) -> tuple[Any, History]:
    """Train a model; the model given is not changed.

    Args:
        model: Any NNX module.
        optimizer: An Optax transformation, such as `optax.sgd(0.1)`.
        x: (n, ...) inputs.
        y: (n, ...) targets.
        loss: `loss(model, x, y)` gives a floating scalar.
        steps: How many updates, at least 1.
        batch_size: Examples a step, drawn with replacement; all n of them if None.
        seed: Chooses the batches.
        profile: Record the `Profile` of every step: True for every submodule, or which ones (names
            or patterns, as in `vg.profile`).
        alerts: Rules to watch at every step, such as `vg.alerts.RULES`; on the submodules that
            `profile` names, else on all.
        on_alert: What happens when one rings: "log" (a warning of the logger "vgutils.alerts"),
            "raise" (the run stops), or a function of the `Alert`. It happens within
            `vg.alerts.CHUNK` steps.
        measure: `measure(model, x, y)` gives more statistics for the rules, as a dictionary. It is
            called once every `vg.alerts.CHUNK` steps, with the first `vg.alerts.LARGE` examples.

    Returns:
        The trained model and its `History`.

    Raises:
        TypeError, ValueError: An argument is not what is described here; nothing has run then.
        AlertRaised: A rule rang, and `on_alert` is "raise". It has the model and history so far.
        CallbackFailed: `on_alert` raised. The run went on to its end: it has model and history.
    """
    options = (loss, steps, batch_size, seed, profile, alerts, on_alert, measure)
    return _train([model], optimizer, x, y, *options, single=True)


def train_seeds(
    models: Sequence[nnx.Module],
    optimizer: optax.GradientTransformation,
    x: Any,
    y: Any,
    *,
    loss: Loss = cross_entropy,
    steps: int,
    batch_size: int | None = None,
    seed: int = 0,
    profile: bool | str | Sequence[str] = False,
    alerts: Iterable[Rule] | None = None,
    on_alert: OnAlert = "log",
    measure: Measure | None = None,
) -> tuple[list[Any], History]:
    """Train several models that differ only in their weights, as one program (`vmap`).

    Args: as for `train`; model i sees the batches of seed `seed + i`.

    Returns:
        The trained models, and one `History` whose leading axis is the model.

    Raises:
        TypeError, ValueError, AlertRaised, CallbackFailed: As for `train`; or ValueError where
            the models differ in structure.
    """
    options = (loss, steps, batch_size, seed, profile, alerts, on_alert, measure)
    return _train(models, optimizer, x, y, *options, single=False)


@dataclasses.dataclass(frozen=True)
class _Plan:
    """What a training program is compiled for."""

    graphdef: Any
    optimizer: optax.GradientTransformation
    loss: Loss
    batch_size: int | None
    recorded: bool
    rules: Rules
    measure: Measure | None


def _train(
    models: Sequence[nnx.Module],
    optimizer: optax.GradientTransformation,
    x: Any,
    y: Any,
    loss: Loss,
    steps: int,
    batch_size: int | None,
    seed: int,
    profile: bool | str | Sequence[str],
    alerts: Iterable[Rule] | None,
    on_alert: OnAlert,
    measure: Measure | None,
    *,
    single: bool,
) -> tuple[Any, History]:
    """Train all models; what comes out has no leading axis if `single`."""
    x, y = _check(optimizer, x, y, steps, batch_size)
    rules = watch.check(alerts, on_alert, measure)
    plain, state = together(models)
    graphdef, recorded = plain, profile is not False
    if recorded or rules:
        at = None if isinstance(profile, bool) else profile
        graphdef, state = together(
            [probe.instrument(model, loss, x[:1], y[:1], at=at) for model in models]
        )
    measure = measure if rules else None
    plan = _Plan(graphdef, optimizer, loss, batch_size, recorded, rules, measure)
    weights, sinks, rest = nnx.split_state(state, probe.WEIGHTS, probe.Sink, ...)
    keys = jnp.stack([jax.random.key(seed + i) for i in range(len(models))])
    keys = jax.vmap(partial(jax.random.split, num=steps))(keys)
    carry = (weights, rest, None, None)
    if rules:
        carry = _begin_all(plan, carry)

    def own(tree: Any) -> Any:
        return jax.tree.map(lambda values: values[0], tree) if single else tree

    parts, failure, rung = [], None, []
    length = watch.CHUNK if rules else steps
    for start in range(0, steps, length):
        now = keys[:, start : start + length]
        carry, part = _run(plan, carry, sinks, now, x, y)
        parts.append(part)
        if rules:
            rung = watch.read(own(part.events), start=start)
            if rung and on_alert == "raise":
                break
            failure = watch.deliver(rung, on_alert) or failure
    history = own(jax.tree.map(lambda *arrays: jnp.concatenate(arrays, 1), *parts))
    learnt = nnx.filter_state(nnx.merge_state(*carry[:2]), probe.LEARNT)
    leaves, structure = jax.tree.flatten(learnt)
    trained = [
        nnx.merge(plain, jax.tree.unflatten(structure, one))
        for one in zip(*leaves, strict=True)
    ]
    result = (trained[0] if single else trained), history
    if rung and on_alert == "raise":
        raise AlertRaised("; ".join(map(str, rung)), rung, *result)
    if failure is not None:
        words = f"on_alert raised {failure!r}; the run went on to its end"
        raise CallbackFailed(words, history.alerts, *result) from failure
    return result


def _begin(plan: _Plan, carry: Any) -> Any:
    """What the scan carries at first: weights, other state, optimizer's state, alerts' state."""
    weights, rest, _, _ = carry
    watched = watch.init(plan.rules) if plan.rules else None
    return weights, rest, plan.optimizer.init(weights), watched


@partial(jax.jit, static_argnums=0)
def _begin_all(plan: _Plan, carry: Any) -> Any:
    """`_begin` for all models."""
    return jax.vmap(partial(_begin, plan))(carry)


@partial(jax.jit, static_argnums=0)
def _run(
    plan: _Plan, carry: Any, sinks: Any, keys: jax.Array, x: jax.Array, y: jax.Array
) -> tuple[Any, History]:
    """Train all models for some steps: their arrays have a leading axis, the data is shared."""

    def objective(weights: Any, sinks: Any, rest: Any, *batch: jax.Array) -> Any:
        model = nnx.merge(plan.graphdef, weights, sinks, probe.renewed(rest))
        value = probe.scalar_of(plan.loss(model, *batch))
        return value, nnx.state(model, nnx.Not(nnx.Param))

    def step(carry: Any, key: jax.Array, sinks: Any, measured: Any) -> Any:
        weights, rest, slots, watched = carry
        batch = (x, y)
        if plan.batch_size is not None:
            chosen = jax.random.randint(key, (plan.batch_size,), 0, len(x))
            batch = (x[chosen], y[chosen])
        (value, rest), (slopes, sunk) = jax.value_and_grad(
            objective, argnums=(0, 1), has_aux=True
        )(weights, sinks, rest, *batch)
        updates, slots = plan.optimizer.update(slopes, slots, weights)
        record = moved = events = None
        if sinks:
            model = nnx.merge(plan.graphdef, weights, sinks, rest)
            record = probe.read(model, nnx.merge_state(slopes, sunk))
        if plan.rules:
            # In the place of the gradients, `read` takes the norms of the updates.
            change = probe.read(model, nnx.merge_state(updates, sunk))
            found = watch.statistics(value, record, change.weight_gradient_norm)
            watched, events = watch.update(watched, found | measured)
            moved = found["update_ratio"]
        weights = optax.apply_updates(weights, updates)
        seen = History(value, record if plan.recorded else None, moved, events)
        return (weights, rest, slots, watched), seen

    def run_one(carry: Any, sinks: Any, keys: jax.Array) -> tuple[Any, History]:
        if not plan.rules:  # One call is the whole run.
            carry = _begin(plan, carry)
        measured = {}
        if plan.measure is not None:
            model = nnx.merge(plan.graphdef, *carry[:1], sinks, *carry[1:2])
            measured = plan.measure(model, x[: watch.LARGE], y[: watch.LARGE])
        return jax.lax.scan(partial(step, sinks=sinks, measured=measured), carry, keys)

    return jax.vmap(run_one)(carry, sinks, keys)


def _check(
    optimizer: Any, x: Any, y: Any, steps: Any, batch_size: Any
) -> tuple[jax.Array, jax.Array]:
    """The data as JAX arrays, after every other argument has been looked at."""
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            f"optimizer must be an optax.GradientTransformation such as optax.sgd(0.1), "
            f"got {type(optimizer).__name__}"
        )
    errors.integer("steps", steps, minimum=1)
    x, y = jnp.asarray(errors.array("x", x)), jnp.asarray(errors.array("y", y))
    if x.ndim == 0 or y.ndim == 0 or len(x) != len(y):
        raise ValueError(
            f"x and y must have as many examples, got shapes {x.shape} and {y.shape}"
        )
    if batch_size is not None:
        errors.integer("batch_size", batch_size, minimum=1)
    return x, y
