"""Diagnose models of Flax's documentation, unchanged: `python benchmarks/public_models.py FLAX`.

FLAX is the folder of Flax's source (`pip download --no-deps --no-binary :all: flax`, unpacked). The
classes are taken from its notebooks and examples as they stand there; only sizes are chosen here,
and random data stands in for what those pages download.
"""

from __future__ import annotations

import ast
import contextlib
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Optional

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import PartitionSpec

import vgutils as vg

BATCH = 16
Example = tuple[str, nnx.Module, Callable[..., jax.Array], tuple[Any, ...]]

# Three halvings leave its two lower attentions one position of an 8 x 8 image: whatever their
# queries and keys are, the softmax of one number is 1.
EXPECTED = {"U-Net of the diffusion model": "frozen parameters"}


def definitions(page: Path) -> dict[str, Any]:
    """The classes of one notebook (.md) or script, executed as they stand there."""
    text = page.read_text("utf-8")
    if page.suffix == ".md":
        text = "\n".join(
            re.findall(r"```(?:python|{code-cell})[^\n]*\n(.*?)```", text, re.S)
        )
    # Notebook commands are not Python.
    text = "\n".join(
        line for line in text.splitlines() if not re.match(r"\s*[!%]", line)
    )
    found: dict[str, Any] = {
        **{
            "jax": jax,
            "jnp": jnp,
            "np": np,
            "nnx": nnx,
            "optax": optax,
            "partial": partial,
        },
        **{"Optional": Optional, "P": PartitionSpec},
        **{
            "dataclass": __import__("dataclasses").dataclass,
            "tp": __import__("typing"),
        },
    }
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef):
            # A data loader's class may need a package that the models do not.
            with contextlib.suppress(NameError):
                exec(compile(ast.Module([node], []), str(page), "exec"), found)
    return found


def labels(model: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """Cross-entropy of logits against integers, over all positions."""
    logits = model(x).astype(jnp.float32)
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def examples(flax: Path) -> Iterator[Example]:
    """Name, model, loss and batch of each."""
    draw = np.random.default_rng(0)
    pages = flax / "docs_nnx" / "examples"
    classes = jnp.asarray(draw.integers(0, 10, BATCH))
    tokens = jnp.asarray(draw.integers(0, 50, (BATCH, 12)))
    image = jnp.asarray(draw.normal(size=(BATCH, 28, 28, 1)), jnp.float32)
    image = image + jax.nn.one_hot(classes, 28)[:, :, None, None]

    cnn = definitions(flax / "docs_nnx" / "mnist_tutorial.md")["CNN"](rngs=nnx.Rngs(0))

    def with_dropout(model: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return labels(lambda x: model(x, nnx.Rngs(0)), x, y)

    yield "CNN of the MNIST tutorial", cnn, with_dropout, (image, classes)

    model = definitions(pages / "machine_translation.md")["TransformerModel"](
        12, 50, 32, 64, 4, 0.1, rngs=nnx.Rngs(0)
    )

    def translation(model: Any, source: jax.Array, target: jax.Array) -> jax.Array:
        return labels(lambda y: model(source, y), target, jnp.roll(target, -1, axis=1))

    yield "machine translation", model, translation, (tokens, tokens[::-1])

    def flow(model: Any, x: jax.Array, noise: jax.Array) -> jax.Array:
        t = jnp.linspace(0, 1, len(x))
        mixed = (1 - t[:, None, None, None]) * noise + t[:, None, None, None] * x
        return jnp.mean(jnp.square(model(mixed, t) - (x - noise)))

    unet = definitions(pages / "digits_diffusion_model.md")["UNet"](
        1, 1, 8, rngs=nnx.Rngs(0)
    )
    noise = jnp.asarray(draw.normal(size=(BATCH, 8, 8, 1)), jnp.float32)
    yield "U-Net of the diffusion model", unet, flow, (image[:, :8, :8], noise)

    found = definitions(flax / "examples" / "nnx_toy_examples" / "05_vae.py")
    vae = found["VAE"](784, 64, 8, (28, 28), rngs=nnx.Rngs(0, noise=1))

    def evidence_bound(model: Any, x: jax.Array) -> jax.Array:
        logits = model(x)
        divergence = sum(jax.tree.leaves(nnx.pop(model, found["Loss"])), 0.0)
        return optax.sigmoid_binary_cross_entropy(logits, x).mean() + 0.1 * divergence

    yield (
        "variational autoencoder",
        vae,
        evidence_bound,
        ((image[..., 0] > 0).astype(jnp.float32),),
    )

    found = definitions(pages / "vit_training.md")
    config = found["ModelConfig"](
        img_size=28,
        patch_size=7,
        in_channels=1,
        num_classes=10,
        num_layers=3,
        num_heads=4,
        mlp_dim=64,
        hidden_size=32,
    )
    vit = found["VisionTransformer"](config, rngs=nnx.Rngs(0))
    yield "vision transformer", vit, with_dropout, (image, classes)


def main(flax: str) -> int:
    """Print a diagnosis of each; the exit code is the number of verdicts that are not right."""
    wrong = 0
    for name, model, loss, batch in examples(Path(flax)):
        found = vg.diagnose(model, loss, *batch, optimizer=optax.adamw(1e-3))
        wrong += found.verdict != EXPECTED.get(name, "healthy")
        falls = found.evidence.losses[0, [0, -1]]
        print(
            f"{name}: {found.verdict}; the loss falls from {falls[0]:.3f} to {falls[1]:.3f}"
        )
        for finding in found.findings:
            print(f"    {finding.verdict}: {finding.evidence}")
    return wrong


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:2]))
