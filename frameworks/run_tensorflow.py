"""TensorFlow without Keras: `python run_tensorflow.py in.npz out.npz`.

`vgutils.frameworks` says what is in them. TensorFlow draws no weights by itself: its layers are
Keras's.
"""

import json
import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before the import

import numpy as np
import tensorflow as tf


def mlp(p, x):
    depth = sum(name.startswith("W") for name in p)
    for i in range(depth - 1):
        x = tf.sigmoid(x @ p[f"W{i}"] + p[f"b{i}"])
    return x @ p[f"W{depth - 1}"] + p[f"b{depth - 1}"]


def lstm(p, x, op=tf.raw_ops.BlockLSTM, order="igfo", **options):
    """Our gates i, f, g, o in the order of `op`."""

    def reorder(kernel):
        gates = dict(zip("ifgo", tf.split(kernel, 4, axis=-1), strict=True))
        return tf.concat([gates[name] for name in order], axis=-1)

    units, x = p["U"].shape[0], tf.transpose(x, (1, 0, 2))  # time first
    none, start = tf.zeros(units), tf.zeros((x.shape[1], units))
    run = op(
        seq_len_max=tf.constant(x.shape[0], tf.int64),
        x=x,
        cs_prev=start,
        h_prev=start,
        w=reorder(tf.concat([p["W"], p["U"]], axis=0)),
        wci=none,  # no peepholes, no clipping
        wcf=none,
        wco=none,
        b=reorder(p["b"]),
        cell_clip=0.0,
        use_peephole=False,
        **options,
    )
    return run.h[-1] @ p["V"] + p["c"]


def lstm_v1(p, x):
    return lstm(
        p, x, forget_bias=0.0
    )  # what it adds to the forget gate; its default is 1


def lstm_v2(p, x):
    return lstm(p, x, tf.raw_ops.BlockLSTMV2, "ifgo")


def residual(p, x):
    h = tf.nn.conv2d(x, p["stem"], strides=1, padding="SAME")
    for i in range(sum(name.startswith("K") for name in p)):
        if i % 2 == 0:
            skip = h
        mean, variance = tf.nn.moments(h, axes=(0, 1, 2))
        shift, scale = p[f"beta{i}"], p[f"gamma{i}"]
        h = tf.nn.batch_normalization(h, mean, variance, shift, scale, 1e-5)
        h = tf.nn.conv2d(tf.tanh(h), p[f"K{i}"], strides=1, padding="SAME")
        h = h + skip if i % 2 else h
    return tf.reduce_mean(h, axis=(1, 2)) @ p["V"] + p["c"]


def gradients(network, p, x, y):
    """The loss, and its gradients: for each parameter, by name, and for the input."""
    with tf.GradientTape() as tape:
        tape.watch((p, x))
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, network(p, x))
        loss = tf.reduce_mean(losses)
    grads, dx = tape.gradient(loss, (p, x))
    return loss, grads, dx


def arrays(data, network):
    p = {
        key.split("/")[1]: tf.constant(value)
        for key, value in data.items()
        if key.startswith(network + "/")
    }
    x, y = p.pop("x"), p.pop("y")
    return p, x, y


def shared_weights(data):
    """The same weights and batch as everybody."""
    out = {}
    for name, network in ("mlp", mlp), ("lstm", lstm_v1), ("res", residual):
        out[f"{name}/loss"], grads, dx = gradients(network, *arrays(data, name))
        out.update({f"{name}/{key}": value for key, value in grads.items()})
        if name == "lstm":
            out["lstm/x"] = dx
    # The second version of the operation, apart: its gradient is not that of its loss.
    out["second/loss"], _, out["second/x"] = gradients(lstm_v2, *arrays(data, "lstm"))
    return {name: value.numpy() for name, value in out.items()}


def conventions():
    """Where frameworks differ, measured."""
    one, zero = tf.constant(1.0), tf.constant(0.0)
    with tf.GradientTape() as tape:
        tape.watch(zero)
        value = tf.nn.relu(zero)
    return {
        "leaky_slope": -tf.nn.leaky_relu(-one).numpy(),
        "gelu": tf.nn.gelu(one).numpy(),
        "relu_slope_at_0": tape.gradient(value, zero).numpy(),
    }


if __name__ == "__main__":
    out = shared_weights(dict(np.load(sys.argv[1])))
    versions = {"tensorflow": tf.__version__}
    out |= {f"convention/{name}": value for name, value in conventions().items()}
    np.savez(sys.argv[2], versions=json.dumps(versions), **out)
