"""Weak scaling: what a step costs when each further device brings its own examples.

`python benchmarks/scaling.py` takes simulated devices, which share the cores of one machine: with
two cores, nothing can be gained beyond two of them, and less than that where XLA already uses both
cores for one. What the table shows there is the price of splitting, beside the work itself.
On a machine with real accelerators `--real` takes those.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

SIMULATED = 8
EXAMPLES = 256
"""Of each device."""


def ratios(repeats: int) -> list[tuple[int, float, float]]:
    """For 1, 2, 4, ... devices: the time of a step over that of one device.

    Returns:
        Devices; the ratio when the batch grows with them (1 would be perfect); and the ratio of
        that step on all the devices over the same batch on one of them (what splitting brings).
    """
    import jax
    import numpy as np
    from jax.sharding import Mesh
    from timing import ratio

    from pipeline import scale, train

    _, state, update = train.build(train.Recipe(width=256))
    rng = np.random.default_rng(0)

    def step(devices: int, examples: int) -> Callable[[], Any]:
        over = Mesh(np.array(jax.devices()[:devices]), (scale.AXIS,))
        x = rng.normal(size=(examples, 784)).astype(np.float32)
        y = rng.integers(0, 10, examples, dtype=np.int32)
        placed = scale.copy(state, over), *scale.split((x, y), over)
        return lambda: update(*placed)

    one = step(1, EXAMPLES)
    counts = [2**i for i in range(len(jax.devices()).bit_length())]
    table = []
    for count in counts:
        spread, whole = step(count, count * EXAMPLES), step(1, count * EXAMPLES)
        table.append(
            (count, ratio(spread, one, repeats), ratio(spread, whole, repeats))
        )
    return table


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--real", action="store_true", help="the devices there are")
    parser.add_argument("--repeats", type=int, default=15, help="pairs of runs a ratio")
    options = parser.parse_args(arguments)
    if not options.real:  # Before JAX looks for devices.
        flags = f"--xla_force_host_platform_device_count={SIMULATED}"
        os.environ |= {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    sys.path.insert(0, str(Path(__file__).parents[1]))
    table = ratios(options.repeats)
    print("devices  examples  step over 1 device's  over the same batch on 1 device")
    for devices, grown, same in table:
        print(f"{devices:7}  {devices * EXAMPLES:8}  {grown:20.2f}  {same:31.2f}")
    if not options.real:
        print(
            f"Simulated devices share {os.cpu_count()} cores: this shows the price of splitting, "
            "and cannot show a gain."
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
