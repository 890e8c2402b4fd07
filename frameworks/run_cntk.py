"""CNTK 2.7 on Python 3.6: `python run_cntk.py in.npz out.npz`.

`vgutils.frameworks` says what is in them. LD_LIBRARY_PATH must have the libraries that `mpi_stub.c`
stands for.
"""

import json
import os
import sys
import warnings

sys.setdlopenflags(os.RTLD_LAZY)  # what is never called need not be found
warnings.simplefilter("ignore")

import cntk as C  # noqa: E402
import numpy as np  # noqa: E402

ACTIVATIONS = {"sigmoid": C.sigmoid, "tanh": C.tanh, "relu": C.relu}
SEEDS, DEPTH, WIDTH, FEATURES, UNITS, CLASSES = 5, 20, 64, 8, 32, 10


def mlp(activation):
    hidden = [C.layers.Dense(WIDTH, activation) for _ in range(DEPTH)]
    layers = [*hidden, C.layers.Dense(CLASSES)]
    x = C.input_variable(WIDTH, needs_gradient=True)
    return layers, C.layers.Sequential(layers)(x)


def last_state():
    """An LSTM that is read at its last step."""
    x = C.sequence.input_variable(FEATURES, needs_gradient=True)
    cell, readout = C.layers.LSTM(UNITS), C.layers.Dense(CLASSES)
    return cell, readout, readout(C.sequence.last(C.layers.Recurrence(cell)(x)))


def residual(data):
    """From arrays: kernels are (out, in, 3, 3), images (channels, height, width)."""
    p = {}

    def parameter(name, value):
        p[name] = C.parameter(value.shape, init=np.ascontiguousarray(value))
        return p[name]

    def convolve(h, name):
        kernel = parameter(name, data["res/" + name].transpose(3, 2, 0, 1))
        return C.convolution(kernel, h, auto_padding=[False, True, True])

    x = C.input_variable((3, 8, 8), needs_gradient=True)
    h = convolve(x, "stem")
    for i in range(sum(name.startswith("res/K") for name in data)):
        if i % 2 == 0:
            skip = h
        gamma = parameter(f"gamma{i}", data[f"res/gamma{i}"])
        beta = parameter(f"beta{i}", data[f"res/beta{i}"])
        averages = [C.constant(0.0, gamma.shape) for _ in range(2)]
        count = C.constant(0.0)
        h = C.batch_normalization(
            h, gamma, beta, *averages, spatial=True, epsilon=1e-5, running_count=count
        )
        h = convolve(C.tanh(h), f"K{i}")
        h = h + skip if i % 2 else h
    pooled = C.reduce_mean(h, axis=(1, 2))
    V, c = (parameter(name, data["res/" + name]) for name in "Vc")
    return p, C.times(C.reshape(pooled, 16), V) + c


def gradients(logits, x, y, parameters):
    """The loss, and its gradients: for each parameter, by name, and for the input."""
    one_hot = C.input_variable(CLASSES)
    loss = C.cross_entropy_with_softmax(logits, one_hot)
    (inputs,) = logits.arguments
    feed = {inputs: x, one_hot: np.eye(CLASSES, dtype=np.float32)[y]}
    by, losses = loss.grad(feed, wrt=[*parameters.values(), inputs], outputs=[loss])
    grads = {
        name: by[v] / len(y) for name, v in parameters.items()
    }  # of the batch's sum
    return np.mean(losses), grads, np.asarray(by[inputs]) / len(y)


def size(gradient):
    return np.linalg.norm(np.asarray(gradient, np.float64))


def shared_weights(data):
    """The same weights and batch as everybody."""
    out = {}

    def run(network, logits, parameters, x):
        y = data[network + "/y"]
        loss, grads, dx = gradients(logits, x, y, parameters)
        out[network + "/loss"] = loss
        out.update({network + "/" + name: value for name, value in grads.items()})
        return dx

    layers, logits = mlp(C.sigmoid)
    p = {}
    for i, layer in enumerate(layers):
        p[f"W{i}"], p[f"b{i}"] = layer.W, layer.b
    for name, parameter in p.items():
        parameter.value = data["mlp/" + name]
    run("mlp", logits, p, data["mlp/x"])

    def reorder(array):
        """Our gates i, f, g, o as i, g, f, o, and back."""
        i, second, third, o = np.split(array, 4, axis=-1)
        return np.concatenate([i, third, second, o], axis=-1)

    cell, readout, logits = last_state()
    p = {"W": cell.W, "U": cell.H, "b": cell.b, "V": readout.W, "c": readout.b}
    for name, parameter in p.items():
        value = data["lstm/" + name]
        parameter.value = reorder(value) if name in "WUb" else value
    out["lstm/x"] = run("lstm", logits, p, data["lstm/x"])
    for name in "WUb":
        out["lstm/" + name] = reorder(out["lstm/" + name])

    p, logits = residual(data)
    run("res", logits, p, data["res/x"].transpose(0, 3, 1, 2).copy())
    for name in p:
        if name == "stem" or name.startswith("K"):
            out["res/" + name] = out["res/" + name].transpose(2, 3, 1, 0)
    return out


def defaults(data):
    """What CNTK draws by itself: norms of gradients of one example, and fan_in * variance.

    Without `set_fixed_random_seed`: it gives the same weights to all layers of one shape.
    """
    label = np.zeros(1, int)
    out = {"default/dense": []}
    for name, activation in ACTIVATIONS.items():
        weights, biases = [], []
        for _ in range(SEEDS):
            layers, logits = mlp(activation)
            p = {
                (i, leaf): getattr(layer, leaf)
                for i, layer in enumerate(layers)
                for leaf in "Wb"
            }
            grads = gradients(logits, data["default/x"], label, p)[1]
            weights.append([size(grads[i, "W"]) for i in range(DEPTH + 1)])
            biases.append([size(grads[i, "b"]) for i in range(DEPTH + 1)])
            if name == "sigmoid":
                drawn = [layer.W.value for layer in layers[:-1]]
                out["default/dense"].append(WIDTH * np.var(drawn))
        out[f"default/{name}/weights"] = weights
        out[f"default/{name}/biases"] = biases

    names = "lstm", "input", "recurrent", "forget"
    out.update({"default/" + name: [] for name in names})
    for _ in range(SEEDS):
        cell, readout, logits = last_state()
        p = {"V": readout.W}
        dx = gradients(logits, data["default/sequence"], label, p)[2][0]
        out["default/lstm"].append([size(step) for step in dx])
        out["default/input"].append(FEATURES * cell.W.value.var())
        out["default/recurrent"].append(UNITS * cell.H.value.var())
        out["default/forget"].append(cell.b.value[2 * UNITS : 3 * UNITS].mean())
    return out


def conventions():
    """Where frameworks differ, measured."""
    x = C.input_variable(1, needs_gradient=True)
    one = np.ones((1, 1), np.float32)
    return {
        "leaky_slope": -C.leaky_relu(x).eval({x: -one}).item(),
        "relu_slope_at_0": np.asarray(C.relu(x).grad({x: 0 * one})).item(),
    }


if __name__ == "__main__":
    data = dict(np.load(sys.argv[1]))
    out = dict(shared_weights(data), **defaults(data))
    versions = {"cntk": C.__version__, "numpy": np.__version__}
    out.update({f"convention/{name}": value for name, value in conventions().items()})
    np.savez(sys.argv[2], versions=json.dumps(versions), **out)
