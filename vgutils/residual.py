"""Residual networks: blocks that add to what they are given, h + s F(h), as one scan over depth."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from vgutils import activations, errors, initializers
from vgutils.activations import Activation
from vgutils.initializers import Initializer
from vgutils.models import NORMS, scan_layers, stack


class Branch(nnx.Module):
    """One pre-activation layer: normalize if asked for, then phi, then the linear map.

    The order of He et al. (2016), *Identity mappings*: nothing stands on the skip but the sum.
    Submodules: `norm` (where there is one), `linear`.
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
        """`norm` is a name in `vgutils.models.NORMS`; `linear` goes to `nnx.Linear`."""
        if norm is not None:
            self.norm = NORMS[errors.one_of("norm", norm, NORMS)](fan_in, rngs=rngs)
        self.activation = activation
        self.linear = nnx.Linear(fan_in, fan_out, rngs=rngs, **linear)

    def __call__(self, h: jax.Array) -> jax.Array:
        """(..., fan_in) -> (..., fan_out)."""
        return self.linear(
            self.activation(self.norm(h) if hasattr(self, "norm") else h)
        )


class Residual(nnx.Module):
    """h + scale * branch(h), for a branch that keeps the shape of h."""

    def __init__(
        self, branch: nnx.Module, scale: float = 1.0, *, learn_scale: bool = False
    ) -> None:
        """Wrap a branch.

        Args:
            branch: A module that maps h to something of its shape.
            scale: What the branch is multiplied by; 0 makes the block the identity.
            learn_scale: Make the scale a parameter, which starts at `scale`: with 0, SkipInit (De
                and Smith, 2020) and ReZero (Bachlechner et al., 2021).

        Raises:
            TypeError: `branch` is not a module, `scale` not a number.
            ValueError: `scale` is not finite.
        """
        if not callable(branch) or not isinstance(branch, nnx.Module):
            raise TypeError(
                f"branch must be a callable flax.nnx.Module, got {type(branch).__name__}"
            )
        self.branch = branch
        scale = errors.number("scale", scale)
        self.scale = nnx.Param(jnp.float32(scale)) if learn_scale else scale

    def __call__(self, h: jax.Array) -> jax.Array:
        """Any shape, unchanged."""
        scale = self.scale[...] if isinstance(self.scale, nnx.Variable) else self.scale
        return h + jnp.asarray(scale, h.dtype) * self.branch(h)


class ResidualMLP(nnx.Module):
    """A multilayer perceptron of equal blocks, each with or without its skip.

    `first` changes the width from `in_features`; then come `blocks` times h + s F(h), where F is a
    `Branch`; then `head`, a `Branch` too, gives the outputs. Submodules: `first`, `blocks` (one
    `stack`, run as a scan), `head`. Its depth is blocks + 2 linear maps.
    """

    def __init__(
        self,
        in_features: int,
        width: int,
        blocks: int,
        out_features: int,
        activation: str | Activation = "relu",
        *,
        skip: bool = True,
        norm: str | None = None,
        branch_scale: float = 1.0,
        learn_scale: bool = False,
        kernel_init: str | Initializer = "he_normal",
        bias_init: str | Initializer = "zeros",
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """Initialize the network.

        Args:
            in_features: Features of the input.
            width: Units of each block.
            blocks: How many, at least 1.
            out_features: Outputs.
            activation: A name in `vgutils.activations.ACTIVATIONS` or an elementwise function.
            skip: False leaves the identity out: a plain network of as many layers and weights.
            norm: "batch", "layer" or "rms" normalizes what enters each activation.
            branch_scale: s, 1 by default. 1/sqrt(blocks) keeps the variance at any depth.
            learn_scale: Make s a parameter of each block.
            kernel_init: A name in `vgutils.initializers.INITIALIZERS` or an initializer; for all
                linear maps.
            bias_init: The same, for the biases.
            dtype: The dtype of the computation; by default that of parameters and input.
            param_dtype: The dtype of the parameters.
            rngs: Where the weights come from.

        Raises:
            ValueError: A size below 1, an unknown name, a scale that is not finite, a scale without
                a skip.
            TypeError: A size that is not an integer, `rngs` that is not `nnx.Rngs`.
        """
        for name, value in [
            ("in_features", in_features),
            ("width", width),
            ("blocks", blocks),
            ("out_features", out_features),
        ]:
            errors.integer(name, value, minimum=1)
        check_blocks(skip, norm, branch_scale, learn_scale, rngs)
        phi = activations.get(activation)
        linear = {
            "kernel_init": initializers.get(kernel_init),
            "bias_init": initializers.get(bias_init),
            "dtype": dtype,
            "param_dtype": param_dtype,
        }

        def block(rngs: nnx.Rngs) -> nnx.Module:
            branch = Branch(width, width, phi, norm=norm, rngs=rngs, **linear)
            if not skip:
                return branch
            return Residual(branch, branch_scale, learn_scale=learn_scale)

        self.in_features, self.depth = in_features, blocks + 2
        self.first = nnx.Linear(in_features, width, rngs=rngs, **linear)
        self.blocks = stack(block, blocks, rngs)
        self.head = Branch(width, out_features, phi, norm=norm, rngs=rngs, **linear)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(..., in_features) -> (..., out_features).

        Raises:
            ValueError: The last axis of `x` is not `in_features` long.
        """
        if jnp.ndim(x) == 0 or x.shape[-1] != self.in_features:
            raise ValueError(
                f"x must have a last axis of {self.in_features} features, got shape {jnp.shape(x)}"
            )
        return self.head(scan_layers(self.blocks, self.first(x)))


def check_blocks(
    skip: Any, norm: Any, branch_scale: Any, learn_scale: Any, rngs: Any
) -> None:
    """Look at the arguments that networks of blocks share.

    Raises:
        TypeError, ValueError: As `ResidualMLP` says.
    """
    for name, value in [("skip", skip), ("learn_scale", learn_scale)]:
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be True or False, got {value!r}")
    if norm is not None:
        errors.one_of("norm", norm, NORMS)
    errors.number("branch_scale", branch_scale)
    if not skip and (branch_scale != 1 or learn_scale):
        raise ValueError(
            "branch_scale and learn_scale go with skip=True only: a plain layer has no branch"
        )
    if not isinstance(rngs, nnx.Rngs):
        raise TypeError(f"rngs must be flax.nnx.Rngs, got {rngs!r}")
