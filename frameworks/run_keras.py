"""Keras 3: `python run_keras.py in.npz out.npz`, with KERAS_BACKEND jax, tensorflow or torch.

`vgutils.frameworks` says what is in them.
"""

import json
import sys
from importlib.metadata import version

import keras
import numpy as np
from keras import layers, ops

SEEDS, DEPTH, WIDTH, STEPS, FEATURES, UNITS, CLASSES = 5, 20, 64, 100, 8, 32, 10
BACKEND = keras.config.backend()


def mlp(activation):
    hidden = [
        layers.Dense(WIDTH, activation=activation, name=f"dense{i}")
        for i in range(DEPTH)
    ]
    readout = layers.Dense(CLASSES, name=f"dense{DEPTH}")
    return keras.Sequential([keras.Input((WIDTH,)), *hidden, readout])


def last_state():
    """An LSTM that is read at its last step."""
    rnn = layers.LSTM(UNITS, name="lstm")
    readout = layers.Dense(CLASSES, name="readout")
    return keras.Sequential([keras.Input((STEPS, FEATURES)), rnn, readout])


def residual(count=16, channels=16, side=8):
    plain = {"kernel_size": 3, "padding": "same", "use_bias": False}
    x = keras.Input((side, side, 3))
    h = layers.Conv2D(channels, name="stem", **plain)(x)
    for i in range(count):
        if i % 2 == 0:
            skip = h
        h = layers.BatchNormalization(epsilon=1e-5, name=f"norm{i}")(h)
        h = layers.Conv2D(channels, name=f"conv{i}", **plain)(ops.tanh(h))
        h = h + skip if i % 2 else h
    h = layers.Dense(CLASSES, name="readout")(ops.mean(h, axis=(1, 2)))
    return keras.Model(x, h)


def mean_loss(y, logits):
    losses = keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True)
    return ops.mean(losses)


# A gradient is the one thing that Keras leaves to what is below it.


def with_jax(model, x, y):
    import jax

    def loss(weights, x):
        others = [v.value for v in model.non_trainable_variables]
        logits, _ = model.stateless_call(weights, others, x, training=True)
        return mean_loss(y, logits)

    weights = [v.value for v in model.trainable_variables]
    value, (grads, dx) = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(weights, x)
    return value, grads, dx


def with_tensorflow(model, x, y):
    import tensorflow as tf

    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = mean_loss(y, model(x, training=True))
    weights = [v.value for v in model.trainable_variables]
    grads, dx = tape.gradient(loss, (weights, x))
    return loss, grads, dx


def with_torch(model, x, y):
    import torch

    x = torch.tensor(x, requires_grad=True)
    loss = mean_loss(torch.tensor(y), model(x, training=True))
    loss.backward()
    grads = [v.value.grad for v in model.trainable_variables]
    return loss.detach(), grads, x.grad


def gradients(model, x, y):
    """The loss, and its gradients: for each parameter, by name, and for the input."""
    ways = {"jax": with_jax, "tensorflow": with_tensorflow, "torch": with_torch}
    loss, grads, dx = ways[BACKEND](model, x, y)
    names = [v.path.removeprefix(f"{model.name}/") for v in model.trainable_variables]
    named = dict(zip(names, map(np.asarray, grads), strict=True))
    return np.asarray(loss), named, np.asarray(dx)


def size(gradient):
    return np.linalg.norm(gradient.astype(np.float64))


def shared_weights(data):
    """The same weights and batch as everybody."""
    out = {}

    def run(network, model, names):
        variables = {v.path.removeprefix(f"{model.name}/"): v for v in model.variables}
        for ours, theirs in names.items():
            variables[theirs].assign(data[f"{network}/{ours}"])
        batch = data[f"{network}/x"], data[f"{network}/y"]
        out[f"{network}/loss"], grads, dx = gradients(model, *batch)
        out.update({f"{network}/{name}": grads[names[name]] for name in names})
        return dx

    names = {}
    for i in range(DEPTH + 1):  # all kernels have our layout
        names |= {f"W{i}": f"dense{i}/kernel", f"b{i}": f"dense{i}/bias"}
    run("mlp", mlp("sigmoid"), names)

    cell, readout = "lstm/lstm_cell", {"V": "readout/kernel", "c": "readout/bias"}
    names = {
        "W": f"{cell}/kernel",
        "U": f"{cell}/recurrent_kernel",
        "b": f"{cell}/bias",
    }
    out["lstm/x"] = run(
        "lstm", last_state(), names | readout
    )  # the gates are i, f, c, o

    names = {"stem": "stem/kernel"}
    for i in range(sum(name.startswith("res/K") for name in data)):
        names |= {f"gamma{i}": f"norm{i}/gamma", f"beta{i}": f"norm{i}/beta"}
        names |= {f"K{i}": f"conv{i}/kernel"}
    run("res", residual(), names | readout)
    return out


def defaults(data):
    """What Keras draws by itself: norms of gradients of one example, and fan_in · variance."""
    label = np.zeros(1, np.int32)
    out = {"default/dense": []}
    for name in "sigmoid", "tanh", "relu":
        weights, biases = [], []
        for seed in range(SEEDS):
            keras.utils.set_random_seed(seed)
            net = mlp(name)
            grads = gradients(net, data["default/x"], label)[1]
            weights.append([size(g) for k, g in grads.items() if "kernel" in k])
            biases.append([size(g) for k, g in grads.items() if "bias" in k])
            if name == "sigmoid":
                drawn = [
                    ops.convert_to_numpy(layer.kernel) for layer in net.layers[:-1]
                ]
                out["default/dense"].append(WIDTH * np.var(drawn))
        out[f"default/{name}/weights"], out[f"default/{name}/biases"] = weights, biases

    names = "lstm", "input", "recurrent", "forget"
    out.update({f"default/{name}": [] for name in names})
    for seed in range(SEEDS):
        keras.utils.set_random_seed(seed)
        model = last_state()
        dx = gradients(model, data["default/sequence"], label)[2][0]
        W, U, b = map(ops.convert_to_numpy, model.layers[0].weights[:3])
        out["default/lstm"].append([size(step) for step in dx])
        out["default/input"].append(FEATURES * W.var())
        out["default/recurrent"].append(UNITS * U.var())
        out["default/forget"].append(b[UNITS : 2 * UNITS].mean())
    return out


def conventions():
    """Where frameworks differ, measured."""
    one = np.ones((1, 1), np.float32)
    return {
        "leaky_slope": -float(layers.LeakyReLU()(-one)[0, 0]),
        "gelu": float(keras.activations.gelu(one)[0, 0]),
        "batchnorm_epsilon": layers.BatchNormalization().epsilon,
        "layernorm_epsilon": layers.LayerNormalization().epsilon,
    }


if __name__ == "__main__":
    data = dict(np.load(sys.argv[1]))
    out = shared_weights(data)
    if BACKEND == "torch":  # one is enough: all draw from the same distributions
        out |= defaults(data)
    package = "tensorflow-cpu" if BACKEND == "tensorflow" else BACKEND
    versions = {"keras": keras.__version__, BACKEND: version(package)}
    out |= {f"convention/{name}": value for name, value in conventions().items()}
    np.savez(sys.argv[2], versions=json.dumps(versions), **out)
