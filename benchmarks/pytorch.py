"""PyTorch's side of a comparison: eager steps, bare or with hooks for the same statistics.

A process of its own, with the interpreter that has PyTorch (`beside.py` starts it): for each line
of input, `["step", {"depth": 10, ...}]`, it does that work once and answers "done".
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any


def network(sizes: list[int]) -> tuple[Any, list[Any]]:
    """A tanh network with a linear readout, and its hidden layers."""
    import torch

    layers: list[Any] = [
        torch.nn.Sequential(torch.nn.Linear(fan_in, fan_out), torch.nn.Tanh())
        for fan_in, fan_out in itertools.pairwise(sizes[:-1])
    ]
    readout = torch.nn.Linear(sizes[-2], sizes[-1])
    return torch.nn.Sequential(*layers, readout), layers


def step(depth: int, width: int, batch: int, hooked: bool) -> Callable[[], Any]:
    """An SGD step of a tanh network; with `hooked` it also collects what a `Profile` holds."""
    import torch

    torch.manual_seed(0)
    model, layers = network([784, *[width] * depth, 10])
    x, y = torch.randn(batch, 784), torch.randint(0, 10, (batch,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    statistics: list[Any] = []

    def forward(module: Any, inputs: Any, output: Any) -> None:
        statistics.append(torch.stack([output.detach().mean(), output.detach().std()]))

    def backward(module: Any, inputs: Any, outputs: Any) -> None:
        statistics.append(outputs[0].norm())

    if hooked:
        for layer in layers:
            layer.register_forward_hook(forward)
            layer.register_full_backward_hook(backward)

    def run() -> Any:
        statistics.clear()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(x), y)
        loss.backward()
        if hooked:
            statistics.extend(
                torch.stack([weight.grad.norm(), weight.detach().norm()])
                for weight in model.parameters()
            )
        optimizer.step()
        return float(loss)

    return run


def sweep(networks: int, steps: int, batch: int, threads: int) -> Callable[[], Any]:
    """All steps of many small networks, one network after another: a loop, as eager code has it."""
    import torch

    torch.manual_seed(0)
    x = torch.randn(256, 16)
    y = (x[:, 0] > 0).long()
    models = [network([16, 16, 16, 16, 16, 2])[0] for _ in range(networks)]

    def run() -> Any:
        torch.set_num_threads(threads)
        losses = []
        for model in models:
            optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
            for _ in range(steps):
                chosen = torch.randint(0, len(x), (batch,))
                optimizer.zero_grad()
                loss = torch.nn.functional.cross_entropy(model(x[chosen]), y[chosen])
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
        return float(torch.stack(losses).sum())

    return run


WORKS: dict[str, Callable[..., Callable[[], Any]]] = {"step": step, "sweep": sweep}


def main() -> None:
    """Answer requests until there are no more; with as many threads as cores if none are named."""
    import torch

    @cache
    def prepared(request: str) -> Callable[[], Any]:
        name, options = json.loads(request)
        return WORKS[name](**options)

    for request in sys.stdin:
        run = prepared(request)
        torch.set_num_threads(os.cpu_count() or 1)
        run()
        print("done", flush=True)


if __name__ == "__main__":
    main()
