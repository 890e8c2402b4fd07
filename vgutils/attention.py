"""Transformers whose depth is data: attention and MLP blocks, pre- or post-norm, in one scan."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from vgutils import activations, errors, initializers
from vgutils.activations import Activation
from vgutils.initializers import Initializer
from vgutils.models import scan_layers, stack


class Attention(nnx.Module):
    """Multi-head self-attention: each head mixes values by softmax(q k^T / sqrt(head size)).

    Submodules: `query`, `key`, `value`, `out`, each a linear map without bias.
    """

    def __init__(
        self,
        features: int,
        heads: int,
        *,
        causal: bool,
        kernel_init: Initializer,
        gain: float = 1.0,
        rngs: nnx.Rngs,
        **linear: Any,
    ) -> None:
        """`gain` multiplies the initial weights of `value` and `out`; see `Transformer`."""
        linear |= {"use_bias": False, "rngs": rngs}
        mixed = {"kernel_init": _scaled(kernel_init, gain), **linear}
        self.query = nnx.Linear(features, features, kernel_init=kernel_init, **linear)
        self.key = nnx.Linear(features, features, kernel_init=kernel_init, **linear)
        self.value = nnx.Linear(features, features, **mixed)
        self.out = nnx.Linear(features, features, **mixed)
        self.heads, self.causal = heads, causal

    def __call__(self, h: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """(..., time, features), and a mask (..., time) of the positions that may be read."""
        split = (*h.shape[:-1], self.heads, -1)
        q, k, v = (f(h).reshape(split) for f in (self.query, self.key, self.value))
        logits = jnp.einsum("...thd,...shd->...hts", q, k) / q.shape[-1] ** 0.5
        allowed = jnp.ones((1, 1), bool) if mask is None else mask[..., None, None, :]
        if self.causal:
            allowed = allowed & jnp.tri(h.shape[-2], dtype=bool)
        # A large negative number, not -inf: where nothing is allowed, softmax must not be NaN.
        lowest = jnp.finfo(logits.dtype).min / 2
        weights = jax.nn.softmax(jnp.where(allowed, logits, lowest), axis=-1)
        mixed = jnp.einsum("...hts,...shd->...thd", weights, v)
        return self.out(mixed.reshape(h.shape))


class Block(nnx.Module):
    """Attention, then an MLP, each on its own residual connection.

    Submodules: `attention_norm`, `attention`, `mlp_norm`, `up`, `down`.
    """

    def __init__(
        self,
        features: int,
        heads: int,
        mlp_width: int,
        activation: Activation,
        *,
        norm_first: bool,
        causal: bool,
        skip_scale: float,
        kernel_init: Initializer,
        gain: float,
        rngs: nnx.Rngs,
        **linear: Any,
    ) -> None:
        """Arguments are those of `Transformer`; `linear` goes to every `nnx.Linear`."""
        self.attention_norm = nnx.LayerNorm(features, rngs=rngs, **linear)
        self.attention = Attention(
            features,
            heads,
            causal=causal,
            kernel_init=kernel_init,
            gain=gain,
            rngs=rngs,
            **linear,
        )
        mlp = {"kernel_init": _scaled(kernel_init, gain), "rngs": rngs, **linear}
        self.mlp_norm = nnx.LayerNorm(features, rngs=rngs, **linear)
        self.up = nnx.Linear(features, mlp_width, **mlp)
        self.down = nnx.Linear(mlp_width, features, **mlp)
        self.activation, self.norm_first = activation, norm_first
        self.skip_scale = skip_scale

    def __call__(self, h: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """(..., time, features), unchanged in shape."""
        if self.norm_first:
            h = self.skip_scale * h + self.attention(self.attention_norm(h), mask)
            return self.skip_scale * h + self._mlp(self.mlp_norm(h))
        h = self.attention_norm(self.skip_scale * h + self.attention(h, mask))
        return self.mlp_norm(self.skip_scale * h + self._mlp(h))

    def _mlp(self, h: jax.Array) -> jax.Array:
        return self.down(self.activation(self.up(h)))


class Transformer(nnx.Module):
    """A stack of equal transformer blocks, (..., time, features) -> (..., time, out_features).

    It adds neither embeddings nor positions: what comes in must hold them. Submodules, in order:
    `blocks` (one `stack`, run as a scan), `norm` (only with `norm_first`), `readout` (only with
    `out_features`).
    """

    def __init__(
        self,
        features: int,
        heads: int,
        depth: int,
        out_features: int | None = None,
        activation: str | Activation = "relu",
        *,
        norm_first: bool = True,
        causal: bool = False,
        mlp_width: int | None = None,
        skip_scale: float = 1.0,
        branch_gain: float = 1.0,
        kernel_init: str | Initializer = "glorot_uniform",
        dtype: Any = None,
        param_dtype: Any = jnp.float32,
        rngs: nnx.Rngs,
    ) -> None:
        """Initialize the network.

        Args:
            features: Features of each position, a multiple of `heads`.
            heads: Attention heads of a block.
            depth: Blocks, at least 1; each is two residual sublayers.
            out_features: Outputs of a linear readout of each position; None for no readout.
            activation: Of the MLPs: a name in `vgutils.activations.ACTIVATIONS`, or a function.
            norm_first: Pre-norm, h + F(norm(h)), with one more norm at the end. False is
                post-norm, norm(h + F(h)), as in Vaswani et al. (2017).
            causal: Position t reads positions up to t only.
            mlp_width: Hidden units of the MLPs, by default 4 * features.
            skip_scale: What multiplies h on the skip, alpha.
            branch_gain: What multiplies the initial weights of `value`, `out`, `up` and `down`,
                beta. DeepNorm (Wang et al., 2022) is post-norm with alpha = (2 depth)^(1/4) and
                beta = (8 depth)^(-1/4).
            kernel_init: A name in `vgutils.initializers.INITIALIZERS` or an initializer.
            dtype: The dtype of the computation; by default that of parameters and input.
            param_dtype: The dtype of the parameters.
            rngs: Where the weights come from.

        Raises:
            ValueError: A size below 1, features that heads do not divide, an unknown name, a scale
                that is not positive.
            TypeError: A size that is not an integer, a flag that is not a boolean, `rngs` that is
                not `nnx.Rngs`.
        """
        for name, value in [
            ("features", features),
            ("heads", heads),
            ("depth", depth),
            ("out_features", 1 if out_features is None else out_features),
            ("mlp_width", 1 if mlp_width is None else mlp_width),
        ]:
            errors.integer(name, value, minimum=1)
        if features % heads:
            raise ValueError(
                f"features must be a multiple of heads, got {features} features and {heads} heads"
            )
        for name, value in [("norm_first", norm_first), ("causal", causal)]:
            if not isinstance(value, bool):
                raise TypeError(f"{name} must be True or False, got {value!r}")
        for name, scale in [("skip_scale", skip_scale), ("branch_gain", branch_gain)]:
            errors.number(name, scale, minimum=0, strict=True)
        if not isinstance(rngs, nnx.Rngs):
            raise TypeError(f"rngs must be flax.nnx.Rngs, got {rngs!r}")
        phi, rule = activations.get(activation), initializers.get(kernel_init)
        linear = {"dtype": dtype, "param_dtype": param_dtype}
        self.features, self.depth = features, depth
        self.blocks = stack(
            lambda rngs: Block(
                features,
                heads,
                mlp_width or 4 * features,
                phi,
                norm_first=norm_first,
                causal=causal,
                skip_scale=float(skip_scale),
                kernel_init=rule,
                gain=float(branch_gain),
                rngs=rngs,
                **linear,
            ),
            depth,
            rngs,
        )
        if norm_first:
            self.norm = nnx.LayerNorm(features, rngs=rngs, **linear)
        if out_features is not None:
            self.readout = nnx.Linear(
                features, out_features, kernel_init=rule, rngs=rngs, **linear
            )

    def __call__(self, x: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """Run the stack.

        Args:
            x: (..., time, features), floating.
            mask: (..., time) booleans, False at positions that are padding; all True if None.

        Returns:
            (..., time, out_features), or (..., time, features) without a readout. At padded
            positions it is 0; whatever stands there in `x`, even NaN, changes no other output and
            receives a gradient of exactly 0.

        Raises:
            TypeError: `mask` is not boolean.
            ValueError: A shape that does not fit.
        """
        if jnp.ndim(x) < 2 or x.shape[-1] != self.features:
            raise ValueError(
                f"x must be (..., time, {self.features} features), got shape {jnp.shape(x)}"
            )
        if mask is None:
            return self._forward(x, None)
        if not jnp.issubdtype(jnp.result_type(mask), jnp.bool_):
            raise TypeError(
                f"mask must be boolean, True where a position counts, got {jnp.result_type(mask)}"
            )
        if jnp.shape(mask) != x.shape[:-1]:
            raise ValueError(
                f"mask must have the shape {x.shape[:-1]}, got {jnp.shape(mask)}"
            )
        counts = mask[..., None]
        return jnp.where(counts, self._forward(jnp.where(counts, x, 0), mask), 0)

    def _forward(self, h: jax.Array, mask: jax.Array | None) -> jax.Array:
        h = scan_layers(self.blocks, h, mask)
        if hasattr(self, "norm"):
            h = self.norm(h)
        return self.readout(h) if hasattr(self, "readout") else h


def _scaled(initializer: Initializer, gain: float) -> Initializer:
    """The same initializer, times `gain`."""
    return lambda key, shape, *dtype: gain * initializer(key, shape, *dtype)
