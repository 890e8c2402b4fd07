"""What PyTorch's hooks cost for the same statistics: a step with hooks over the bare one.

PyTorch is an extra: `pip install torch --index-url https://download.pytorch.org/whl/cpu`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from timing import ratio


def training_step(
    depth: int, width: int, batch: int, *, hooked: bool
) -> Callable[[], Any]:
    """An SGD step of a tanh network; with `hooked` it also collects what a `Profile` holds."""
    import torch

    torch.manual_seed(0)
    sizes = [784, *[width] * depth]
    layers: list[Any] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers.append(
            torch.nn.Sequential(torch.nn.Linear(fan_in, fan_out), torch.nn.Tanh())
        )
    model = torch.nn.Sequential(*layers, torch.nn.Linear(width, 10))
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

    def step() -> Any:
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

    return step


def overheads(shapes: list[tuple[int, int]], batch: int) -> Iterator[tuple[str, float]]:
    """A name and the ratio, for each (depth, width). Raises ModuleNotFoundError without PyTorch."""
    for depth, width in shapes:
        hooked, bare = (
            training_step(depth, width, batch, hooked=flag) for flag in (True, False)
        )
        yield f"depth {depth:,} width {width}", ratio(hooked, bare)
