"""PyTorch: `python run_torch.py in.npz out.npz`; `vgutils.frameworks` says what is in them."""

import json
import sys

import numpy as np
import torch
from torch import nn

ACTIVATIONS = {"sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU}
SEEDS, DEPTH, WIDTH, FEATURES, UNITS, CLASSES = 5, 20, 64, 8, 32, 10


def mlp(activation):
    layers = []
    for _ in range(DEPTH):
        layers += [nn.Linear(WIDTH, WIDTH), activation()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, CLASSES))


class LastState(nn.Module):
    """An LSTM that is read at its last step."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(FEATURES, UNITS, batch_first=True)
        self.readout = nn.Linear(UNITS, CLASSES)

    def forward(self, x):
        return self.readout(self.rnn(x)[0][:, -1])


class Residual(nn.Module):
    def __init__(self, count=16, channels=16):
        super().__init__()
        plain = {"kernel_size": 3, "padding": "same", "bias": False}
        self.stem = nn.Conv2d(3, channels, **plain)
        self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(count))
        convs = (nn.Conv2d(channels, channels, **plain) for _ in range(count))
        self.convs = nn.ModuleList(convs)
        self.readout = nn.Linear(channels, CLASSES)

    def forward(self, x):
        h = self.stem(x)
        for i, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            if i % 2 == 0:
                skip = h
            h = conv(torch.tanh(norm(h))) + (skip if i % 2 else 0)
        return self.readout(h.mean(dim=(2, 3)))


def gradients(model, x, y):
    """The loss, and its gradients: for each parameter, by name, and for the input."""
    x = torch.tensor(x, requires_grad=True)
    loss = nn.functional.cross_entropy(model(x), torch.tensor(y, dtype=torch.long))
    loss.backward()
    grads = {name: p.grad.numpy() for name, p in model.named_parameters()}
    return loss.item(), grads, x.grad.numpy()


def size(gradient):
    return np.linalg.norm(gradient.astype(np.float64))


def shared_weights(data):
    """The same weights and batch as everybody."""
    out = {}

    def run(network, model, weights, x):
        state = {name: torch.tensor(value) for name, value in weights.items()}
        model.load_state_dict(state, strict=False)  # BatchNorm's averages stay
        y = data[f"{network}/y"]
        out[f"{network}/loss"], grads, dx = gradients(model, x, y)
        return grads, dx

    weights = {}
    for i in range(DEPTH + 1):  # a linear layer has its weights as (out, in)
        weights[f"{2 * i}.weight"] = data[f"mlp/W{i}"].T
        weights[f"{2 * i}.bias"] = data[f"mlp/b{i}"]
    grads, _ = run("mlp", mlp(nn.Sigmoid), weights, data["mlp/x"])
    for i in range(DEPTH + 1):
        out[f"mlp/W{i}"] = grads[f"{2 * i}.weight"].T
        out[f"mlp/b{i}"] = grads[f"{2 * i}.bias"]

    weights = {
        "rnn.weight_ih_l0": data["lstm/W"].T,  # the gates are i, f, g, o here, too
        "rnn.weight_hh_l0": data["lstm/U"].T,
        "rnn.bias_ih_l0": data["lstm/b"],
        "rnn.bias_hh_l0": np.zeros_like(data["lstm/b"]),  # a second bias
        "readout.weight": data["lstm/V"].T,
        "readout.bias": data["lstm/c"],
    }
    grads, out["lstm/x"] = run("lstm", LastState(), weights, data["lstm/x"])
    out["lstm/W"] = grads["rnn.weight_ih_l0"].T
    out["lstm/U"] = grads["rnn.weight_hh_l0"].T
    out["lstm/b"] = grads["rnn.bias_ih_l0"]
    out["lstm/V"], out["lstm/c"] = grads["readout.weight"].T, grads["readout.bias"]

    model = (
        Residual()
    )  # images are (batch, channels, height, width), kernels (out, in, 3, 3)
    weights = {
        "stem.weight": data["res/stem"].transpose(3, 2, 0, 1),
        "readout.weight": data["res/V"].T,
        "readout.bias": data["res/c"],
    }
    for i in range(len(model.convs)):
        weights[f"convs.{i}.weight"] = data[f"res/K{i}"].transpose(3, 2, 0, 1)
        weights[f"norms.{i}.weight"] = data[f"res/gamma{i}"]
        weights[f"norms.{i}.bias"] = data[f"res/beta{i}"]
    grads, _ = run("res", model, weights, data["res/x"].transpose(0, 3, 1, 2))
    out["res/stem"] = grads["stem.weight"].transpose(2, 3, 1, 0)
    out["res/V"], out["res/c"] = grads["readout.weight"].T, grads["readout.bias"]
    for i in range(len(model.convs)):
        out[f"res/K{i}"] = grads[f"convs.{i}.weight"].transpose(2, 3, 1, 0)
        out[f"res/gamma{i}"] = grads[f"norms.{i}.weight"]
        out[f"res/beta{i}"] = grads[f"norms.{i}.bias"]
    return out


def defaults(data):
    """What PyTorch draws by itself: norms of gradients of one example, and fan_in · variance."""
    label = np.zeros(1, int)
    out = {"default/dense": []}
    for name, activation in ACTIVATIONS.items():
        weights, biases = [], []
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            net = mlp(activation)
            grads = gradients(net, data["default/x"], label)[1]
            weights.append([size(g) for k, g in grads.items() if "weight" in k])
            biases.append([size(g) for k, g in grads.items() if "bias" in k])
            if name == "sigmoid":
                drawn = torch.stack([layer.weight for layer in net[:-1:2]])
                out["default/dense"].append(WIDTH * drawn.var().item())
        out[f"default/{name}/weights"], out[f"default/{name}/biases"] = weights, biases

    names = "lstm", "input", "recurrent", "forget"
    out.update({f"default/{name}": [] for name in names})
    for seed in range(SEEDS):
        torch.manual_seed(seed)
        model = LastState()
        rnn = model.rnn
        dx = gradients(model, data["default/sequence"], label)[2][0]
        forget = rnn.bias_ih_l0[UNITS : 2 * UNITS] + rnn.bias_hh_l0[UNITS : 2 * UNITS]
        out["default/lstm"].append([size(step) for step in dx])
        out["default/input"].append(FEATURES * rnn.weight_ih_l0.var().item())
        out["default/recurrent"].append(UNITS * rnn.weight_hh_l0.var().item())
        out["default/forget"].append(forget.mean().item())
    return out


def conventions():
    """Where frameworks differ, measured."""
    one = torch.ones(1)
    zero = torch.zeros(1, requires_grad=True)
    torch.relu(zero).backward()
    return {
        "leaky_slope": -nn.LeakyReLU()(-one).item(),
        "gelu": nn.GELU()(one).item(),
        "relu_slope_at_0": zero.grad.item(),
        "batchnorm_epsilon": nn.BatchNorm1d(1).eps,
        "layernorm_epsilon": nn.LayerNorm(1).eps,
    }


if __name__ == "__main__":
    data = dict(np.load(sys.argv[1]))
    out = {**shared_weights(data), **defaults(data)}
    versions = {"torch": torch.__version__}
    out |= {f"convention/{name}": value for name, value in conventions().items()}
    np.savez(sys.argv[2], versions=json.dumps(versions), **out)
