"""The reference, float64 NumPy with backpropagation by hand: `python reference.py in.npz out.npz`.

`vgutils.frameworks` says what is in them.
"""

import sys

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def cross_entropy(logits, y):
    """The mean loss over the batch, and its gradient with respect to the logits."""
    rows = np.arange(len(y))
    logits = logits - logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    slope = np.exp(log_p)
    slope[rows, y] -= 1
    return -log_p[rows, y].mean(), slope / len(y)


def mlp(p, x, y):
    depth = sum(name.startswith("W") for name in p)
    h = [x]
    for i in range(depth - 1):
        h.append(sigmoid(h[-1] @ p[f"W{i}"] + p[f"b{i}"]))
    loss, dz = cross_entropy(h[-1] @ p[f"W{depth - 1}"] + p[f"b{depth - 1}"], y)
    out = {"loss": loss}
    for i in reversed(range(depth)):
        out[f"W{i}"], out[f"b{i}"] = h[i].T @ dz, dz.sum(axis=0)
        dz = (dz @ p[f"W{i}"].T) * h[i] * (1 - h[i])  # not read below the first layer
    return out


def lstm(p, x, y):
    h = c = np.zeros((len(x), p["U"].shape[0]))
    tape = []
    for t in range(x.shape[1]):
        i, f, g, o = np.split(x[:, t] @ p["W"] + h @ p["U"] + p["b"], 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        tape.append((h, c, i, f, g, o))
        c = f * c + i * g
        h = o * np.tanh(c)
    loss, dlogits = cross_entropy(h @ p["V"] + p["c"], y)
    out = {name: np.zeros_like(p[name]) for name in ("W", "U", "b")}
    out.update(loss=loss, V=h.T @ dlogits, c=dlogits.sum(axis=0), x=np.zeros_like(x))
    dh, dc = dlogits @ p["V"].T, np.zeros_like(c)
    for t in reversed(range(x.shape[1])):
        before, c_before, i, f, g, o = tape[t]
        s = np.tanh(f * c_before + i * g)
        dc = dc + dh * o * (1 - s**2)
        parts = dc * g * i * (1 - i), dc * c_before * f * (1 - f), dc * i * (1 - g**2)
        dz = np.concatenate([*parts, dh * s * o * (1 - o)], axis=1)
        out["W"] += x[:, t].T @ dz
        out["U"] += before.T @ dz
        out["b"] += dz.sum(axis=0)
        out["x"][:, t] = dz @ p["W"].T
        dh, dc = dz @ p["U"].T, dc * f
    return out


def patches(h):
    """The 3 × 3 neighbours of each pixel, zeros outside: (batch, height, width, 3, 3, in)."""
    padded = np.pad(h, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    return np.moveaxis(windows, 3, -1)


def convolve(h, K):
    return np.tensordot(patches(h), K, 3)


def convolve_back(h, K, dz):
    """The gradients of the input, and of the kernel."""
    turned = K[::-1, ::-1].swapaxes(2, 3)
    return convolve(dz, turned), np.tensordot(patches(h), dz, ((0, 1, 2), (0, 1, 2)))


def normalize(h, epsilon=1e-5):
    """BatchNorm before its scale and shift: the normalized values, and 1/deviation."""
    mean, var = h.mean(axis=(0, 1, 2)), h.var(axis=(0, 1, 2))
    return (h - mean) / np.sqrt(var + epsilon), 1 / np.sqrt(var + epsilon)


def residual(p, x, y):
    count = sum(name.startswith("K") for name in p)
    h, tape = convolve(x, p["stem"]), []
    for i in range(count):
        if i % 2 == 0:
            skip = h
        unit, scale = normalize(h)
        a = np.tanh(unit * p[f"gamma{i}"] + p[f"beta{i}"])
        tape.append((unit, scale, a))
        h = convolve(a, p[f"K{i}"])
        h = h + skip if i % 2 else h
    loss, dlogits = cross_entropy(h.mean(axis=(1, 2)) @ p["V"] + p["c"], y)
    out = {"loss": loss, "V": h.mean(axis=(1, 2)).T @ dlogits, "c": dlogits.sum(axis=0)}
    dh = (dlogits @ p["V"].T)[:, None, None] / (h.shape[1] * h.shape[2])
    dh = np.broadcast_to(dh, h.shape)
    for i in reversed(range(count)):
        if i % 2:
            dskip = dh
        unit, scale, a = tape[i]
        da, out[f"K{i}"] = convolve_back(a, p[f"K{i}"], dh)
        dz = da * (1 - a**2)
        out[f"gamma{i}"] = (dz * unit).sum(axis=(0, 1, 2))
        out[f"beta{i}"] = dz.sum(axis=(0, 1, 2))
        du = dz * p[f"gamma{i}"]
        along = unit * (du * unit).mean(axis=(0, 1, 2))
        dh = scale * (du - du.mean(axis=(0, 1, 2)) - along)
        dh = dh if i % 2 else dh + dskip
    _, out["stem"] = convolve_back(x, p["stem"], dh)
    return out


def gradients(data):
    """Losses and gradients of all networks in `data`, arrays named `network/name`."""
    out = {}
    for network, run in (("mlp", mlp), ("lstm", lstm), ("res", residual)):
        p = {
            name.split("/")[1]: np.asarray(value, np.float64)
            for name, value in data.items()
            if name.startswith(network + "/")
        }
        y = p.pop("y").astype(int)
        for name, value in run(p, p.pop("x"), y).items():
            out[f"{network}/{name}"] = value
    return out


if __name__ == "__main__":
    np.savez(sys.argv[2], **gradients(dict(np.load(sys.argv[1]))))
