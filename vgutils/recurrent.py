"""Recurrent networks whose time is data, and their gradient through it.

Time counts states: state 0 is the zero state before the first input, state t the one after input t
(that is `x[:, t - 1]`), state `length` the last. Everything here that has a time axis of length + 1
follows that count.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from vgutils import activations, errors, initializers
from vgutils.activations import Activation
from vgutils.initializers import Initializer
from vgutils.models import together
from vgutils.probe import root, scalar_of, sums_of_squares

CELLS: dict[str, type] = {
    "rnn": nnx.SimpleCell,
    "lstm": nnx.OptimizedLSTMCell,
    "gru": nnx.GRUCell,
}
"""Flax's cells by name. The state is h; of an LSTM it is the pair (c, h)."""

State = Any  # An array (..., hidden), or for an LSTM a pair of them: (c, h).


def identity(
    key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32
) -> jax.Array:
    """The initializer of the IRNN (Le et al., 2015): the identity matrix, whatever the key."""
    rows, columns = shape
    return jnp.eye(rows, columns, dtype=dtype)


class Recurrent(nnx.Module):
    """A recurrent cell, unrolled by one scan from the zero state, and a linear readout.

    Compile time does not grow with the length. Submodules: `cell` (Flax's own) and `readout`.
    """

    def __init__(
        self,
        in_features: int,
        hidden: int,
        out_features: int,
        cell: str = "rnn",
        activation: str | Activation = "tanh",
        *,
        kernel_init: str | Initializer = "lecun_normal",
        recurrent_init: str | Initializer = "orthogonal",
        forget_bias: float = 0.0,
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """Initialize the network. Where nothing is said, weights are as Flax's cells make them.

        Args:
            in_features: Features of the input at one step.
            hidden: Units of the state h.
            out_features: Outputs of the readout.
            cell: "rnn" for h' = phi(x W_i + b + h W_h), "lstm" or "gru".
            activation: phi, a name in `vgutils.activations.ACTIVATIONS` or an elementwise function;
                for the "rnn" only.
            kernel_init: For the weights from the input: a name in
                `vgutils.initializers.INITIALIZERS` or an initializer.
            recurrent_init: For the weights from state to state: the same, or "identity" (of a
                square matrix, so for the "rnn" only). A gated cell initializes all its gates as one
                (hidden, gates * hidden) matrix.
            forget_bias: What the bias of an LSTM's forget gate starts at: 0 in Flax, 1 in Keras.
            dtype: The dtype of the computation; by default that of parameters and input.
            param_dtype: The dtype of the parameters.
            rngs: Where the weights come from.

        Raises:
            ValueError: A size below 1, an unknown name, an option that the cell does not have.
            TypeError: A size that is not an integer, `rngs` that is not `nnx.Rngs`.
        """
        for name, value in [
            ("in_features", in_features),
            ("hidden", hidden),
            ("out_features", out_features),
        ]:
            errors.integer(name, value, minimum=1)
        errors.one_of("cell", cell, CELLS)
        if not isinstance(rngs, nnx.Rngs):
            raise TypeError(f"rngs must be flax.nnx.Rngs, got {rngs!r}")
        phi = activations.get(activation)
        forget_bias = errors.number("forget_bias", forget_bias)
        options: dict[str, Any] = {}
        if cell == "rnn":
            options["activation_fn"] = phi
        elif activation != "tanh" or recurrent_init == "identity":
            raise ValueError(
                "activation and the identity are options of the cell 'rnn'; got "
                f"{activation=}, {recurrent_init=} with cell {cell!r}"
            )
        if cell == "lstm":
            options["bias_init"] = _forget_bias(forget_bias)
        elif forget_bias:
            raise ValueError(
                f"forget_bias is for the cell 'lstm', got {forget_bias} with cell {cell!r}"
            )
        self.in_features, self.hidden, self.kind = in_features, hidden, cell
        self.dtype = dtype
        dtypes = {"dtype": dtype, "param_dtype": param_dtype}
        self.cell = CELLS[cell](
            in_features,
            hidden,
            kernel_init=initializers.get(kernel_init),
            recurrent_kernel_init=identity
            if recurrent_init == "identity"
            else initializers.get(recurrent_init),
            rngs=rngs,
            **dtypes,
            **options,
        )
        self.readout = nnx.Linear(hidden, out_features, rngs=rngs, **dtypes)

    def __call__(
        self, x: Any, mask: Any = None, *, nudges: State | None = None
    ) -> jax.Array:
        """The readout of the last valid state.

        Args:
            x: (batch, length, in_features), floating. What stands at masked steps does not matter.
            mask: (batch, length) bool, False at padding, on whichever side. There the state is
                copied, so that neither a value nor a gradient passes through the padded input.
            nudges: Added to the states, for a probe; see `no_nudges`.

        Returns:
            (batch, out_features).

        Raises:
            TypeError: `x` is not floating, `mask` not boolean.
            ValueError: A shape is not as above, `x` is ragged or has no step, or a sequence is
                masked from end to end.
        """
        last, _ = self._unroll(x, mask, nudges)
        return self.readout(_output(last))

    def outputs(
        self, x: Any, mask: Any = None, *, nudges: State | None = None
    ) -> jax.Array:
        """The readout after every input: (batch, length, out_features).

        Args, raises: as for a call. At a masked step it is that of the copied state.
        """
        _, states = self._unroll(x, mask, nudges)
        return self.readout(jnp.swapaxes(_output(states)[1:], 0, 1))

    def states(self, x: Any, mask: Any = None, *, nudges: State | None = None) -> State:
        """All states, from the zero state on: (length + 1, batch, hidden); of an LSTM (c, h).

        Args, raises: as for a call.
        """
        return self._unroll(x, mask, nudges)[1]

    def no_nudges(self, x: Any, mask: Any = None) -> State:
        """Zeros to be added to the states of `x`; the gradient with respect to them is dL/dh_t.

        Returns:
            As `states`, whose shapes they have.
        """
        return jax.tree.map(
            lambda state: jnp.zeros(state.shape, state.dtype),
            jax.eval_shape(lambda: self.states(x, mask)),
        )

    def _unroll(self, x: Any, mask: Any, nudges: State | None) -> tuple[State, State]:
        """The last state, and all of them."""
        x, mask = self._check(x, mask)
        if mask is not None:
            # Not only the state: 0 times a NaN in the padding would be a NaN in the gradient.
            x = jnp.where(mask[:, :, None], x, 0)
            mask = mask.T[:, :, None]
        zeros = jnp.zeros((len(x), self.hidden), self._state_dtype(x))
        first = (zeros, zeros) if self.kind == "lstm" else zeros
        if nudges is not None:
            first = jax.tree.map(lambda state, nudge: state + nudge[0], first, nudges)
            nudges = jax.tree.map(lambda nudge: nudge[1:], nudges)

        def step(state: State, inputs: Any) -> tuple[State, State]:
            x, valid, nudge = inputs
            new, _ = self.cell(state, x)
            if valid is not None:
                new = jax.tree.map(partial(jnp.where, valid), new, state)
            if nudge is not None:
                new = jax.tree.map(jnp.add, new, nudge)
            return new, new

        last, later = jax.lax.scan(step, first, (jnp.swapaxes(x, 0, 1), mask, nudges))
        return last, jax.tree.map(
            lambda one, rest: jnp.concatenate([one[None], rest]), first, later
        )

    def _state_dtype(self, x: jax.Array) -> Any:
        return self.dtype or jnp.result_type(x, self.cell.dense_h.kernel[...])

    def _check(self, x: Any, mask: Any) -> tuple[jax.Array, jax.Array | None]:
        x = errors.array("x", _rectangular("x", x), floating=True, finite=False)
        if x.ndim != 3 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"x must have shape (batch, length, {self.in_features}), got {x.shape}"
            )
        if mask is None:
            return jnp.asarray(x), None
        mask = _rectangular("mask", mask)
        if mask.dtype != bool:
            raise TypeError(f"mask must be a boolean array, got dtype {mask.dtype}")
        if mask.shape != x.shape[:2]:
            raise ValueError(
                f"mask must have shape (batch, length) = {x.shape[:2]}, got {mask.shape}"
            )
        if not isinstance(mask, jax.core.Tracer) and not np.asarray(mask).any(1).all():
            raise ValueError("mask must leave every sequence at least one step")
        return jnp.asarray(x), jnp.asarray(mask)


# --- the gradient through time --------------------------------------------------------------------


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class TimeProfile:
    """The gradient of a loss with respect to each state. The last axis is time, 0 to length.

    Attributes:
        hidden_norm: (..., length + 1), ||dL/dh_t||, the L2 norm over batch and units.
        cell_norm: The same for an LSTM's c_t; None for cells without one. Both are derivatives of
            what comes after step t: of the two, each is taken while the other is held.
    """

    hidden_norm: jax.Array
    cell_norm: jax.Array | None = None

    @property
    def state_norm(self) -> jax.Array:
        """(..., length + 1), the norm for the full state: (c, h) of an LSTM, else h."""
        if self.cell_norm is None:
            return self.hidden_norm
        return jnp.hypot(self.hidden_norm, self.cell_norm)


def through_time(
    model: Recurrent, loss: Callable[..., Any], x: Any, y: Any, mask: Any = None
) -> TimeProfile:
    """How much the loss feels each state: ||dL/dh_t|| for every t, from one reverse pass.

    Zero nudges are added to the states inside the scan; the gradient with respect to them is
    dL/dh_t itself, right down to the smallest float32. At a masked step the state is a copy, and
    so is its gradient.

    Args:
        model: A `Recurrent`.
        loss: `loss(model, x, y)` gives a scalar, or a tuple that begins with one; with a mask it is
            called as `loss(model, x, y, mask)`. It may call the model and its `outputs`.
        x: (batch, length, in_features).
        y: The targets, whatever the loss takes.
        mask: (batch, length) bool, or None.

    Raises:
        TypeError: `model` is not a `Recurrent`, `loss` not callable or not a float scalar.
        ValueError: As for a call of the model.
    """
    _check_model(model)
    if not callable(loss):
        raise TypeError(f"loss must be callable as loss(model, x, y), got {loss!r}")
    x, mask = model._check(x, mask)
    return _through_time(*nnx.split(model), loss, x, y, mask)


def through_time_seeds(
    models: Sequence[Recurrent],
    loss: Callable[..., Any],
    x: Any,
    y: Any,
    mask: Any = None,
) -> TimeProfile:
    """`through_time` of several models that differ only in their weights, as one program.

    Args, raises: as for `through_time`, and ValueError where the models differ in structure.

    Returns:
        One `TimeProfile` whose arrays have the model as a leading axis.
    """
    graphdef, states = together(models)
    for model in models:
        _check_model(model)
    if not callable(loss):
        raise TypeError(f"loss must be callable as loss(model, x, y), got {loss!r}")
    x, mask = models[0]._check(x, mask)
    return _through_time_seeds(graphdef, states, loss, x, y, mask)


@partial(jax.jit, static_argnums=(0, 2))
def _through_time_seeds(
    graphdef: Any, states: Any, loss: Callable[..., Any], x: Any, y: Any, mask: Any
) -> TimeProfile:
    return jax.vmap(lambda state: _through_time(graphdef, state, loss, x, y, mask))(
        states
    )


@partial(jax.jit, static_argnums=(0, 2))
def _through_time(
    graphdef: Any, state: Any, loss: Callable[..., Any], x: Any, y: Any, mask: Any
) -> TimeProfile:
    model = nnx.merge(graphdef, state)

    def objective(nudges: State) -> jax.Array:
        batch = (x, y) if mask is None else (x, y, mask)
        value = scalar_of(loss(_Nudged(model, nudges), *batch))
        if jnp.shape(value) != () or not jnp.issubdtype(
            jnp.result_type(value), jnp.floating
        ):
            raise TypeError(
                f"loss must return a floating scalar, alone or first, got {value}"
            )
        return value

    slopes = jax.grad(objective)(model.no_nudges(x, mask))
    norms = [root(sums_of_squares(s, keep=1)) for s in jax.tree.leaves(slopes)]
    return TimeProfile(*reversed(norms))  # Leaves come as c, h.


class _Nudged:
    """A model whose states are nudged, whichever way it is called."""

    def __init__(self, model: Recurrent, nudges: State) -> None:
        self._model, self._nudges = model, nudges

    def __call__(self, x: Any, mask: Any = None) -> jax.Array:
        return self._model(x, mask, nudges=self._nudges)

    def outputs(self, x: Any, mask: Any = None) -> jax.Array:
        return self._model.outputs(x, mask, nudges=self._nudges)

    def states(self, x: Any, mask: Any = None) -> State:
        return self._model.states(x, mask, nudges=self._nudges)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Memory:
    """What the last state still depends on. The last axis is time, 0 to length, ending with 1s.

    Attributes:
        spectral: (..., batch, length + 1), the largest singular value of ds_T/ds_t: how much of a
            change of state t can be left, in the best direction. s is the full state: (c, h) of an
            LSTM, else h.
        frobenius: The same, the Frobenius norm over the root of the state's size: what is left in
            a random direction (root mean square).
    """

    spectral: jax.Array
    frobenius: jax.Array


def memory(model: Recurrent, x: Any, mask: Any = None) -> Memory:
    """The norms of the Jacobians ds_T/ds_t of a network's last state, for every t.

    One reverse pass, mapped over the components of s_T; it holds size^2 (length + 1) numbers for
    each sequence, where size is that of the full state.

    Args:
        model: A `Recurrent`.
        x: (batch, length, in_features).
        mask: (batch, length) bool, or None.

    Raises:
        TypeError: `model` is not a `Recurrent`.
        ValueError: As for a call of the model.
    """
    _check_model(model)
    return _memory(*nnx.split(model), *model._check(x, mask))


@partial(jax.jit, static_argnums=0)
def _memory(graphdef: Any, state: Any, x: jax.Array, mask: Any) -> Memory:
    model = nnx.merge(graphdef, state)

    def last(nudges: State) -> jax.Array:
        return _full(model._unroll(x, mask, nudges)[0])

    out, pull = jax.vjp(last, model.no_nudges(x, mask))
    rows = jnp.broadcast_to(
        jnp.eye(out.shape[-1], dtype=out.dtype)[:, None], (out.shape[-1], *out.shape)
    )
    jacobian = _full(
        jax.vmap(lambda row: pull(row)[0])(rows)
    )  # (size, T + 1, batch, size)
    jacobian = jnp.transpose(jacobian, (2, 1, 0, 3))
    frobenius = root(sums_of_squares(jacobian, keep=2)) / jnp.sqrt(out.shape[-1])
    # A singular value decomposition works with squares: keep it from underflow.
    largest = jnp.max(jnp.abs(jacobian), axis=(-2, -1), keepdims=True)
    scale = jnp.where(largest > 0, largest, 1)
    spectral = jnp.linalg.svd(jacobian / scale, compute_uv=False)[..., 0]
    return Memory(spectral * scale[..., 0, 0], frobenius)


# --- helpers --------------------------------------------------------------------------------------


def _output(state: State) -> jax.Array:
    """h, of whichever cell."""
    return state[1] if isinstance(state, tuple) else state


def _full(state: State) -> jax.Array:
    """The full state as one array: (..., hidden), or (..., 2 hidden) for an LSTM."""
    return jnp.concatenate(jax.tree.leaves(state), axis=-1)


def _check_model(model: Any) -> None:
    if not isinstance(model, Recurrent):
        raise TypeError(
            f"model must be a vgutils.recurrent.Recurrent, got {type(model).__name__}"
        )


def _rectangular(name: str, value: Any) -> Any:
    """An array; lists of unequal length get a message that names the way out."""
    if isinstance(value, jax.Array):
        return value
    try:
        return np.asarray(value)
    except ValueError:
        raise ValueError(
            f"{name} must be one rectangular array; pad sequences of unequal length and pass a mask"
        ) from None


@cache
def _forget_bias(value: float) -> Initializer:
    """Zeros, but `value` for the second of the four gates i, f, g, o, as Flax orders them."""

    # Cached: models that differ only in their weights must hold one and the same initializer.
    def init(
        key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32
    ) -> jax.Array:
        hidden = shape[0] // 4
        return jnp.zeros(shape, dtype).at[hidden : 2 * hidden].set(value)

    return init
