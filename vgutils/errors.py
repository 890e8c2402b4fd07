"""Checks of arguments: one clear error before anything is traced."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Iterable
from typing import Any

import numpy as np


def integer(name: str, value: Any, *, minimum: int) -> int:
    """Return `value` as an int of at least `minimum`.

    Raises:
        TypeError: `value` is not an integer (booleans are not).
        ValueError: `value` is below `minimum`.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < minimum:
        raise ValueError(f"{name} must be at least {minimum}, got {value}")
    return int(value)


def number(
    name: str,
    value: Any,
    *,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    strict: bool = False,
) -> float:
    """Return `value` as a finite float between `minimum` and `maximum`.

    Args:
        name: The argument's name, for the message.
        value: A real number.
        minimum: The smallest value accepted.
        maximum: The largest value accepted.
        strict: Refuse `minimum` itself too.

    Raises:
        TypeError: `value` is not a real number.
        ValueError: `value` is not finite or outside the range.
    """
    if isinstance(value, bool | str | bytes) or np.ndim(value) != 0:
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        result = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    above = result > minimum if strict else result >= minimum
    if not (math.isfinite(result) and above and result <= maximum):
        bounds = (
            [f"{'above' if strict else 'at least'} {minimum:g}"]
            if minimum > -math.inf
            else []
        )
        bounds += [f"at most {maximum:g}"] if maximum < math.inf else []
        raise ValueError(
            f"{name} must be {' and '.join(['finite', *bounds])}, got {value}"
        )
    return result


def one_of(name: str, value: Any, accepted: Iterable[str]) -> str:
    """Return `value` if it is among `accepted`.

    Raises:
        TypeError: `value` is not a string.
        ValueError: `value` is unknown; the message lists what is accepted, the nearest first.
    """
    known = list(accepted)
    if not isinstance(value, str):
        raise TypeError(
            f"{name} must be one of the names {', '.join(known)}, got {value!r}"
        )
    if value not in known:
        near = difflib.get_close_matches(value, known, n=1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(
            f"{name} must be one of {', '.join(known)}; got {value!r}{hint}"
        )
    return value


def array(
    name: str,
    value: Any,
    *,
    ndim: int | None = None,
    floating: bool = False,
    finite: bool = True,
) -> Any:
    """Return `value`, a non-empty numeric array, after checking it.

    Values inside a JAX trace cannot be looked at: only their shape and dtype are checked then.

    Args:
        name: The argument's name, for the message.
        value: Anything with a shape and a dtype, or nested lists of numbers.
        ndim: The number of axes it must have.
        floating: Refuse integers and booleans.
        finite: Refuse NaN and infinity (where the values are known).

    Raises:
        TypeError: The dtype is not accepted.
        ValueError: The array is empty, has another number of axes, or is not finite.
    """
    # Imported here: the message-only checks above must not load JAX.
    import jax
    import jax.numpy as jnp

    result = value if isinstance(value, jax.Array) else np.asarray(value)
    accepted = jnp.floating if floating else jnp.number
    if not (
        jnp.issubdtype(result.dtype, accepted)
        or (not floating and result.dtype == bool)
    ):
        kind = "floating-point" if floating else "numeric"
        raise TypeError(f"{name} must be a {kind} array, got dtype {result.dtype}")
    if ndim is not None and result.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} axes, got shape {result.shape}")
    if result.size == 0:
        raise ValueError(f"{name} must not be empty, got shape {result.shape}")
    if finite and not isinstance(result, jax.core.Tracer):
        bad = int(np.sum(~np.isfinite(np.asarray(result, dtype=np.float64))))
        if bad:
            raise ValueError(
                f"{name} must be finite, got {bad} values that are NaN or infinite"
            )
    return result
