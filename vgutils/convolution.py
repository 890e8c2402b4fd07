"""Convolutional networks for small images, plain or residual, as one scan over depth."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from vgutils import activations, errors, initializers
from vgutils.activations import Activation
from vgutils.initializers import Initializer
from vgutils.models import NORMS, scan_layers, stack
from vgutils.residual import Residual, check_blocks


class ConvBranch(nnx.Module):
    """Twice: normalize if asked for, then phi, then a 3 x 3 convolution that keeps the shape.

    The pre-activation branch of He et al. (2016), *Identity mappings*. Submodules in order:
    `norm1`, `conv1`, `norm2`, `conv2` (the norms only where there are some).
    """

    def __init__(
        self,
        channels: int,
        activation: Activation,
        *,
        norm: str | None = None,
        rngs: nnx.Rngs,
        **conv: Any,
    ) -> None:
        """`norm` is a name in `vgutils.models.NORMS`; `conv` goes to `nnx.Conv`."""
        self.activation = activation
        if norm is not None:
            make = NORMS[errors.one_of("norm", norm, NORMS)]
            self.norm1, self.norm2 = (
                make(channels, rngs=rngs),
                make(channels, rngs=rngs),
            )
        self.conv1 = nnx.Conv(channels, channels, (3, 3), rngs=rngs, **conv)
        self.conv2 = nnx.Conv(channels, channels, (3, 3), rngs=rngs, **conv)

    def __call__(self, h: jax.Array) -> jax.Array:
        """(batch, height, width, channels), unchanged."""
        normed = hasattr(self, "norm1")
        h = self.conv1(self.activation(self.norm1(h) if normed else h))
        return self.conv2(self.activation(self.norm2(h) if normed else h))


class ConvNet(nnx.Module):
    """A convolutional classifier: blocks of two 3 x 3 convolutions, each with or without its skip.

    `first`, a 3 x 3 convolution, changes the channels; then come `blocks` times h + s F(h), where F
    is a `ConvBranch`; then `norm` (where there is one), phi, the mean over the image, and the
    linear `readout`. Size and channels stay the same, so the blocks are one `stack`. Its depth is
    2 blocks + 2 layers: 9 blocks make 20, 27 make 56 and 54 make 110.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        blocks: int,
        out_features: int,
        *,
        skip: bool = True,
        norm: str | None = "batch",
        activation: str | Activation = "relu",
        branch_scale: float = 1.0,
        learn_scale: bool = False,
        kernel_init: str | Initializer = "he_normal",
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """Initialize the network.

        Args:
            in_channels: Channels of the images.
            channels: Channels of every block.
            blocks: How many, at least 1.
            out_features: Outputs of the readout.
            skip: False leaves the identity out: a plain network of as many layers and weights.
            norm: "batch", "layer" or "rms" normalizes what enters each activation (the last two
                over the channels of each pixel), None nothing.
            activation: A name in `vgutils.activations.ACTIVATIONS` or an elementwise function.
            branch_scale: s, 1 by default.
            learn_scale: Make s a parameter of each block.
            kernel_init: A name in `vgutils.initializers.INITIALIZERS` or an initializer; for the
                convolutions and the readout.
            dtype: The dtype of the computation; by default that of parameters and input.
            param_dtype: The dtype of the parameters.
            rngs: Where the weights come from.

        Raises:
            ValueError: A size below 1, an unknown name, a scale that is not finite, a scale without
                a skip.
            TypeError: A size that is not an integer, `rngs` that is not `nnx.Rngs`.
        """
        for name, value in [
            ("in_channels", in_channels),
            ("channels", channels),
            ("blocks", blocks),
            ("out_features", out_features),
        ]:
            errors.integer(name, value, minimum=1)
        check_blocks(skip, norm, branch_scale, learn_scale, rngs)
        phi = activations.get(activation)
        common = {
            "kernel_init": initializers.get(kernel_init),
            "dtype": dtype,
            "param_dtype": param_dtype,
        }

        def block(rngs: nnx.Rngs) -> nnx.Module:
            branch = ConvBranch(channels, phi, norm=norm, rngs=rngs, **common)
            if not skip:
                return branch
            return Residual(branch, branch_scale, learn_scale=learn_scale)

        self.in_channels, self.depth = in_channels, 2 * blocks + 2
        self.first = nnx.Conv(in_channels, channels, (3, 3), rngs=rngs, **common)
        self.blocks = stack(block, blocks, rngs)
        if norm is not None:
            self.norm = NORMS[norm](channels, rngs=rngs)
        self.activation = phi
        self.readout = nnx.Linear(channels, out_features, rngs=rngs, **common)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(batch, height, width, in_channels) -> (batch, out_features).

        Raises:
            ValueError: `x` has another number of axes, or of channels.
        """
        if jnp.ndim(x) != 4 or x.shape[-1] != self.in_channels:
            raise ValueError(
                f"x must have shape (batch, height, width, {self.in_channels}), "
                f"got {jnp.shape(x)}"
            )
        h = scan_layers(self.blocks, self.first(x))
        h = self.activation(self.norm(h) if hasattr(self, "norm") else h)
        return self.readout(h.mean(axis=(1, 2)))
