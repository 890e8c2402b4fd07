"""Plain networks whose depth is data: a stack of equal layers is one scan over its weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from vgutils import activations, errors, initializers
from vgutils.activations import Activation
from vgutils.initializers import Initializer

NORMS: dict[str, type] = {
    "batch": nnx.BatchNorm,
    "layer": nnx.LayerNorm,
    "rms": nnx.RMSNorm,
}
"""Normalizations of pre-activations by name. Batch statistics are those of the batch at hand until
`model.eval()` takes the running ones."""


class Layer(nnx.Module):
    """One layer: the pre-activation z = h W + b, normalized if asked for, then h = phi(z).

    `linear` gives z, `norm` normalizes it, the layer itself gives h; a probe can name each.
    """

    def __init__(
        self,
        fan_in: int,
        fan_out: int,
        activation: Activation,
        *,
        norm: str | None = None,
        rngs: nnx.Rngs,
        **linear: Any,
    ) -> None:
        """`norm` is a name in `NORMS`; `linear` goes to `nnx.Linear`."""
        self.linear = nnx.Linear(fan_in, fan_out, rngs=rngs, **linear)
        if norm is not None:
            self.norm = NORMS[errors.one_of("norm", norm, NORMS)](fan_out, rngs=rngs)
        self.activation = activation

    def __call__(self, h: jax.Array) -> jax.Array:
        """(..., fan_in) -> (..., fan_out)."""
        z = self.linear(h)
        return self.activation(self.norm(z) if hasattr(self, "norm") else z)


def stack(make: Callable[[nnx.Rngs], nnx.Module], size: int, rngs: nnx.Rngs) -> Any:
    """`size` independent copies of a module as one, whose parameters have a leading axis.

    Args:
        make: Builds one module from its `nnx.Rngs`.
        size: At least 1.
        rngs: Split into `size` different streams.

    Returns:
        A module of `make`'s type; run it with `scan_layers`.
    """
    errors.integer("size", size, minimum=1)

    @nnx.split_rngs(splits=size)
    @nnx.vmap(in_axes=(0,), out_axes=0)
    def build(rngs: nnx.Rngs) -> nnx.Module:
        return make(rngs)

    return build(rngs)


def scan_layers(layers: Any, h: jax.Array, *shared: Any) -> jax.Array:
    """Apply a `stack` of layers to `h` one after the other, each as `layer(h, *shared)`.

    A scan: compile time does not grow with depth. Every layer must keep the shape of `h`. What the
    layers update on the way (batch statistics) is updated in `layers`.
    """
    # Not nnx.scan: it cannot run where an outer jax.grad or jax.vmap closes over the layers.
    graphdef, weights, rest = nnx.split(layers, nnx.Param, ...)

    def forward(h: jax.Array, states: Any) -> tuple[jax.Array, Any]:
        layer = nnx.merge(graphdef, *states)
        return layer(h, *shared), nnx.state(layer, nnx.Not(nnx.Param))

    h, rest = jax.lax.scan(forward, h, (weights, rest))
    if rest:
        nnx.update(layers, rest)
    return h


def together(models: Sequence[nnx.Module]) -> tuple[Any, Any]:
    """Several models that differ only in their weights, as one graph and one state for `vmap`.

    Args:
        models: At least one.

    Returns:
        The graph definition that they share, and their states stacked along a new first axis.

    Raises:
        TypeError: Something among them is not an NNX module.
        ValueError: There is none, or their structures differ.
    """
    if not models:
        raise ValueError("models must hold at least one model, got none")
    for model in models:
        if not isinstance(model, nnx.Module):
            raise TypeError(
                f"model must be a flax.nnx.Module, got {type(model).__name__}"
            )
    graphdefs, states = zip(*(nnx.split(model) for model in models), strict=True)
    if any(graphdef != graphdefs[0] for graphdef in graphdefs):
        raise ValueError(
            "models must have one structure; these differ in more than their weights"
        )
    return graphdefs[0], jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


class MLP(nnx.Module):
    """A plain multilayer perceptron: `depth` hidden layers of equal width, then a linear readout.

    The first hidden layer changes the width from `in_features`; the other depth - 1 are one
    `stack`, run as a scan. Submodules, in order: `first`, `hidden` (absent at depth 1), `readout`.
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        depth: int,
        out_features: int,
        activation: str | Activation = "tanh",
        *,
        norm: str | None = None,
        kernel_init: str | Initializer = "lecun_normal",
        bias_init: str | Initializer = "zeros",
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """Initialize the network.

        Args:
            in_features: Features of the input.
            width: Units of each hidden layer.
            depth: Hidden layers, at least 1.
            out_features: Outputs of the readout, which has no activation.
            activation: A name in `vgutils.activations.ACTIVATIONS` or an elementwise function.
            norm: "batch", "layer" or "rms" normalizes the hidden layers' pre-activations.
            kernel_init: A name in `vgutils.initializers.INITIALIZERS` or an initializer; for the
                hidden layers and the readout alike.
            bias_init: The same, for the biases.
            dtype: The dtype of the computation; by default that of parameters and input.
            param_dtype: The dtype of the parameters.
            rngs: Where the weights come from.

        Raises:
            ValueError: A size below 1, an unknown name.
            TypeError: A size that is not an integer, `rngs` that is not `nnx.Rngs`.
        """
        for name, value in [
            ("in_features", in_features),
            ("width", width),
            ("depth", depth),
            ("out_features", out_features),
        ]:
            errors.integer(name, value, minimum=1)
        if not isinstance(rngs, nnx.Rngs):
            raise TypeError(f"rngs must be flax.nnx.Rngs, got {rngs!r}")
        phi = activations.get(activation)
        if norm is not None:
            errors.one_of("norm", norm, NORMS)
        linear = {
            "kernel_init": initializers.get(kernel_init),
            "bias_init": initializers.get(bias_init),
            "dtype": dtype,
            "param_dtype": param_dtype,
        }
        self.in_features, self.depth = in_features, depth
        self.first = Layer(in_features, width, phi, norm=norm, rngs=rngs, **linear)
        if depth > 1:
            self.hidden = stack(
                lambda rngs: Layer(width, width, phi, norm=norm, rngs=rngs, **linear),
                depth - 1,
                rngs,
            )
        self.readout = nnx.Linear(width, out_features, rngs=rngs, **linear)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(..., in_features) -> (..., out_features).

        Raises:
            ValueError: The last axis of `x` is not `in_features` long.
        """
        if jnp.ndim(x) == 0 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"x must have a last axis of {self.in_features} features, got shape {jnp.shape(x)}"
            )
        h = self.first(x)
        if self.depth > 1:
            h = scan_layers(self.hidden, h)
        return self.readout(h)
