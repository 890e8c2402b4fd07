"""Many devices, and many hosts: what one device computes, up to the order of a sum.

A process cannot change how many devices it has, so `python tests/book/test_scale.py` does the work
in processes of its own: once in one with eight simulated devices, once in two with one each.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.sharding import Mesh

import vgutils as vg
from pipeline import scale, train
from vgutils.training import cross_entropy

ROOT = Path(__file__).resolve().parents[2]
BATCH = 64
RECIPE = train.Recipe(width=16, depth=1, batch_size=BATCH, noise=0.0)


def work(process: int, port: int) -> None:
    """What each process checks; with a port, there are two of them."""
    if port:
        jax.distributed.initialize(
            f"127.0.0.1:{port}", num_processes=2, process_id=process
        )
    one, many = Mesh(np.array(jax.local_devices()[:1]), (scale.AXIS,)), scale.mesh()
    assert many.size == (2 if port else 8)
    assert jax.process_count() == (2 if port else 1)
    a_step_of_training(one, many)
    a_sweep(many)
    if not port:
        a_chapters_own_code(many)
    print("done")


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(BATCH, 784)).astype(np.float32)
    return x, rng.integers(0, 10, BATCH, dtype=np.int32)


def a_step_of_training(one: Mesh, many: Mesh) -> None:
    graph, state, update = train.build(RECIPE)

    def step(over):
        placed = scale.copy(state, over), *scale.split(data(), over)
        program = update.lower(*placed).compile()
        after, loss = program(*placed)
        return train.flat(after), float(loss), "all-reduce" in program.as_text()

    (expected, loss, alone), (got, loss_of_many, together) = step(one), step(many)
    assert together, "the devices do not exchange their gradients"
    assert not alone

    # Both are off by rounding only: each value goes through these sums forward, back and over the
    # batch, and a sum is off by eps for each of its terms, times their size.
    width = RECIPE.width
    sums = (784 + width) + (10 + width) + BATCH
    bound = sums * np.finfo(np.float32).eps
    assert abs(loss_of_many - loss) <= bound * loss

    def slopes(x, y):
        return jax.grad(lambda w: cross_entropy(nnx.merge(graph, w), x[None], y[None]))(
            state["weights"]
        )

    each = jax.jit(jax.vmap(slopes))(*data())
    norms = jax.tree.map(
        lambda g: float(jnp.sqrt((g**2).reshape(BATCH, -1).sum(1)).mean()), each
    )
    sizes = {
        jax.tree_util.keystr(path, simple=True, separator="."): norm
        for path, norm in jax.tree_util.tree_leaves_with_path(norms)
    }
    for name, size in sizes.items():
        slope = [result[f"slots.0.trace.{name}"] for result in (got, expected)]
        assert np.linalg.norm(slope[0] - slope[1]) <= bound * size, name
        weight = [result[f"weights.{name}"] for result in (got, expected)]
        stored = np.finfo(np.float32).eps * np.linalg.norm(weight[1])
        allowed = RECIPE.learning_rate * bound * size + stored
        assert np.linalg.norm(weight[0] - weight[1]) <= allowed, name
    np.testing.assert_array_equal(got["key"], expected["key"])


def a_sweep(many: Mesh) -> None:
    def experiment(rate, key):
        """The norm of a signal at each of 20 layers whose weights are all positive."""
        w = jax.random.uniform(key, (5, 5))

        def layer(h, _):
            h = w @ h / 2 + rate
            return h, jnp.sqrt(jnp.sum(h**2))

        return jax.lax.scan(layer, jnp.ones(5), None, 20)[1]

    # Nothing cancels, so a relative error grows by no more than eps with each of the operations:
    # five terms, a division and an addition a layer, and the norm. Only their order may differ.
    bound = (20 * 7 + 7) * np.finfo(np.float32).eps
    for count in (11, 3):  # Neither divides by the devices.
        rates = jnp.linspace(0.01, 0.1, count)
        settings = rates, jax.random.split(jax.random.key(0), count)
        got = vg.sweep(experiment, *settings)
        expected = jax.jit(jax.vmap(experiment))(*settings)
        assert got.shape == (count, 20)
        np.testing.assert_allclose(got, expected, rtol=bound)
        assert len(got.sharding.device_set) == many.size


def a_chapters_own_code(many: Mesh) -> None:
    """`vg.train` as it is, on data that is split."""
    x, y = data()
    model = vg.MLP(784, 16, 1, 10, "relu", rngs=nnx.Rngs(0))
    _, expected = vg.train(model, optax.sgd(0.1), x, y, steps=1)
    trained, got = vg.train(model, optax.sgd(0.1), *scale.split((x, y), many), steps=1)
    bound = (784 + 16 + BATCH) * np.finfo(np.float32).eps
    np.testing.assert_allclose(got.loss, expected.loss, rtol=bound)
    assert len(jax.tree.leaves(nnx.state(trained))[0].sharding.device_set) == 8


def start(process: int, port: int, devices: int) -> subprocess.Popen:
    flags = f"--xla_force_host_platform_device_count={devices}"
    environment = {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, __file__, str(process), str(port)],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(processes: list[subprocess.Popen]) -> list[str]:
    """What they said; none outlives this call."""
    try:
        return [process.communicate(timeout=150)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.slow
def test_eight_devices_compute_what_one_does():
    process = start(0, 0, devices=8)
    (said,) = finish([process])
    assert process.returncode == 0, said


@pytest.mark.slow
def test_two_processes_compute_what_one_does():
    for _ in range(3):
        # Free now; another program may take it before we do, so there is another try.
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        processes = [start(number, port, devices=1) for number in range(2)]
        said = finish(processes)
        if not any("address already in use" in words.lower() for words in said):
            break
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)


def test_a_batch_that_does_not_divide_is_named():
    over = type("EightDevices", (), {"size": 8})()
    with pytest.raises(ValueError, match="a multiple of the 8 devices, got 12"):
        scale.split(np.zeros((12, 3)), over)


if __name__ == "__main__":
    work(*map(int, sys.argv[1:]))
