"""What a program costs, as XLA counts it: operations, traffic, memory. Nothing is executed.

XLA counts the body of a loop once, however often it runs: what is inside `lax.scan`, `while_loop`
or `fori_loop` needs its trip count multiplied in, or the loop written out (`unroll=True`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax


@dataclasses.dataclass(frozen=True)
class Cost:
    """The counts of one compiled program.

    Attributes:
        flops: Floating-point operations of the program as written, as `flops` gives them.
        transcendentals: exp, log, tanh and their like, which are not among the FLOPs: one for each
            element.
        bytes_accessed: Bytes that the optimized program's operations read and write; what a fused
            group hands on inside itself is not among them.
        memory_bytes: What the program holds: arguments, results and scratch; an argument that is
            donated to a result counts once. None where the backend does not say.
        program: The compiled program; call it with arguments of the same shapes.
    """

    flops: float
    transcendentals: float
    bytes_accessed: float
    memory_bytes: int | None
    program: Callable[..., Any] = dataclasses.field(repr=False, compare=False)


def flops(function: Callable[..., Any], *arguments: Any) -> float:
    """Count the floating-point operations of a function as written, without compiling it.

    The same number on every machine: what XLA fuses or leaves out later is counted as it stands.

    Args:
        function: Pure, as `jax.jit` takes it, or jitted already. Of an NNX module, pass the state
            that `nnx.split` gives, and merge inside.
        *arguments: Pytrees of arrays or `jax.ShapeDtypeStruct`s: only shapes and dtypes count.

    Raises:
        TypeError: `function` is not callable, or an argument is not an array.

    Example:
        >>> flops(jnp.matmul, jnp.ones((64, 128)), jnp.ones((128, 10)))  # 2 · 64 · 128 · 10
        163840.0
    """
    return _counts(_lower(function, arguments)).get("flops", 0.0)


def cost(function: Callable[..., Any], *arguments: Any) -> Cost:
    """Compile a function and read all its costs.

    Args, raises: as for `flops`.
    """
    lowered = _lower(function, arguments)
    compiled = lowered.compile()
    written, optimized = _counts(lowered), _counts(compiled)
    memory: Any = compiled.memory_analysis()
    return Cost(
        flops=written.get("flops", 0.0),
        transcendentals=written.get("transcendentals", 0.0),
        bytes_accessed=optimized.get("bytes accessed", 0.0),
        memory_bytes=None
        if memory is None
        else memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes,
        program=compiled,
    )


def _lower(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    if not callable(function):
        raise TypeError(f"function must be callable, got {function!r}")
    jitted: Any = function if hasattr(function, "lower") else jax.jit(function)
    return jitted.lower(*arguments)


def _counts(stage: Any) -> dict[str, float]:
    """The counts by name: some versions of JAX give a list of them, a backend may give none."""
    analysis = stage.cost_analysis()
    if isinstance(analysis, list):
        analysis = analysis[0] if analysis else None
    return dict(analysis or {})
