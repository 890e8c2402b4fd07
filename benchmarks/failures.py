"""Planted failures: does `vgutils.diagnose` name the right cause? `python benchmarks/failures.py`.

Cases are drawn from stated distributions. A *sick* one has one fault by construction, a *healthy*
one has none. Thresholds were chosen on the cases of seed 0; the table is about those of other
seeds, held out. Beside it stands what a fixed threshold on the weight gradients would have said.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import vgutils as vg

BATCH, FEATURES, CLASSES = 64, 16, 4
Draw = np.random.Generator


@dataclasses.dataclass(frozen=True)
class Case:
    """One configuration: `truth` is the verdict that is right."""

    truth: str
    name: str
    model: nnx.Module
    batch: tuple[jax.Array, jax.Array]
    optimizer: optax.GradientTransformation
    loss: Callable[..., jax.Array] = vg.training.cross_entropy


# --- data -----------------------------------------------------------------------------------------


def clusters(draw: Draw) -> tuple[jax.Array, jax.Array]:
    """Examples around one random centre for each class: (64, 16) and labels (64,)."""
    centres = draw.normal(size=(CLASSES, FEATURES))
    y = draw.permutation(np.arange(BATCH) % CLASSES)
    x = centres[y] + draw.uniform(0.2, 0.8) * draw.normal(size=(BATCH, FEATURES))
    return jnp.asarray((x - x.mean(0)) / x.std(0), jnp.float32), jnp.asarray(y)


def sequences(draw: Draw, length: int) -> tuple[jax.Array, jax.Array]:
    """(64, length, 4) noise whose class stands in every step's mean, and labels (64,)."""
    y = draw.integers(0, CLASSES, BATCH)
    x = draw.normal(size=(BATCH, length, 4)) + np.eye(4)[y][:, None]
    return jnp.asarray(x, jnp.float32), jnp.asarray(y)


def images(draw: Draw) -> tuple[jax.Array, jax.Array]:
    """(64, 8, 8, 1) stripes, one direction and phase for each class, in noise."""
    y = draw.integers(0, CLASSES, BATCH)
    row, column = np.mgrid[:8, :8]
    patterns = np.stack(
        [np.sin(row), np.sin(column), np.sin(row + column), np.sin(row - column)]
    )
    x = patterns[y] + 0.5 * draw.normal(size=(BATCH, 8, 8))
    return jnp.asarray(x[..., None], jnp.float32), jnp.asarray(y)


# --- what a network is made of --------------------------------------------------------------------

SOUND = [("tanh", "glorot_normal"), ("relu", "he_normal"), ("gelu", "he_normal")]


def rngs(draw: Draw) -> nnx.Rngs:
    """A stream of its own for each model."""
    return nnx.Rngs(int(draw.integers(2**31)))


def mlp(
    draw: Draw, depth: int, activation: str, kernel_init: Any, **options: Any
) -> vg.MLP:
    """A plain network of a drawn width."""
    width = int(draw.choice([32, 64]))
    options = {"activation": activation, "kernel_init": kernel_init, **options}
    return vg.MLP(FEATURES, width, depth, CLASSES, rngs=rngs(draw), **options)


def sound_optimizer(draw: Draw) -> optax.GradientTransformation:
    """Adam, momentum or clipped Adam at a rate that suits small networks."""
    rate = 10 ** draw.uniform(-3, -2.3)
    return [
        optax.adam(rate),
        optax.sgd(10 * rate, momentum=0.9),
        optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate)),
    ][draw.integers(3)]


def sound_model(draw: Draw) -> vg.MLP:
    """A plain network of 2 to 8 layers whose weights suit its activation."""
    return mlp(draw, int(draw.integers(2, 9)), *SOUND[draw.integers(3)])


class Net(nnx.Module):
    """Layers of Flax's own, one after the other, for what `vg.MLP` has not."""

    def __init__(self, *layers: Any) -> None:
        """Modules and functions."""
        self.layers = nnx.data(list(layers))

    def __call__(self, x: jax.Array) -> jax.Array:
        """Apply all."""
        for layer in self.layers:
            x = layer(x)
        return x


def scaled(gain: float) -> Any:
    """Normal weights of variance gain^2 / fan_in."""
    return jax.nn.initializers.variance_scaling(gain**2, "fan_in", "normal")


# --- healthy --------------------------------------------------------------------------------------

HEALTHY: dict[str, Callable[[Draw], dict[str, Any]]] = {}
SICK: dict[str, tuple[str, Callable[[Draw], dict[str, Any]]]] = {}


def healthy(make: Callable[[Draw], dict[str, Any]]) -> Callable:
    """Register a family of healthy cases; what it does not say is sound."""
    HEALTHY[make.__name__] = make
    return make


def sick(truth: str) -> Callable:
    """Register a family of cases with one fault."""

    def register(make: Callable[[Draw], dict[str, Any]]) -> Callable:
        SICK[make.__name__] = (truth, make)
        return make

    return register


@healthy
def plain(draw: Draw) -> dict[str, Any]:
    """2 to 8 layers whose weights suit the activation."""
    return {"model": sound_model(draw)}


@healthy
def shallow_sigmoid(draw: Draw) -> dict[str, Any]:
    """One or two sigmoid layers."""
    return {"model": mlp(draw, int(draw.integers(1, 3)), "sigmoid", "glorot_normal")}


@healthy
def deep_orthogonal(draw: Draw) -> dict[str, Any]:
    """20 to 40 orthogonal tanh layers."""
    return {
        "model": mlp(draw, int(draw.integers(20, 41)), "tanh", "orthogonal"),
        "optimizer": optax.adam(10 ** draw.uniform(-3.5, -3)),
    }


@healthy
def normalized(draw: Draw) -> dict[str, Any]:
    """4 to 12 layers with normalization, any activation."""
    return {
        "model": mlp(
            draw,
            int(draw.integers(4, 13)),
            str(draw.choice(["relu", "tanh", "silu"])),
            "he_normal",
            norm=str(draw.choice(["batch", "layer", "rms"])),
        )
    }


@healthy
def residual(draw: Draw) -> dict[str, Any]:
    """8 to 32 residual blocks, normalized or scaled."""
    blocks = int(draw.integers(8, 33))
    options: list[dict[str, Any]] = [{"norm": "layer"}, {"branch_scale": blocks**-0.5}]
    return {
        "model": vg.ResidualMLP(
            FEATURES, 32, blocks, CLASSES, rngs=rngs(draw), **options[draw.integers(2)]
        ),
        "optimizer": optax.adam(10 ** draw.uniform(-3.3, -2.7)),
    }


@healthy
def convolutional(draw: Draw) -> dict[str, Any]:
    """1 to 4 residual convolutional blocks with BatchNorm."""
    model = vg.ConvNet(1, 8, int(draw.integers(1, 5)), CLASSES, rngs=rngs(draw))
    return {"model": model, "batch": images(draw)}


class Classifier(nnx.Module):
    """A small transformer over the positions, averaged."""

    def __init__(self, depth: int, rngs: nnx.Rngs) -> None:
        """`depth` pre-norm blocks."""
        self.embed = nnx.Linear(4, 16, rngs=rngs)
        self.blocks = vg.Transformer(16, 2, depth, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(n, positions, 4) to (n, classes)."""
        return self.blocks(self.embed(x)).mean(axis=1)


@healthy
def transformer(draw: Draw) -> dict[str, Any]:
    """1 to 4 pre-norm blocks."""
    return {
        "model": Classifier(int(draw.integers(1, 5)), rngs(draw)),
        "batch": sequences(draw, 12),
    }


@healthy
def recurrent(draw: Draw) -> dict[str, Any]:
    """A plain, orthogonal RNN, an LSTM or a GRU over 6 to 12 steps."""
    cell = str(draw.choice(["rnn", "lstm", "gru"]))
    options: dict[str, Any] = {"forget_bias": 1.0} if cell == "lstm" else {}
    model = vg.Recurrent(4, 16, CLASSES, cell, rngs=rngs(draw), **options)
    return {"model": model, "batch": sequences(draw, int(draw.integers(6, 13)))}


class Bag(nnx.Module):
    """Words in any order: the mean of their vectors, and two layers."""

    def __init__(self, words: int, rngs: nnx.Rngs) -> None:
        """A vector for each of `words` words."""
        self.embed = nnx.Embed(words, 16, rngs=rngs)
        self.hidden = nnx.Linear(16, 16, rngs=rngs)
        self.readout = nnx.Linear(16, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(n, positions) integers to (n, classes)."""
        return self.readout(nnx.relu(self.hidden(self.embed(x).mean(axis=1))))


@healthy
def words(draw: Draw) -> dict[str, Any]:
    """Bags of 8 to 16 of 1,000 words, so that most vectors have no gradient."""
    y = draw.integers(0, CLASSES, BATCH)
    x = draw.integers(0, 250, (BATCH, draw.integers(8, 17))) + 250 * y[:, None]
    noise = draw.random(x.shape) < 0.3
    x = np.where(noise, draw.integers(0, 1000, x.shape), x)
    return {"model": Bag(1000, rngs(draw)), "batch": (jnp.asarray(x), jnp.asarray(y))}


@healthy
def half_precision(draw: Draw) -> dict[str, Any]:
    """2 to 5 layers computed in bfloat16 or float16."""
    dtype = [jnp.bfloat16, jnp.float16][draw.integers(2)]
    return {
        "model": mlp(draw, int(draw.integers(2, 6)), "relu", "he_normal", dtype=dtype)
    }


@healthy
def trained(draw: Draw) -> dict[str, Any]:
    """A plain network after 300 steps: its gradient is small because it is done."""
    batch = clusters(draw)
    model, _ = vg.train(sound_model(draw), optax.adam(3e-3), *batch, steps=300)
    return {"model": model, "batch": batch, "optimizer": optax.adam(3e-3)}


@healthy
def zero_readout(draw: Draw) -> dict[str, Any]:
    """The readout starts at zero: the first step moves nothing else, the second does."""
    model = sound_model(draw)
    model.readout.kernel[...] = jnp.zeros_like(model.readout.kernel[...])
    return {"model": model}


@healthy
def dropout(draw: Draw) -> dict[str, Any]:
    """Three layers of Flax's own with dropout between them."""
    r = rngs(draw)
    he, rate = jax.nn.initializers.he_normal(), float(draw.uniform(0.1, 0.4))
    return {
        "model": Net(
            nnx.Linear(FEATURES, 32, kernel_init=he, rngs=r),
            nnx.relu,
            nnx.Dropout(rate, rngs=r),
            nnx.Linear(32, 32, kernel_init=he, rngs=r),
            nnx.relu,
            nnx.Dropout(rate, rngs=r),
            nnx.Linear(32, CLASSES, rngs=r),
        )
    }


def squared_error(model: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """Mean squared error of the first output: scalar."""
    return jnp.mean(jnp.square(model(x)[:, 0] - y))


@healthy
def regression(draw: Draw) -> dict[str, Any]:
    """A noisy, smooth function of the inputs."""
    x, _ = clusters(draw)
    y = jnp.tanh(x @ draw.normal(size=FEATURES) / 4) + 0.1 * draw.normal(size=BATCH)
    return {"model": sound_model(draw), "batch": (x, y), "loss": squared_error}


# --- sick -----------------------------------------------------------------------------------------


@sick("vanishing")
def deep_sigmoid(draw: Draw) -> dict[str, Any]:
    """10 to 30 sigmoid layers, weights as Flax or Keras draw them."""
    init = str(draw.choice(["lecun_normal", "glorot_uniform"]))
    return {"model": mlp(draw, int(draw.integers(10, 31)), "sigmoid", init)}


@sick("vanishing")
def small_weights(draw: Draw) -> dict[str, Any]:
    """12 to 30 layers whose weights are a third to a half of what suits them."""
    activation, factor = [("tanh", 1.0), ("relu", 2**0.5)][draw.integers(2)]
    gain = factor * draw.uniform(0.33, 0.5)
    return {"model": mlp(draw, int(draw.integers(12, 31)), activation, scaled(gain))}


@sick("vanishing")
def default_relu(draw: Draw) -> dict[str, Any]:
    """40 to 60 ReLU layers with Flax's default weights."""
    return {"model": mlp(draw, int(draw.integers(40, 61)), "relu", "lecun_normal")}


@sick("exploding")
def large_weights(draw: Draw) -> dict[str, Any]:
    """12 to 40 ReLU layers whose weights are two to three times what suits them."""
    gain = 2**0.5 * draw.uniform(2, 3)
    return {"model": mlp(draw, int(draw.integers(12, 41)), "relu", scaled(gain))}


@sick("exploding")
def unscaled_residual(draw: Draw) -> dict[str, Any]:
    """40 to 100 residual blocks, neither scaled nor normalized."""
    blocks = int(draw.integers(40, 101))
    return {"model": vg.ResidualMLP(FEATURES, 32, blocks, CLASSES, rngs=rngs(draw))}


@sick("exploding")
def deep_batch_norm(draw: Draw) -> dict[str, Any]:
    """50 to 80 plain ReLU layers with BatchNorm."""
    depth = int(draw.integers(50, 81))
    return {"model": mlp(draw, depth, "relu", "he_normal", norm="batch")}


@sick("saturated")
def saturated_tanh(draw: Draw) -> dict[str, Any]:
    """2 to 8 tanh layers with weights 10 to 30 times what suits them."""
    gain = draw.uniform(10, 30)
    return {"model": mlp(draw, int(draw.integers(2, 9)), "tanh", scaled(gain))}


@sick("saturated")
def saturated_sigmoid(draw: Draw) -> dict[str, Any]:
    """2 to 6 sigmoid layers with weights 25 to 60 times what is usual."""
    gain = draw.uniform(25, 60)
    return {"model": mlp(draw, int(draw.integers(2, 7)), "sigmoid", scaled(gain))}


@sick("dead units")
def dead_by_bias(draw: Draw) -> dict[str, Any]:
    """2 to 6 ReLU layers whose biases start at -3 to -8."""
    bias = jax.nn.initializers.constant(-draw.uniform(3, 8))
    depth = int(draw.integers(2, 7))
    return {"model": mlp(draw, depth, "relu", "he_normal", bias_init=bias)}


@sick("dead units")
def dead_by_a_step(draw: Draw) -> dict[str, Any]:
    """3 to 6 ReLU layers after steps far too large."""
    batch = clusters(draw)
    model = mlp(draw, int(draw.integers(3, 7)), "relu", "he_normal")
    model, _ = vg.train(model, optax.adam(float(draw.uniform(1, 3))), *batch, steps=30)
    return {"model": model, "batch": batch}


@sick("symmetric units")
def constant_weights(draw: Draw) -> dict[str, Any]:
    """2 to 5 layers, all weights equal: zero or a constant."""
    value = float(draw.choice([0.0, 0.05, 0.1]))
    init = jax.nn.initializers.constant(value)
    activation = str(draw.choice(["tanh", "relu", "sigmoid"]))
    return {"model": mlp(draw, int(draw.integers(2, 6)), activation, init)}


@sick("frozen parameters")
def stopped(draw: Draw) -> dict[str, Any]:
    """A stop_gradient between two layers."""
    r = rngs(draw)
    he = jax.nn.initializers.he_normal()
    return {
        "model": Net(
            nnx.Linear(FEATURES, 32, kernel_init=he, rngs=r),
            nnx.relu,
            jax.lax.stop_gradient,
            nnx.Linear(32, 32, kernel_init=he, rngs=r),
            nnx.relu,
            nnx.Linear(32, CLASSES, rngs=r),
        )
    }


class Forgotten(nnx.Module):
    """Two branches, of which the call uses one."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        """Both of the same size."""
        self.used = nnx.Linear(FEATURES, 32, rngs=rngs)
        self.unused = nnx.Linear(FEATURES, 32, rngs=rngs)
        self.readout = nnx.Linear(32, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        """(n, features) to (n, classes)."""
        return self.readout(nnx.relu(self.used(x)))


@sick("frozen parameters")
def forgotten(draw: Draw) -> dict[str, Any]:
    """A layer that is built and never called."""
    return {"model": Forgotten(rngs(draw))}


@sick("frozen parameters")
def masked(draw: Draw) -> dict[str, Any]:
    """An optimizer that gives the first layer no update."""

    def label(weights: Any) -> Any:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: "no" if "first" in jax.tree_util.keystr(path) else "yes",
            weights,
        )

    parts = {"yes": sound_optimizer(draw), "no": optax.set_to_zero()}
    return {
        "model": sound_model(draw),
        "optimizer": optax.multi_transform(parts, label),
    }


@sick("underflow")
def small_loss(draw: Draw) -> dict[str, Any]:
    """float16, and a loss that is weighted by 1e-7 to 1e-5."""
    weight = 10 ** draw.uniform(-7, -5)

    def loss(model: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return weight * vg.training.cross_entropy(model, x, y)

    depth = int(draw.integers(2, 6))
    return {
        "model": mlp(draw, depth, "tanh", "glorot_normal", dtype=jnp.float16),
        "loss": loss,
    }


@sick("overflow")
def large_loss(draw: Draw) -> dict[str, Any]:
    """float16, and a loss scale of 2^22 to 2^26."""
    scale = 2.0 ** int(draw.integers(22, 27))

    def loss(model: Any, x: jax.Array, y: jax.Array) -> jax.Array:
        return scale * vg.training.cross_entropy(model, x, y)

    depth = int(draw.integers(2, 6))
    return {
        "model": mlp(draw, depth, "relu", "he_normal", dtype=jnp.float16),
        "loss": loss,
    }


def unstable(model: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    """Cross-entropy as the formula says, exponentials and logarithm one by one."""
    scores = jnp.exp(100 * model(x))
    shares = scores / scores.sum(axis=1, keepdims=True)
    return -jnp.log(shares[jnp.arange(len(y)), y]).mean()


@sick("overflow")
def unstable_loss(draw: Draw) -> dict[str, Any]:
    """A softmax that is written out, at logits of some tens."""
    return {"model": sound_model(draw), "loss": unstable}


@sick("bad data")
def not_a_number(draw: Draw) -> dict[str, Any]:
    """A NaN among the inputs."""
    x, y = clusters(draw)
    return {
        "model": sound_model(draw),
        "batch": (x.at[draw.integers(BATCH), 0].set(jnp.nan), y),
    }


@sick("bad data")
def unscaled(draw: Draw) -> dict[str, Any]:
    """Inputs 100 to 10,000 times too large."""
    x, y = clusters(draw)
    return {"model": sound_model(draw), "batch": (x * 10 ** draw.uniform(2, 4), y)}


@sick("bad data")
def one_for_all(draw: Draw) -> dict[str, Any]:
    """All inputs, or all labels, are the same."""
    x, y = clusters(draw)
    same = [(jnp.broadcast_to(x[:1], x.shape), y), (x, jnp.zeros_like(y))]
    return {"model": sound_model(draw), "batch": same[draw.integers(2)]}


@sick("learning rate too high")
def rate_too_high(draw: Draw) -> dict[str, Any]:
    """Adam at 1 to 10, momentum at 3 to 30."""
    factor = 10 ** draw.uniform(0, 1)
    optimizers = [optax.adam(factor), optax.sgd(3 * factor, momentum=0.9)]
    return {"model": sound_model(draw), "optimizer": optimizers[draw.integers(2)]}


@sick("learning rate too low")
def rate_too_low(draw: Draw) -> dict[str, Any]:
    """Adam or momentum at a ten-thousandth or less of what suits."""
    factor = 10 ** draw.uniform(-8, -6.5)
    optimizers = [optax.adam(factor), optax.sgd(10 * factor, momentum=0.9)]
    return {"model": sound_model(draw), "optimizer": optimizers[draw.integers(2)]}


@sick("vanishing through time")
def long_sequence(draw: Draw) -> dict[str, Any]:
    """A cell as Flax makes it over 60 to 120 steps."""
    cell = str(draw.choice(["rnn", "lstm", "gru"]))
    options: dict[str, Any] = {"recurrent_init": scaled(0.5)} if cell == "rnn" else {}
    model = vg.Recurrent(4, 16, CLASSES, cell, rngs=rngs(draw), **options)
    return {"model": model, "batch": sequences(draw, int(draw.integers(60, 121)))}


# --- the score ------------------------------------------------------------------------------------


def cases(seed: int, each: int) -> Iterator[Case]:
    """`each` cases of every family, sick and healthy, drawn by the seed."""
    families = [(truth, make) for truth, make in SICK.values()]
    families += [("healthy", make) for make in HEALTHY.values()]
    for index, (truth, make) in enumerate(families):
        for number in range(each):
            draw = np.random.default_rng([seed, index, number])
            sound = {"batch": clusters(draw), "optimizer": sound_optimizer(draw)}
            yield Case(truth, make.__name__, **(sound | make(draw)))


def fixed_threshold(profile: vg.Profile) -> str:
    """The usual rule: first over last weight gradient, and an absolute norm."""
    norms = np.asarray(profile.weight_gradient_norm, np.float64)
    norms = norms[~np.isnan(np.asarray(profile.weight_norm))]
    if not np.all(np.isfinite(norms)):
        return "exploding"
    ratio = norms[0] / norms[-1] if norms[-1] > 0 else 0.0
    if ratio < 1e-3 or norms.max() < 1e-6:
        return "vanishing"
    return "exploding" if ratio > 1e3 or norms.max() > 1e3 else "healthy"


def main(arguments: list[str]) -> int:
    """Print a line a case that went wrong, then the table; the exit code says if goals are met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--seed", type=int, default=1, help="of the cases (0: development)"
    )
    parser.add_argument("--each", type=int, default=3, help="cases of each family")
    parser.add_argument("--only", default="", help="a family's name")
    options = parser.parse_args(arguments)
    score: Counter[tuple[str, str, bool]] = Counter()
    for case in cases(options.seed, options.each):
        if options.only and case.name != options.only:
            continue
        found = vg.diagnose(
            case.model, case.loss, *case.batch, optimizer=case.optimizer
        )
        usual = fixed_threshold(found.profile)
        sick = case.truth != "healthy"
        score["diagnose", case.truth, found.verdict == case.truth] += 1
        # The usual rule knows three answers; a sick network called sick counts as right.
        score["usual rule", case.truth, (usual != "healthy") == sick] += 1
        jax.clear_caches()  # Hundreds of compiled programs would fill the memory maps.
        if found.verdict != case.truth:
            print(f"{case.name} ({case.truth}): {found}\n", flush=True)
    return report(score)


def report(score: Counter[tuple[str, str, bool]]) -> int:
    """Print the table of right answers; 0 if the goals are met."""
    met = True
    print(
        f"{'truth':<24}{'cases':>6}{'right cause':>13}{'usual rule: sick or not':>25}"
    )
    for truth in dict.fromkeys(truth for _, truth, _ in score):
        right, usual = (score[who, truth, True] for who in ("diagnose", "usual rule"))
        total = right + score["diagnose", truth, False]
        print(f"{truth:<24}{total:>6}{right:>13}{usual:>25}")
    for sick, goal in [(True, 0.95), (False, 1.0)]:
        right, wrong = (
            sum(
                count
                for (who, truth, ok), count in score.items()
                if who == "diagnose" and ok is flag and (truth != "healthy") is sick
            )
            for flag in (True, False)
        )
        share = right / max(right + wrong, 1)
        met &= share >= goal
        print(
            f"{'sick' if sick else 'healthy'}: {right} of {right + wrong} right, goal {goal:.0%}"
        )
    return int(not met)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
