"""Flax NNX: `python run_flax.py in.npz out.npz`; `vgutils.frameworks` says what is in them."""

import json
import sys

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

ACTIVATIONS = {"sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh, "relu": jax.nn.relu}
SEEDS, DEPTH, WIDTH, FEATURES, UNITS, CLASSES = 5, 20, 64, 8, 32, 10


def mlp(activation, rngs):
    layers = []
    for _ in range(DEPTH):
        layers += [nnx.Linear(WIDTH, WIDTH, rngs=rngs), activation]
    return nnx.Sequential(*layers, nnx.Linear(WIDTH, CLASSES, rngs=rngs))


class LastState(nnx.Module):
    """An LSTM that is read at its last step."""

    def __init__(self, rngs):
        self.rnn = nnx.RNN(nnx.LSTMCell(FEATURES, UNITS, rngs=rngs))
        self.readout = nnx.Linear(UNITS, CLASSES, rngs=rngs)

    def __call__(self, x):
        return self.readout(self.rnn(x)[:, -1])


class Residual(nnx.Module):
    def __init__(self, rngs, count=16, channels=16):
        plain = {"kernel_size": (3, 3), "use_bias": False, "rngs": rngs}
        self.stem = nnx.Conv(3, channels, **plain)
        for i in range(count):
            setattr(self, f"norm{i}", nnx.BatchNorm(channels, rngs=rngs))
            setattr(self, f"conv{i}", nnx.Conv(channels, channels, **plain))
        self.readout = nnx.Linear(channels, CLASSES, rngs=rngs)
        self.count = count

    def __call__(self, x):
        h = self.stem(x)
        for i in range(self.count):
            if i % 2 == 0:
                skip = h
            h = jnp.tanh(getattr(self, f"norm{i}")(h))
            h = getattr(self, f"conv{i}")(h) + (skip if i % 2 else 0)
        return self.readout(h.mean(axis=(1, 2)))


@nnx.jit
def gradients(model, x, y):
    """The loss, and its gradients: for each parameter, and for the input."""

    def mean_loss(model, x):
        losses = optax.softmax_cross_entropy_with_integer_labels(model(x), y)
        return losses.mean()

    loss, (grads, dx) = nnx.value_and_grad(mean_loss, argnums=(0, 1))(model, x)
    return loss, grads, dx


def size(gradient):
    return np.linalg.norm(np.asarray(gradient, np.float64))


def shared_weights(data):
    """The same weights and batch as everybody."""
    rngs, out = nnx.Rngs(0), {}

    def run(network, model, weights):
        nnx.update(model, weights)
        batch = data[f"{network}/x"], data[f"{network}/y"]
        out[f"{network}/loss"], grads, dx = gradients(model, *batch)
        return nnx.to_pure_dict(grads), dx

    def dense(kernel, bias):
        return {"kernel": data[kernel], "bias": data[bias]}

    layers = {2 * i: dense(f"mlp/W{i}", f"mlp/b{i}") for i in range(DEPTH + 1)}
    grads, _ = run("mlp", mlp(jax.nn.sigmoid, rngs), {"layers": layers})
    for i in range(DEPTH + 1):
        out[f"mlp/W{i}"] = grads["layers"][2 * i]["kernel"]
        out[f"mlp/b{i}"] = grads["layers"][2 * i]["bias"]

    # A small layer for each gate: "i" + gate of the input, "h" + gate of the state, with the bias.
    gates = {"i": "ii", "f": "if_", "g": "ig", "o": "io"}
    split = {name: np.split(data[f"lstm/{name}"], 4, axis=-1) for name in "WUb"}
    cell = {}
    for gate, W, U, b in zip(gates, split["W"], split["U"], split["b"], strict=True):
        cell[gates[gate]] = {"kernel": W}
        cell[f"h{gate}"] = {"kernel": U, "bias": b}
    readout = dense("lstm/V", "lstm/c")
    model = LastState(rngs)
    grads, out["lstm/x"] = run(
        "lstm", model, {"rnn": {"cell": cell}, "readout": readout}
    )
    cell = grads["rnn"]["cell"]
    joined = {
        "W": [cell[name]["kernel"] for name in gates.values()],
        "U": [cell[f"h{gate}"]["kernel"] for gate in gates],
        "b": [cell[f"h{gate}"]["bias"] for gate in gates],
    }
    for name, parts in joined.items():
        out[f"lstm/{name}"] = np.concatenate(parts, axis=-1)
    out["lstm/V"], out["lstm/c"] = (grads["readout"][k] for k in ("kernel", "bias"))

    model = Residual(rngs)
    weights = {
        "stem": {"kernel": data["res/stem"]},
        "readout": dense("res/V", "res/c"),
    }
    for i in range(model.count):
        gamma, beta = data[f"res/gamma{i}"], data[f"res/beta{i}"]
        weights[f"norm{i}"] = {"scale": gamma, "bias": beta}
        weights[f"conv{i}"] = {"kernel": data[f"res/K{i}"]}
    grads, _ = run("res", model, weights)
    out["res/stem"] = grads["stem"]["kernel"]
    out["res/V"], out["res/c"] = (grads["readout"][k] for k in ("kernel", "bias"))
    for i in range(model.count):
        out[f"res/K{i}"] = grads[f"conv{i}"]["kernel"]
        out[f"res/gamma{i}"] = grads[f"norm{i}"]["scale"]
        out[f"res/beta{i}"] = grads[f"norm{i}"]["bias"]
    return out


def defaults(data):
    """What Flax draws by itself: norms of gradients of one example, and fan_in · variance."""
    label = np.zeros(1, np.int32)
    out = {}
    for name, activation in ACTIVATIONS.items():
        nets = [mlp(activation, nnx.Rngs(seed)) for seed in range(SEEDS)]
        out[f"default/{name}/weights"], out[f"default/{name}/biases"] = [], []
        for net in nets:
            grads = gradients(net, data["default/x"], label)[1]
            layers = nnx.to_pure_dict(grads)["layers"].values()
            for part, leaf in (("weights", "kernel"), ("biases", "bias")):
                sizes = [size(layer[leaf]) for layer in layers]
                out[f"default/{name}/{part}"].append(sizes)
    drawn = [[layer.kernel[...] for layer in net.layers[:-1:2]] for net in nets]
    out["default/dense"] = WIDTH * np.var(drawn, axis=(1, 2, 3))

    models = [LastState(nnx.Rngs(seed)) for seed in range(SEEDS)]
    steps = [gradients(m, data["default/sequence"], label)[2][0] for m in models]
    out["default/lstm"] = [[size(dx) for dx in run] for run in steps]
    cells = [model.rnn.cell for model in models]
    W = [[c.ii.kernel[...], c.if_.kernel[...], c.ig.kernel[...]] for c in cells]
    U = [[c.hi.kernel[...], c.hf.kernel[...], c.hg.kernel[...]] for c in cells]
    out["default/input"] = FEATURES * np.var(W, axis=(1, 2, 3))
    out["default/recurrent"] = UNITS * np.var(U, axis=(1, 2, 3))
    out["default/forget"] = [np.mean(cell.hf.bias[...]) for cell in cells]
    return out


def conventions():
    """Where frameworks differ, measured."""
    one = jnp.float32(1)
    rngs = nnx.Rngs(0)
    return {
        "leaky_slope": -jax.nn.leaky_relu(-one),
        "gelu": jax.nn.gelu(one),
        "relu_slope_at_0": jax.grad(jax.nn.relu)(0 * one),
        "batchnorm_epsilon": nnx.BatchNorm(1, rngs=rngs).epsilon,
        "layernorm_epsilon": nnx.LayerNorm(1, rngs=rngs).epsilon,
    }


if __name__ == "__main__":
    data = dict(np.load(sys.argv[1]))
    out = {**shared_weights(data), **defaults(data)}
    versions = {"flax": flax.__version__, "jax": jax.__version__}
    out |= {f"convention/{name}": value for name, value in conventions().items()}
    np.savez(sys.argv[2], versions=json.dumps(versions), **out)
