"""What a program costs: counts against counting by hand."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

import vgutils as vg
from vgutils import costs


def test_products_are_counted_by_hand():
    a, b = jnp.ones((6, 5)), jnp.ones((5, 4))
    assert vg.flops(jnp.matmul, a, b) == 2 * 6 * 5 * 4
    assert vg.flops(lambda a, b: a @ b + 1, a, b) == 2 * 6 * 5 * 4 + 6 * 4


def test_shapes_are_enough():
    shape = jax.ShapeDtypeStruct((6, 6), jnp.float32)
    assert vg.flops(jnp.matmul, shape, shape) == 2 * 6**3


def test_a_program_without_operations():
    assert vg.flops(jnp.transpose, jnp.ones((2, 3))) == 0


def test_exponentials_are_counted_apart():
    counted = vg.cost(jnp.exp, jnp.ones((3, 7)))
    assert (counted.flops, counted.transcendentals) == (0, 21)


def test_traffic_and_memory():
    x = jnp.ones((64, 32))
    counted = vg.cost(lambda x: x + 1, x)
    assert counted.bytes_accessed >= 2 * x.nbytes  # read once, written once
    assert counted.memory_bytes is not None
    assert counted.memory_bytes >= 2 * x.nbytes


def test_a_donated_argument_counts_once():
    x = jnp.ones((64, 32))
    kept = vg.cost(lambda x: x + 1, x).memory_bytes
    donated = vg.cost(jax.jit(lambda x: x + 1, donate_argnums=0), x).memory_bytes
    assert kept is not None
    assert donated is not None
    assert kept - donated == x.nbytes


def test_the_program_runs():
    counted = vg.cost(lambda x, y: x - y, jnp.ones(3), jnp.ones(3))
    assert counted.program(jnp.full(3, 5.0), jnp.ones(3)).tolist() == [4, 4, 4]
    assert "program" not in repr(counted)


def test_a_loop_is_counted_once_as_the_docstring_warns():
    def loop(x, unroll):
        return jax.lax.scan(lambda h, _: (h * 3, None), x, None, 10, unroll=unroll)[0]

    x = jnp.ones(1000)
    assert vg.flops(lambda x: loop(x, True), x) == 10_000
    assert vg.flops(lambda x: loop(x, 1), x) < 2_000


def test_a_module_of_nnx_by_its_state():
    graphdef, state = nnx.split(nnx.Linear(5, 4, rngs=nnx.Rngs(0)))
    run = vg.flops(
        lambda state, x: nnx.merge(graphdef, state)(x), state, jnp.ones((6, 5))
    )
    assert run == 2 * 6 * 5 * 4 + 6 * 4


@pytest.mark.parametrize("measure", [vg.flops, vg.cost])
def test_what_cannot_be_called_is_refused(measure):
    with pytest.raises(TypeError, match="function must be callable, got 3"):
        measure(3, jnp.ones(2))
    with pytest.raises(TypeError):
        measure(jnp.sin, "two")


@pytest.mark.parametrize("analysis", [None, [], {}, [{}]])
def test_a_backend_that_says_nothing(analysis, monkeypatch):
    silent = SimpleNamespace(
        cost_analysis=lambda: analysis, memory_analysis=lambda: None
    )
    silent.compile = lambda: silent
    monkeypatch.setattr(costs, "_lower", lambda function, arguments: silent)
    assert vg.flops(jnp.sin) == 0
    assert vg.cost(jnp.sin).memory_bytes is None


def test_a_list_of_one_is_that_one():
    stage = SimpleNamespace(cost_analysis=lambda: [{"flops": 7.0}])
    assert costs._counts(stage) == {"flops": 7.0}
