"""What a diagnosis rests on: measurements of a model, its gradients, and short trials of training.

Nothing here judges; `vgutils.diagnosis` does. The numbers come out of two programs: one reverse
pass with taps on every submodule, and a few steps of training at several learning rates.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from vgutils import probe
from vgutils.probe import Profile

EXAMPLES = 64
"""How many examples of the batch the rank of an output is computed from."""

FACTORS = (1.0, 1e-3, 1e-2, 1e-1, 1e1, 1e2, 1e3, 1e4, 1e5)
"""What the trials multiply the optimizer's updates with; as given comes first."""

LARGE = 30.0
"""Root mean square above which an input feature counts as not scaled (1 is the custom)."""


@dataclasses.dataclass(frozen=True)
class Evidence:
    """Numbers about one model, one batch and one optimizer. A layer is a row of the profile.

    Attributes:
        profile: Of every submodule that the loss calls.
        dead: (layers,) the share of the units *entering* the layer that are 0 on every example.
        saturated: (layers,) the share of the values entering the layer that lie within 0.01 of an
            end of [-1, 1] or [0, 1], if all lie in it and few are 0 (as after a ReLU); else 0.
        spread: (layers,) one minus the mean cosine between the outputs of two examples.
        rank: (layers,) how many directions tell the outputs of the examples apart: participation
            ratio (sum s)^2 / sum s^2 of the squared singular values, centred over the examples.
        inside_cells: (layers,) whether the row belongs to a recurrent cell.
        zeros: The share of exact zeros among the elements of the weight gradient, and
        zeros_scaled: the same with the loss multiplied by a large power of two.
        half: "float16" or "bfloat16" where the model computes in it, else "".
        uncalled: The modules with parameters that the loss does not call.
        unmoved: The parameters to which a trial with the optimizer as given brought no gradient, or
            that it left bitwise unchanged. (Weight decay moves what no gradient reaches.)
        uniform: The kernels whose units all had equal weights after that trial.
        losses: (factors, steps) of the trials, on the same batch; NaN where not finite.
        exchanged: (2,) the loss when each example has another one's inputs, before and after the
            trial at factor 1; NaN where the batch is not inputs and targets.
        update: Median over parameters of |update| / |weight| (sums of absolute values) in the
            first step; NaN without one.
        time_ratio: |dL/dx| at the first position over that at the last; NaN if the model has no
            recurrent cell or its input no positions.
        data: What is wrong with the batch, in words; "" if nothing is.
    """

    profile: Profile
    dead: np.ndarray
    saturated: np.ndarray
    spread: np.ndarray
    rank: np.ndarray
    inside_cells: np.ndarray
    zeros: float
    zeros_scaled: float
    half: str
    uncalled: tuple[str, ...]
    unmoved: tuple[str, ...]
    uniform: tuple[str, ...]
    losses: np.ndarray
    exchanged: np.ndarray
    update: float
    time_ratio: float
    data: str


def collect(
    model: nnx.Module,
    loss: Callable[..., Any],
    batch: tuple[Any, ...],
    optimizer: optax.GradientTransformation,
    steps: int,
) -> Evidence:
    """Measure. The arguments are those of `vgutils.diagnose`, which has checked them."""
    half = _half(model)
    tapped = probe.instrument(model, loss, *batch, measure=measure)
    # As much as the largest gradients bear: what is still 0 then did not underflow.
    scale = 2.0**10 if half == "float16" else 2.0**64
    (profile, more, zeros), (_, _, zeros_scaled) = (
        _profiled(tapped, loss, batch, factor) for factor in (1.0, scale)
    )
    dead, saturated, spread, rank = np.nan_to_num(np.asarray(more, np.float64)).T
    return Evidence(
        profile=profile,
        dead=dead,
        saturated=saturated,
        spread=spread,
        rank=rank,
        inside_cells=_inside_cells(model, profile.names),
        zeros=float(zeros),
        zeros_scaled=float(zeros_scaled),
        half=half,
        uncalled=_uncalled(tapped),
        **_trials(model, loss, batch, optimizer, steps),
        time_ratio=_time_ratio(model, loss, batch),
        data=_look_at(batch),
    )


# --- one reverse pass -----------------------------------------------------------------------------


def measure(inputs: Any, output: jax.Array) -> jax.Array:
    """The `moments`, then dead, saturated, spread and rank of one call: (7,)."""
    dead, saturated = jnp.zeros(2, output.dtype) if inputs is None else _units(inputs)
    return jnp.stack(
        [*probe.moments(inputs, output), dead, saturated, *_geometry(output)]
    ).astype(output.dtype)


def _units(h: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Shares of dead units (last axis) and of saturated values."""
    dead = jnp.mean(jnp.all(h == 0, axis=tuple(range(h.ndim - 1))))
    low = jnp.where(jnp.min(h) < 0, -1.0, 0.0)
    inside = (jnp.max(jnp.abs(h)) <= 1) & (jnp.mean(h == 0) < 0.1)
    at_an_end = (h > 0.99) | (h < low + 0.01)
    return dead, jnp.where(inside, jnp.mean(at_an_end), 0.0)


def _geometry(h: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Spread and rank over the leading axis, the examples."""
    mesh = jax.typeof(h).sharding.mesh
    if not mesh.empty:  # Examples that an explicit mesh spreads come together first.
        h = jax.sharding.reshard(h, NamedSharding(mesh, PartitionSpec()))
    rows = h.reshape(h.shape[0], -1)[:EXAMPLES] if h.ndim > 1 else h.reshape(1, -1)
    n = len(rows)
    rows = rows / jnp.maximum(jnp.max(jnp.abs(rows)), jnp.finfo(h.dtype).tiny)
    lengths = jnp.sqrt(jnp.sum(jnp.square(rows), axis=1, keepdims=True))
    unit = rows / jnp.maximum(lengths, jnp.finfo(h.dtype).tiny)
    cosine = (jnp.sum(jnp.square(jnp.sum(unit, axis=0))) - n) / max(n * (n - 1), 1)
    centred = rows - jnp.mean(rows, axis=0)
    gram = centred @ centred.T
    squares = jnp.sum(jnp.square(gram))
    rank = jnp.square(jnp.trace(gram)) / jnp.maximum(squares, jnp.finfo(h.dtype).tiny)
    return 1 - cosine, rank


def _profiled(
    tapped: nnx.Module, loss: Callable[..., Any], batch: tuple[Any, ...], factor: float
) -> tuple[Profile, jax.Array, jax.Array]:
    """Profile, (layers, 4) measures and the share of zeros, for `factor` times the loss."""
    graphdef, weights, sinks, rest = nnx.split(tapped, probe.WEIGHTS, probe.Sink, ...)
    return _reverse_pass(
        graphdef, loss, weights, sinks, rest, jnp.asarray(factor), batch
    )


@partial(jax.jit, static_argnums=(0, 1))
def _reverse_pass(
    graphdef: Any,
    loss: Callable[..., Any],
    weights: Any,
    sinks: Any,
    rest: Any,
    factor: jax.Array,
    batch: tuple[Any, ...],
) -> tuple[Profile, jax.Array, jax.Array]:
    def objective(weights: Any, sinks: Any) -> jax.Array:
        model = nnx.merge(graphdef, weights, sinks, probe.renewed(rest))
        value = probe.scalar_of(loss(model, *batch))
        return value.astype(jnp.promote_types(value.dtype, jnp.float32)) * factor

    slopes, sunk = jax.grad(objective, argnums=(0, 1))(weights, sinks)
    model = nnx.merge(graphdef, weights, sinks, rest)
    profile, more = probe.read_all(model, nnx.merge_state(slopes, sunk))
    leaves = jax.tree.leaves(slopes)
    zeros = sum(jnp.sum(leaf == 0) for leaf in leaves) / sum(x.size for x in leaves)
    return profile, more, zeros


# --- trials ---------------------------------------------------------------------------------------


def _trials(
    model: nnx.Module,
    loss: Callable[..., Any],
    batch: tuple[Any, ...],
    optimizer: optax.GradientTransformation,
    steps: int,
) -> dict[str, Any]:
    """What `steps` steps do to the loss on this batch, with the updates times each factor."""
    if not steps:
        losses = np.full((len(FACTORS), 1), np.nan)
        nothing = {
            "unmoved": (),
            "uniform": (),
            "exchanged": np.full(2, np.nan),
            "update": np.nan,
        }
        return {"losses": losses, **nothing}
    graphdef, weights, rest = nnx.split(model, probe.WEIGHTS, ...)
    (losses, moved, uniform, update, after), before = _train(
        graphdef, loss, optimizer, steps, weights, rest, jnp.array(FACTORS), batch
    )
    names = [".".join(map(str, path)) for path, _ in nnx.to_flat_state(weights)]
    losses = np.asarray(losses, np.float64)
    return {
        "losses": np.where(np.isfinite(losses), losses, np.nan),
        "unmoved": _chosen(names, [not flag[0] for flag in moved]),
        # Biases and scales begin uniform, and may be stacked.
        "uniform": tuple(
            name
            for name in _chosen(names, [bool(flag[0]) for flag in uniform])
            if name.rpartition(".")[-1] not in ("bias", "scale")
        ),
        "exchanged": np.array([before, after[0]], np.float64),
        "update": float(update[0]),
    }


def _chosen(names: list[str], flags: list[bool]) -> tuple[str, ...]:
    """The names whose flag is set."""
    return tuple(name for name, flag in zip(names, flags, strict=True) if flag)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _train(
    graphdef: Any,
    loss: Callable[..., Any],
    optimizer: optax.GradientTransformation,
    steps: int,
    weights: Any,
    rest: Any,
    factors: jax.Array,
    batch: tuple[Any, ...],
) -> Any:
    """For each factor: losses, and which parameters moved, which kernels ended uniform; updates."""

    def objective(weights: Any, rest: Any, batch: tuple[Any, ...]) -> Any:
        model = nnx.merge(graphdef, weights, probe.renewed(rest))
        value = probe.scalar_of(loss(model, *batch))
        return value, nnx.state(model, nnx.Not(nnx.Param))

    learnt = nnx.filter_state(rest, nnx.Not(nnx.Param))

    def exchanged(weights: Any, rest: Any) -> Any:
        others = _exchange(batch)
        return objective(weights, rest, others)[0] if others else jnp.nan

    def run(factor: jax.Array) -> Any:
        def step(carry: Any, _: None) -> Any:
            weights, rest, slots = carry
            (value, rest), slopes = jax.value_and_grad(objective, has_aux=True)(
                weights, rest, batch
            )
            updates, slots = optimizer.update(slopes, slots, weights)
            updates = jax.tree.map(lambda u: u * factor.astype(u.dtype), updates)
            ratio = jnp.nanmedian(
                jnp.stack(jax.tree.leaves(jax.tree.map(_relative, updates, weights)))
            )
            reached = jax.tree.map(lambda slope: jnp.any(slope != 0), slopes)
            carry = optax.apply_updates(weights, updates), rest, slots
            return carry, (value, ratio, reached)

        (end, rest, _), (losses, ratios, reached) = jax.lax.scan(
            step, (weights, learnt, optimizer.init(weights)), None, length=steps
        )
        moved = jax.tree.map(
            lambda a, b, flags: jnp.any(a != b) & jnp.any(flags), end, weights, reached
        )
        uniform = jax.tree.map(_uniform, end)
        flags = jax.tree.leaves(moved), jax.tree.leaves(uniform)
        return losses, *flags, ratios[0], exchanged(end, rest)

    return jax.lax.map(run, factors), exchanged(weights, learnt)


def _exchange(batch: tuple[Any, ...]) -> tuple[Any, ...]:
    """The batch with the inputs moved on by half of it, so that they meet other targets."""
    if len(batch) < 2 or any(jnp.ndim(part) == 0 for part in batch[:2]):
        return ()
    inputs = jnp.asarray(batch[0])
    return (jnp.roll(inputs, len(inputs) // 2, axis=0), *batch[1:])


def _relative(update: jax.Array, weight: jax.Array) -> jax.Array:
    """|update| / |weight| in the sum of absolute values; NaN where the weight is 0."""
    # A sum of squares would underflow where an update does not.
    size = jnp.sum(jnp.abs(weight))
    return jnp.where(size > 0, jnp.sum(jnp.abs(update)) / size, jnp.nan)


def _uniform(weight: jax.Array) -> jax.Array:
    """Whether all output units (last axis) have the same weights."""
    if weight.ndim < 2 or weight.shape[-1] < 2:
        return jnp.zeros((), bool)
    return jnp.all(weight == weight[..., :1])


# --- what the model and the batch are -------------------------------------------------------------


def _half(model: nnx.Module) -> str:
    """The 16-bit dtype that some submodule computes in or keeps its parameters in, or ""."""
    dtypes: list[Any] = [
        leaf.dtype for leaf in jax.tree.leaves(nnx.state(model, nnx.Param))
    ]
    modules = [m for _, m in nnx.iter_graph(model) if isinstance(m, nnx.Module)]
    dtypes += [m.dtype for m in modules if getattr(m, "dtype", None) is not None]
    names = {jnp.dtype(d).name for d in dtypes}
    return next((half for half in ("float16", "bfloat16") if half in names), "")


def _inside_cells(model: nnx.Module, names: tuple[str, ...]) -> np.ndarray:
    """Which rows belong to a recurrent cell: it is called once a time step."""
    cells = [
        ".".join(map(str, path))
        for path, module in nnx.iter_graph(model)
        if isinstance(module, nnx.RNNCellBase)
    ]
    return np.array([any(n.startswith(cell) for cell in cells) for n in names])


def _uncalled(tapped: nnx.Module) -> tuple[str, ...]:
    """Modules with parameters of their own and no tap: the loss does not call them."""
    return tuple(
        ".".join(map(str, path))
        for path, module in nnx.iter_graph(tapped)
        if isinstance(module, nnx.Module)
        and not hasattr(module, "tap_sink")
        and callable(module)
        and any(isinstance(value, nnx.Param) for value in vars(module).values())
    )


def _time_ratio(
    model: nnx.Module, loss: Callable[..., Any], batch: tuple[Any, ...]
) -> float:
    """|dL/dx| at the first position over that at the last, x (examples, positions, features)."""
    x: Any = batch[0] if batch else None
    cells = [m for _, m in nnx.iter_graph(model) if isinstance(m, nnx.RNNCellBase)]
    if (
        not cells
        or getattr(x, "ndim", 0) != 3
        or not jnp.issubdtype(x.dtype, jnp.floating)
    ):
        return float("nan")
    graphdef, state = nnx.split(model)

    @jax.jit
    def slopes(x: jax.Array) -> jax.Array:
        def objective(x: jax.Array) -> jax.Array:
            whole = nnx.merge(graphdef, probe.renewed(state))
            return probe.scalar_of(loss(whole, x, *batch[1:]))

        return jax.vmap(probe.norm, in_axes=1)(jax.grad(objective)(x))

    norms = np.asarray(slopes(jnp.asarray(x)), np.float64)
    return float(norms[0] / norms[-1]) if norms[-1] > 0 else float("nan")


def _look_at(batch: tuple[Any, ...]) -> str:
    """What is wrong with inputs (first) and targets (second), in words, or ""."""
    for name, value in zip(("inputs", "targets"), batch, strict=False):
        array = np.asarray(value) if hasattr(value, "dtype") else None
        if array is None or array.dtype.kind not in "fiu" or array.ndim == 0:
            continue
        if bad := int(np.sum(~np.isfinite(array.astype(np.float64)))):
            return f"{bad:,} of the {name} are NaN or infinite"
        if len(array) >= 8 and np.all(array == array[:1]):
            return f"all {len(array)} examples of the batch have the same {name}"
        if name == "inputs" and array.dtype.kind == "f":
            columns = array.reshape(-1, array.shape[-1]).astype(np.float64)
            size = float(np.sqrt(np.mean(columns**2, axis=0)).max())
            if size > LARGE:
                return f"an input feature has a root mean square of {size:.3g}"
    return ""
