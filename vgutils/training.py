"""Training as one jitted scan over steps, with the profile of every step if it is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from vgutils import errors, probe
from vgutils.models import together
from vgutils.probe import Profile

Loss = Callable[..., Any]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class History:
    """What happened at each step; axes before the step are seeds.

    Attributes:
        loss: (..., steps), the loss on that step's batch, before the step.
        profile: A `Profile` whose arrays are (..., steps, layers), of that same loss; or None.
    """

    loss: jax.Array
    profile: Profile | None


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

    Returns:
        The trained model and its `History`.

    Raises:
        TypeError, ValueError: An argument is not what is described here; nothing has run then.
    """
    models, history = train_seeds(
        [model],
        optimizer,
        x,
        y,
        loss=loss,
        steps=steps,
        batch_size=batch_size,
        seed=seed,
        profile=profile,
    )
    return models[0], jax.tree.map(lambda values: values[0], history)


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
) -> tuple[list[Any], History]:
    """Train several models that differ only in their weights, as one program (`vmap`).

    Args: as for `train`; model i sees the batches of seed `seed + i`.

    Returns:
        The trained models, and one `History` whose leading axis is the model.

    Raises:
        TypeError, ValueError: As for `train`; or the models differ in structure.
    """
    x, y = _check(optimizer, x, y, steps, batch_size)
    plain, state = together(models)
    graphdef = plain
    if profile is not False:
        at = None if profile is True else profile
        graphdef, state = together(
            [probe.instrument(model, loss, x[:1], y[:1], at=at) for model in models]
        )
    weights, rest = nnx.split_state(state, probe.WEIGHTS, ...)
    keys = jnp.stack([jax.random.key(seed + i) for i in range(len(models))])
    weights, rest, history = _run(
        graphdef, optimizer, loss, steps, batch_size, weights, rest, keys, x, y
    )
    state = nnx.filter_state(nnx.merge_state(weights, rest), probe.LEARNT)
    leaves, structure = jax.tree.flatten(state)
    trained = [
        nnx.merge(plain, jax.tree.unflatten(structure, one))
        for one in zip(*leaves, strict=True)
    ]
    return trained, history


@partial(jax.jit, static_argnums=(0, 1, 2, 3, 4))
def _run(
    graphdef: Any,
    optimizer: optax.GradientTransformation,
    loss: Loss,
    steps: int,
    batch_size: int | None,
    weights: Any,
    rest: Any,
    keys: jax.Array,
    x: jax.Array,
    y: jax.Array,
) -> tuple[Any, Any, History]:
    """Train all models: their states and keys have a leading axis, the data is shared."""

    def objective(weights: Any, sinks: Any, rest: Any, *batch: jax.Array) -> Any:
        model = nnx.merge(graphdef, weights, sinks, probe.renewed(rest))
        return probe.scalar_of(loss(model, *batch)), nnx.state(
            model, nnx.Not(nnx.Param)
        )

    def step(carry: Any, key: jax.Array, sinks: Any) -> Any:
        weights, rest, slots = carry
        batch = (x, y)
        if batch_size is not None:
            chosen = jax.random.randint(key, (batch_size,), 0, len(x))
            batch = (x[chosen], y[chosen])
        (value, rest), (slopes, sunk) = jax.value_and_grad(
            objective, argnums=(0, 1), has_aux=True
        )(weights, sinks, rest, *batch)
        record = None
        if sinks:
            model = nnx.merge(graphdef, weights, sinks, rest)
            record = probe.read(model, nnx.merge_state(slopes, sunk))
        updates, slots = optimizer.update(slopes, slots, weights)
        return (optax.apply_updates(weights, updates), rest, slots), (value, record)

    def run_one(weights: Any, rest: Any, key: jax.Array) -> tuple[Any, Any, History]:
        sinks, rest = nnx.split_state(rest, probe.Sink, ...)
        (weights, rest, _), (losses, records) = jax.lax.scan(
            partial(step, sinks=sinks),
            (weights, rest, optimizer.init(weights)),
            jax.random.split(key, steps),
        )
        return weights, nnx.merge_state(sinks, rest), History(losses, records)

    return jax.vmap(run_one)(weights, rest, keys)


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
