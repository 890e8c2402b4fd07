"""Per-layer statistics of activations and gradients, out of the training gradient's own pass.

The technique: `tap(h, sink)` returns `h` unchanged. Its reverse rule hands the cotangent of `h`
through unchanged too, and gives the *statistics* of that cotangent as the cotangent of `sink`. So
`jax.grad` with respect to the sinks is the per-layer profile. Nothing is stored, nothing runs
twice, and whatever JAX does to a gradient (`jit`, `vmap`, `scan`, sharding) it does to the profile.

Two lines for any Flax NNX module:

    profile = vg.profile(model, loss, x, y)     # loss(model, x, y) -> scalar
    print(profile)

Inside a training step of your own, `tapped = instrument(model)` once, differentiate `tapped` with
respect to `nnx.Param` as usual, then `read(tapped, gradients)`.
"""

from __future__ import annotations

import dataclasses
import itertools
import re
import types
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from functools import cache, wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vgutils.models import together

# --- norms that do not underflow ------------------------------------------------------------------


def sums_of_squares(x: jax.Array, dtype: Any = None, *, keep: int = 0) -> jax.Array:
    """Three sums of squares of `x`, at three scales.

    A float32 square underflows below 1e-19 and overflows above 1e19, while float32 itself reaches
    from 1e-38 to 3e38. So the squares of s x, x and x / s are summed, with s = 2^64: together they
    cover the whole range. They can be added up, over calls or devices, as one sum could.

    Args:
        x: Any shape, floating.
        dtype: The dtype of the sums, by default that of `x` but float32 at least.
        keep: How many leading axes are not summed over.

    Returns:
        (x.shape[:keep], 3). The outer two are 0 where `root` has no use for them.
    """
    x = x.astype(dtype or jnp.promote_types(x.dtype, jnp.float32))
    s, plain = _scale(x.dtype), _total(x, keep)
    # Nearly always the plain sum is far from both ends, and two thirds of the work can be left.
    return jax.lax.cond(
        jnp.all(_ordinary(plain)),
        lambda: jnp.stack([0 * plain, plain, 0 * plain], axis=-1),
        lambda: jnp.stack([_total(x, keep, s), plain, _total(x, keep, 1 / s)], axis=-1),
    )


def _total(x: jax.Array, keep: int, factor: float | None = None) -> jax.Array:
    """The sum of squares of `factor` times x over all but the `keep` leading axes."""
    if factor is not None:
        # The barrier keeps XLA from computing (x s)^2 as x^2 s^2, which is 0 times infinity.
        x = jax.lax.optimization_barrier(x * factor)
    return jnp.sum(jnp.square(x), axis=tuple(range(keep, x.ndim)))


def _ordinary(total: jax.Array) -> jax.Array:
    """Whether a plain sum of squares is far from where it underflows and overflows."""
    s = _scale(total.dtype)
    return (total > 1 / s) & (total < s**0.5)


def root(sums: jax.Array) -> jax.Array:
    """The norm that (..., 3) `sums_of_squares`, or a sum of such, stand for: (...).

    NaN stays NaN and infinity stays infinite.
    """
    s = _scale(sums.dtype)
    small, plain, large = jnp.moveaxis(sums, -1, 0)
    # Between the limits, what underflowed in the plain sum is below its rounding error.
    result = jnp.where(plain <= 1 / s, jnp.sqrt(small) / s, jnp.sqrt(plain))
    return jnp.where(plain >= s**1.5, jnp.sqrt(large) * s, result)


def norm(x: jax.Array) -> jax.Array:
    """The L2 norm of all elements of `x`: scalar, right from the smallest normal number up.

    `jnp.linalg.norm` and `optax.global_norm` read 0 when every |x| is below about 1e-19 (float32).
    """
    return root(sums_of_squares(x))


def _scale(dtype: Any) -> float:
    return 2.0 ** (jnp.finfo(dtype).maxexp // 2)


# --- the tap --------------------------------------------------------------------------------------

SUMS = 3  # A sink holds three sums of squares of the cotangent, then statistics.
Measure = Callable[[Any, jax.Array], jax.Array]


def moments(inputs: Any, output: jax.Array) -> jax.Array:
    """What a profile says of a module's output: 1 for the call, its mean and its variance: (3,)."""
    mean = jnp.mean(output)
    return jnp.stack(
        [jnp.ones((), output.dtype), mean, jnp.mean(jnp.square(output - mean))]
    )


@jax.custom_vjp
def tap(h: jax.Array, sink: jax.Array, statistics: jax.Array) -> jax.Array:
    """`h` unchanged; the gradient with respect to `sink` is what passed through here.

    Args:
        h: Activations, any shape, floating.
        sink: (3 + k,) zeros; its value is never used.
        statistics: (k,), what the forward pass has to say, of the sink's dtype. It rides on the
            reverse pass.

    Returns:
        `h`. In the reverse pass the cotangent of `sink` is the three `sums_of_squares` of the
        cotangent of `h`, then `statistics`. When several taps share a sink these add up.
    """
    return h


def _tap_forward(
    h: jax.Array, sink: jax.Array, statistics: jax.Array
) -> tuple[jax.Array, jax.Array]:
    return h, statistics


def _tap_reverse(
    statistics: jax.Array, cotangent: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    sums = sums_of_squares(cotangent, statistics.dtype)
    # No sum of squares is negative. Yet saying so makes what follows wait for the sums, and XLA
    # then needs no copy of the cotangent that a loop over the layers carries.
    cotangent = jnp.where(sums[1] < 0, 0, cotangent)
    return cotangent, jnp.concatenate([sums, statistics]), 0 * statistics


tap.defvjp(_tap_forward, _tap_reverse)


# --- the profile ----------------------------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Profile:
    """Per-layer statistics. The last axis of every array is the layer, in the order of execution.

    Axes before it are whatever the profile was mapped over: seed, setting, time.

    Attributes:
        names: The rows, such as "first.linear" or "hidden[3]".
        activation_mean: Mean of the layer's output over units and batch. NaN where no gradient
            came back through the layer: its statistics ride on the reverse pass.
        activation_std: Standard deviation of the same.
        gradient_norm: ||dL/dh||, the L2 norm of the loss's gradient with respect to the layer's
            output: the hidden-state gradient, or cotangent. NaN or infinite if any element is.
        weight_norm: L2 norm of the layer's own parameters; NaN where it has none.
        weight_gradient_norm: L2 norm of the loss's gradient with respect to them.
    """

    names: tuple[str, ...] = dataclasses.field(metadata={"static": True})
    activation_mean: jax.Array
    activation_std: jax.Array
    gradient_norm: jax.Array
    weight_norm: jax.Array
    weight_gradient_norm: jax.Array

    def at(self, *patterns: str) -> Profile:
        """The rows whose names match any of the patterns, such as `"hidden*"`.

        In a pattern `*` stands for any text; brackets are plain characters.

        Raises:
            ValueError: No row matches.
        """
        rows = [i for i, name in enumerate(self.names) if matches(name, patterns)]
        if not rows:
            raise ValueError(
                f"patterns must match a row among {', '.join(self.names)}; got {patterns}"
            )
        return jax.tree.map(
            lambda x: x[..., np.array(rows)],
            dataclasses.replace(self, names=tuple(self.names[i] for i in rows)),
        )

    def to_dict(self) -> dict[str, Any]:
        """Names and plain nested lists, ready for JSON (NaN and infinity as Python floats)."""
        arrays = [f.name for f in dataclasses.fields(self) if f.name != "names"]
        return {"names": list(self.names)} | {
            name: np.asarray(getattr(self, name), dtype=np.float64).tolist()
            for name in arrays
        }

    def __str__(self) -> str:
        """A table, one row a layer; with leading axes the median over them."""
        columns = self.to_dict()
        width = max(len(name) for name in self.names)
        titles = ["act mean", "act std", "|dL/dh|", "|W|", "|dL/dW|"]
        lines = [
            " ".join([f"{'layer':<{width}}", *(f"{title:>10}" for title in titles)])
        ]
        # A median over seeds must show a NaN, not step over it: np.median does.
        table = [
            np.median(np.reshape(columns[key], (-1, len(self.names))), axis=0)
            for key in list(columns)[1:]
        ]
        for i, name in enumerate(self.names):
            lines.append(
                " ".join([f"{name:<{width}}", *(f"{c[i]:>10.3g}" for c in table)])
            )
        return "\n".join(lines)


# --- any NNX module -------------------------------------------------------------------------------


class Sink(nnx.Param):
    """Where a tapped module's statistics arrive as a gradient. Zeros, and they stay zeros.

    A kind of parameter, so that the module's own `nnx.scan` and `nnx.vmap` split it as they split
    its weights. Keep it from the optimizer: `nnx.state(model, probe.WEIGHTS)` leaves it out.
    """


WEIGHTS = nnx.All(nnx.Param, nnx.Not(Sink))
"""The filter for the parameters that are weights."""

LEARNT = nnx.Not(Sink)
"""The filter for all that the module itself holds: weights, batch statistics, random streams."""


def profile(
    model: nnx.Module,
    loss: Callable[..., Any],
    *batch: Any,
    at: str | Sequence[str] | None = None,
) -> Profile:
    """Measure every layer of any NNX module: activations, hidden and weight gradients.

    Can be called under `jit`, `vmap` and `scan`. The model is not changed.

    Args:
        model: Any Flax NNX module.
        loss: `loss(model, *batch)` gives a scalar, or a tuple that begins with one.
        *batch: What the loss takes.
        at: Which submodules: names or patterns such as "hidden*" or "*.linear"; all by default.

    Returns:
        One row for every matching submodule that the loss calls, in the order of execution.
        Modules stacked by `nnx.vmap` give a row a layer.

    Raises:
        TypeError: `model` is not an NNX module, `loss` not callable or not a float scalar.
        ValueError: No submodule matches `at`.
    """
    tapped = instrument(model, loss, *batch, at=at)
    graphdef, weights, sinks, rest = nnx.split(tapped, WEIGHTS, Sink, ...)

    def objective(weights: Any, sinks: Any) -> jax.Array:
        return scalar_of(
            loss(nnx.merge(graphdef, weights, sinks, renewed(rest)), *batch)
        )

    weight_gradients, sink_gradients = jax.grad(objective, argnums=(0, 1))(
        weights, sinks
    )
    return read(tapped, nnx.merge_state(weight_gradients, sink_gradients))


def profile_seeds(
    models: Sequence[nnx.Module],
    loss: Callable[..., Any],
    *batch: Any,
    at: str | Sequence[str] | None = None,
) -> Profile:
    """The `profile` of several models that differ only in their weights, as one program.

    Args, raises: as for `profile`, and ValueError where the models differ in structure.

    Returns:
        One `Profile` whose arrays have the model as a leading axis.
    """
    graphdef, states = together(models)

    @jax.jit
    @jax.vmap
    def measure(state: Any) -> Profile:
        return profile(nnx.merge(graphdef, state), loss, *batch, at=at)

    return measure(states)


def instrument(
    model: nnx.Module,
    loss: Callable[..., Any],
    *batch: Any,
    at: str | Sequence[str] | None = None,
    measure: Measure = moments,
) -> Any:
    """A copy of the model, equal in all it computes, with a tap on each submodule's output.

    Args, raises: as for `profile`. The loss is traced once, abstractly, to see which submodules it
    calls, in which order, and which of them are stacked. `measure(inputs, output)` gives the
    statistics of one call as (k,) numbers, the first three of which are those of `moments`;
    `inputs` is the first array that the module was given, or None.

    Returns:
        A module of the same structure whose gradients hold the `Sink`s that `read` reads. What
        it learns goes back into the model by `nnx.update(model, nnx.state(tapped, LEARNT))`.
    """
    if not isinstance(model, nnx.Module):
        raise TypeError(f"model must be a flax.nnx.Module, got {type(model).__name__}")
    if not callable(loss):
        raise TypeError(f"loss must be callable as loss(model, *batch), got {loss!r}")
    patterns = ("*",) if at is None else (at,) if isinstance(at, str) else tuple(at)
    copy = nnx.clone(model)
    modules = _modules(copy)
    calls = _trace_calls(copy, modules, loss, batch)
    places = _places(modules, calls)
    chosen = [path for path in calls if matches(_name(path), patterns)]
    if not chosen:
        called = ", ".join(_name(path) for path in calls) or "none"
        raise ValueError(
            f"at must match a submodule that the loss calls ({called}); got {at!r}"
        )
    dtypes = [leaf.dtype for leaf in jax.tree.leaves(nnx.state(copy, WEIGHTS))]
    dtype = jnp.result_type(jnp.float32, *dtypes)
    size = SUMS + jax.eval_shape(measure, None, jnp.zeros((2, 2), dtype)).size
    for path, module in modules.items():
        module.tap_place = places[path]
        if path in chosen:
            module.tap_sink = Sink(jnp.zeros((*places[path].stack, size), dtype))
            module.tap_measure = measure
    return copy


def read(tapped: nnx.Module, gradients: Any) -> Profile:
    """The profile that a gradient of an instrumented module holds.

    Args:
        tapped: The module from `instrument`.
        gradients: The state from `nnx.grad` or `jax.grad` with respect to its `nnx.Param`s.

    Raises:
        ValueError: `tapped` is not instrumented.
    """
    return read_all(tapped, gradients)[0]


def read_all(tapped: nnx.Module, gradients: Any) -> tuple[Profile, jax.Array]:
    """The profile, and (layers, k - 3) what `measure` says beyond the three `moments`.

    Args, raises: as for `read`.
    """
    modules = {p: m for p, m in _modules(tapped).items() if hasattr(m, "tap_place")}
    if not modules:
        raise ValueError("tapped must come from instrument(); this module has no taps")
    # Every weight counts for the nearest module above it.
    weights: dict[Path, list[jax.Array]] = {path: [] for path in modules}
    slopes: dict[Path, list[jax.Array]] = {path: [] for path in modules}
    slope_of = dict(nnx.to_flat_state(gradients))
    for path, weight in nnx.to_flat_state(nnx.state(tapped, WEIGHTS)):
        owner = next(
            path[:n] for n in range(len(path) - 1, -1, -1) if path[:n] in modules
        )
        weights[owner].append(weight[...])
        slopes[owner].append(slope_of[path][...])
    measured = [p for p, m in modules.items() if hasattr(m, "tap_sink") or weights[p]]
    places = [modules[path].tap_place for path in measured]
    ranks = [len(place.stack) for place in places]
    weight_norms, slope_norms = (
        _norms([arrays[path] for path in measured], ranks)
        for arrays in (weights, slopes)
    )
    size = next(
        m.tap_sink.shape[-1] for m in modules.values() if hasattr(m, "tap_sink")
    )
    rows: list[tuple[Any, str]] = []
    columns: list[list[jax.Array]] = []
    for path, place, *norms in zip(
        measured, places, weight_norms, slope_norms, strict=True
    ):
        sink = jnp.full(size, jnp.nan)
        if hasattr(modules[path], "tap_sink"):
            sink = slope_of[(*path, "tap_sink")][...]
        mean, std, gradient, *others = _read_sink(sink)
        columns.append(
            [
                jnp.broadcast_to(value, place.stack).ravel()
                for value in (mean, std, gradient, *norms, *others)
            ]
        )
        rows += [
            ((place.group, index, place.rank), place.row(index))
            for index in np.ndindex(*place.stack)
        ]
    order = np.array(sorted(range(len(rows)), key=lambda i: rows[i][0]))
    table = [jnp.concatenate(column)[order] for column in zip(*columns, strict=True)]
    names = tuple(rows[i][1] for i in order)
    more = jnp.stack(table[5:], axis=-1) if table[5:] else jnp.zeros((len(names), 0))
    return Profile(names, *table[:5]), more


Path = tuple[Any, ...]


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a module stands in the profile: static, so that it travels with the graph.

    Attributes:
        name: The module's path, such as "hidden.linear".
        stack: The leading axes that a stacked module's parameters have over those of one copy.
        root: How much of `name` names the outermost module of its stack ("hidden").
        group: The order of execution of that root, and
        rank: of the module itself.
    """

    name: str
    stack: tuple[int, ...]
    root: str
    group: int
    rank: int

    def row(self, index: tuple[int, ...]) -> str:
        """The name of one copy: "hidden[3].linear"."""
        brackets = "".join(f"[{i}]" for i in index)
        return f"{self.root}{brackets}{self.name.removeprefix(self.root)}" or "model"


def matches(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name fits one of the patterns, in which only `*` is special."""
    # Not fnmatch: to it the brackets in "hidden[3]" are a set of characters.
    return any(
        re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), name)
        for pattern in patterns
    )


def _name(path: Path) -> str:
    return ".".join(str(part) for part in path) or "model"


def _modules(model: nnx.Module) -> dict[Path, Any]:
    return {path: m for path, m in nnx.iter_graph(model) if isinstance(m, nnx.Module)}


_calls: ContextVar[dict[Path, tuple[int, ...] | None] | None] = ContextVar(
    "calls", default=None
)
_tokens = itertools.count()


def _trace_calls(
    copy: Any,
    modules: dict[Path, Any],
    loss: Callable[..., Any],
    batch: tuple[Any, ...],
) -> dict[Path, tuple[int, ...] | None]:
    """Which modules the loss calls, in order, each with the shape its first weight has inside."""
    # A token that no trace has seen: a cached trace of a jitted loss would call nothing.
    token = next(_tokens)
    for path, module in modules.items():
        if callable(module):
            object.__setattr__(module, "__class__", _tapped_class(module.__class__))
        _remove_tap(module)
        module.tap_trace = (path, token)
    graphdef, state = nnx.split(copy)
    reset = _calls.set({})
    try:
        result = jax.eval_shape(
            lambda state: scalar_of(loss(nnx.merge(graphdef, state), *batch)), state
        )
        calls = _calls.get()
    finally:
        _calls.reset(reset)
        for module in modules.values():
            del module.tap_trace
    if getattr(result, "shape", None) != () or not jnp.issubdtype(
        result.dtype, jnp.floating
    ):
        raise TypeError(
            f"loss must return a floating scalar, alone or first, got {result}"
        )
    return calls or {}


def renewed(state: Any) -> Any:
    """The same state in new variables, which a loss may update (batch statistics) in its trace."""
    return jax.tree.map(lambda leaf: leaf, state)


def scalar_of(result: Any) -> Any:
    """What a loss gives, without what it may give beside."""
    return result[0] if isinstance(result, tuple) else result


def _remove_tap(module: Any) -> None:
    for name in ("tap_sink", "tap_place", "tap_measure"):
        if hasattr(module, name):
            delattr(module, name)


@cache
def _tapped_class(cls: type) -> type:
    """A subclass of a module class whose calls pass through the instance's tap, if it has one."""
    if hasattr(cls, "tapped_from"):
        return cls

    # Callers such as nnx.Sequential ask for the signature.
    @wraps(cls.__call__)
    def __call__(self: Any, *args: Any, **kwargs: Any) -> Any:
        output = cls.__call__(self, *args, **kwargs)
        calls = _calls.get()
        if calls is not None and hasattr(self, "tap_trace"):
            calls.setdefault(self.tap_trace[0], _first_shape(self))
        if not hasattr(self, "tap_sink"):
            return output
        sink = self.tap_sink[...]
        arrays = [leaf for leaf in jax.tree.leaves((args, kwargs)) if _floating(leaf)]
        first = arrays[0].astype(sink.dtype) if arrays else None

        def tapped(leaf: Any) -> Any:
            if not _floating(leaf):
                return leaf
            wide = leaf.astype(sink.dtype)
            statistics = jax.lax.stop_gradient(self.tap_measure(first, wide))
            return tap(leaf, sink, statistics)

        return jax.tree.map(tapped, output)

    body = {"__call__": __call__, "__doc__": cls.__doc__, "tapped_from": cls}
    body |= {name: getattr(cls, name) for name in ("__module__", "__qualname__")}
    return types.new_class(
        cls.__name__, (cls,), exec_body=lambda namespace: namespace.update(body)
    )


def _floating(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jnp.floating)


def _first_shape(module: nnx.Module) -> tuple[int, ...] | None:
    leaves = jax.tree.leaves(nnx.state(module, WEIGHTS))
    return tuple(leaves[0].shape) if leaves else None


def _places(
    modules: dict[Path, Any], calls: dict[Path, tuple[int, ...] | None]
) -> dict[Path, Place]:
    """Where every module stands, from what the trace saw."""
    order = {path: rank for rank, path in enumerate(calls)}
    stacks: dict[Path, tuple[int, ...]] = {}
    for path in sorted(modules, key=len):
        inside, outside = calls.get(path), _first_shape(modules[path])
        if inside is None or outside is None:
            # No weights to tell by: what holds for the nearest module above holds here.
            above = (path[:n] for n in range(len(path) - 1, -1, -1))
            stacks[path] = next((stacks[p] for p in above if p in stacks), ())
            continue
        extra = len(outside) - len(inside)
        if outside[extra:] != inside:
            raise ValueError(
                f"model must be stacked along leading axes only; {_name(path)} has weights of "
                f"shape {outside}, and {inside} where it is called"
            )
        stacks[path] = outside[:extra]
    places = {}
    for path in modules:
        root = _root(path, stacks, calls)
        under = [order[p] for p in order if p[: len(root)] == root]
        places[path] = Place(
            name=".".join(map(str, path)),
            stack=stacks[path],
            root=".".join(map(str, root)),
            group=max(under, default=len(order)),
            rank=order.get(path, len(order)),
        )
    return places


def _root(
    path: Path, stacks: dict[Path, tuple[int, ...]], calls: Iterable[Path]
) -> Path:
    """The outermost module above (or at) `path` under which all that is called has one stack."""
    if stacks[path]:
        for n in range(len(path)):
            under = [stacks[p] for p in calls if p[:n] == path[:n]]
            if all(stack == stacks[path] for stack in under):
                return path[:n]
    return path


def _read_sink(sink: jax.Array) -> tuple[jax.Array, ...]:
    """Activation mean and standard deviation, cotangent norm, then what else was measured.

    Each of shape sink.shape[:-1]; measures are means over the calls.
    """
    calls, mean, variance, *more = jnp.moveaxis(sink[..., SUMS:], -1, 0)
    moments = mean / calls, jnp.sqrt(variance / calls)
    return (*moments, root(sink[..., :SUMS]), *(value / calls for value in more))


def _norms(groups: list[list[jax.Array]], keep: list[int]) -> list[jax.Array]:
    """One norm for each group of arrays, over all but their `keep` leading axes; NaN for none."""
    dtype = jnp.result_type(jnp.float32, *(x.dtype for group in groups for x in group))
    s = _scale(dtype)

    def totals(factor: float | None) -> list[jax.Array]:
        return [
            jnp.asarray(sum(_total(x.astype(dtype), k, factor) for x in group))
            for group, k in zip(groups, keep, strict=True)
            if group
        ]

    plain = totals(None)
    # One branch for the whole model: most programs of many small steps cost more than their sums.
    norms = iter(
        jax.lax.cond(
            jnp.all(jnp.stack([jnp.all(_ordinary(total)) for total in plain])),
            lambda: [jnp.sqrt(total) for total in plain],
            lambda: [
                root(jnp.stack(scales, axis=-1))
                for scales in zip(totals(s), plain, totals(1 / s), strict=True)
            ],
        )
        if plain
        else []
    )
    return [next(norms) if group else jnp.asarray(jnp.nan, dtype) for group in groups]
