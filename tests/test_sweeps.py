"""A sweep against a loop, on one device and on four."""

from __future__ import annotations

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vgutils as vg


def test_a_sweep_equals_a_loop():
    sigmas, keys = jnp.linspace(1, 2, 5), jax.random.split(jax.random.key(0), 5)

    def experiment(setting, key):
        noise = jax.random.normal(key, (3,))
        return {"sum": setting["sigma"] * noise.sum(), "noise": noise}

    got = vg.sweep(experiment, {"sigma": sigmas}, keys)
    for index in range(5):
        alone = experiment({"sigma": sigmas[index]}, keys[index])
        jax.tree.map(
            lambda a, b, i=index: np.testing.assert_allclose(a[i], b, rtol=1e-6),
            got,
            alone,
        )


FOUR = """
import jax, jax.numpy as jnp
import vgutils as vg
assert len(jax.devices()) == 4
placed, place = [], vg.sweeps.place
vg.sweeps.place = lambda *given: placed.append(place(*given)) or placed[-1]
for size, each in [(8, 2), (6, 2), (5, 2), (3, 1), (1, 1)]:
    result = vg.sweep(lambda s: s**2, jnp.arange(float(size)))
    assert result.tolist() == [i**2 for i in range(size)]
    shards = placed[-1][0].addressable_shards
    assert [len(shard.data) for shard in shards] == [each] * 4, (size, shards)
    assert len({shard.device for shard in shards}) == 4
"""


def test_a_sweep_is_split_over_the_devices():
    flags = "--xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, "-c", FOUR],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: vg.sweep(3, jnp.ones(2)), TypeError, "function must be callable"),
        (lambda: vg.sweep(jnp.sin), ValueError, "one and the same leading axis"),
        (lambda: vg.sweep(jnp.sin, 1.0), ValueError, "one and the same leading axis"),
        (lambda: vg.sweep(jnp.sin, jnp.ones((0, 2))), ValueError, "leading axis"),
        (
            lambda: vg.sweep(jnp.add, jnp.ones(2), jnp.ones(3)),
            ValueError,
            r"got shapes \[\(2,\), \(3,\)\]",
        ),
    ],
)
def test_bad_input_is_named(call, error, message):
    with pytest.raises(error, match=message):
        call()
