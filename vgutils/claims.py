"""Claims: statements that the book makes and executes.

A claim compares what was measured with what a derivation or a paper says. It shows a card when it
holds and stops the chapter when it does not, so that a page can never say what its code denies.
"""

from __future__ import annotations

import html
import numbers
import operator
import re
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vgutils.html import display_html, inline, plain_number, slug, text, typeset
from vgutils.settings import seed

MIME = "application/vnd.vgutils.claim+json"

_STYLE = (
    ".vg-claim{--vg-tone:var(--vg-good)}.vg-claim.vg-fails{--vg-tone:var(--vg-bad)}"
    ".vg-claim .vg-tag a{float:right;margin-left:1rem;color:var(--vg-soft);text-decoration:none}"
    ".vg-claim p{margin:.15rem 0 .6rem;font-weight:600;line-height:1.4}"
    ".vg-claim dl{display:flex;flex-wrap:wrap;gap:.5rem 1.2rem;margin:0;font-size:.9rem;"
    "line-height:1.4}.vg-claim dl>div{flex:1 1 6.5rem}.vg-claim dl>.vg-wide{flex:2 1 11rem}"
    ".vg-claim dt,.vg-claim small{color:var(--vg-soft);font-weight:400;font-size:.8rem}"
    ".vg-claim dd{margin:0}.vg-claim small{display:block}"
)


class ClaimFailed(AssertionError):
    """A claim does not hold; the message has the statement, measured, expected and tolerance."""


@dataclass(frozen=True)
class Tolerance:
    """How far a measurement may be from an expectation, and where that is derived.

    Made by `rounding`, `sampling`, `relative` or `absolute`, never by hand.

    Attributes:
        value: The largest difference allowed, a number or one for each value compared.
        is_relative: Whether `value` is a fraction of the expectation's magnitude.
        reason: Where `value` comes from.
    """

    value: Any
    is_relative: bool
    reason: str

    def __str__(self) -> str:
        return f"within {_span(np.asarray(self.value), 2)}{', relative' * self.is_relative}"


@dataclass(frozen=True)
class Claim:
    """A claim after its comparison, in words.

    Attributes:
        id: The name of its anchor in the page, `claim-<id>`.
        statement: What is claimed.
        holds: Whether the measurement agrees.
        measured: What was measured.
        expected: What was expected.
        tolerance: How far apart they may be and are; empty for bounds.
        reason: Where the tolerance is derived; empty where there is none.
        source: Where the expectation comes from.
        source_kind: "derivation" or "citation".
        seed: The shift of every seed in this run.
    """

    id: str
    statement: str
    holds: bool
    measured: str
    expected: str
    tolerance: str
    reason: str
    source: str
    source_kind: str
    seed: int

    def to_dict(self) -> dict[str, Any]:
        """Write the claim as it stands in a notebook's output, for the ledger."""
        words = {name: typeset(getattr(self, name)) for name in _NUMERIC}
        return {"version": 1} | asdict(self) | words

    def _ipython_display_(self) -> None:
        """Nothing: the card is on the page when a cell's last line returns its claim."""


_NUMERIC = ("measured", "expected", "tolerance", "reason")


def rounding(
    operations: int, dtype: Any = np.float32, *, scale: float | None = None
) -> Tolerance:
    """Allow the error that rounding alone can make in a chain of floating-point operations.

    Each operation is off by at most u = eps/2 of its result, n of them by γ_n = nu/(1 − nu)
    (Higham, 2002, lemma 3.1), which is below n·eps as long as nu is below 1/2.

    Args:
        operations: How many roundings a value goes through; for a sum, how many terms.
        dtype: The type computed in, also "bfloat16".
        scale: The magnitude of the terms, where they are added and may cancel: the tolerance is
            then absolute, `operations * eps * scale`; without it, a fraction of the expectation.

    Raises:
        TypeError: `operations` is not an integer.
        ValueError: `operations` is below 1, or so large that rounding says nothing.
    """
    import ml_dtypes  # JAX brings it; it knows bfloat16 beside NumPy's types.

    if isinstance(operations, bool) or not isinstance(operations, numbers.Integral):
        raise TypeError(f"operations must be an integer, got {operations!r}")
    resolution = ml_dtypes.finfo(dtype)
    value = float(operations) * float(resolution.eps)
    if not 0 < value < 1:
        raise ValueError(
            f"operations must be at least 1, and below {1 / resolution.eps:.0f} in "
            f"{resolution.dtype}, or rounding alone could explain anything; got {operations}"
        )
    reason = f"rounding: {operations:,} {resolution.dtype} operation{'s' * (operations != 1)}"
    if scale is None:
        return Tolerance(value, True, reason)
    size = _nonnegative("scale", scale)
    return Tolerance(
        value * size, False, f"{reason} on numbers up to {plain_number(size)}"
    )


def sampling(
    samples: Any, z: float = 4.0, *, plus: Any = None, reason: str | None = None
) -> Tolerance:
    """Allow the error that chance makes in a mean of samples, and what theory leaves out.

    Chance exceeds `z` standard errors once in 16,000 runs at z = 4, if the spread is known. Here it
    is estimated from the samples too, so that the limit is Student's, which is just as rare: 5.5
    standard errors for 16 samples, 4.2 for 100 (exact for normal samples).

    Args:
        samples: (n, ...) numbers, one for each seed; n is at least 8, since fewer samples allow
            nearly anything. Compare `samples.mean(0)`.
        z: How many standard errors of a known spread; above 0, at most 10.
        plus: What is allowed beyond chance, a number or one for each mean: how far a law for
            infinite width is from the truth, say.
        reason: Where `plus` comes from ("1/width"); needed with it, and only with it.

    Raises:
        TypeError: `samples` or `plus` are not real numbers, or `reason` is not a string.
        ValueError: There are fewer than 8, some are not finite, `z` is out of range, `plus` is
            negative, not finite or of another shape, or it has no reason.
    """
    from scipy import special  # JAX brings it.

    values = _reals(samples)
    if values is None:
        raise TypeError(f"samples must be real numbers, got {_short(samples)}")
    if values.ndim == 0 or values.shape[0] < 8 or values.size == 0:
        raise ValueError(
            f"samples must be at least 8 on the first axis, got shape {values.shape}"
        )
    if not np.all(np.isfinite(_floats(values))):
        raise ValueError("samples must be finite, got NaN or infinity")
    if not 0 < z <= 10:
        raise ValueError(f"z must be above 0 and at most 10, got {z!r}")
    more = _beyond_chance(plus, reason, values.shape[1:])
    n = values.shape[0]
    tail = special.ndtr(-z)
    limit = -special.stdtrit(n - 1, tail)
    error = limit * _floats(values).std(axis=0, ddof=1) / np.sqrt(n)
    why = f"chance, 1 in {float(f'{0.5 / tail:.2g}'):,.0f}: {limit:.2g} standard errors of {n}"
    return Tolerance(error + more, False, f"{why}, and {reason}" if reason else why)


def _beyond_chance(plus: Any, reason: Any, shape: tuple[int, ...]) -> np.ndarray:
    """What `sampling` allows beyond chance, if it fits and says why."""
    if (plus is None) != (reason is None):
        raise ValueError("plus and reason go together: what is allowed, and why")
    if plus is None:
        return np.zeros(())
    text("reason", reason)
    more = _reals(plus)
    if more is None:
        raise TypeError(f"plus must be real numbers, got {_short(plus)}")
    more = _floats(more)
    if not np.all(np.isfinite(more) & (more >= 0)):
        raise ValueError(f"plus must be finite and at least 0, got {_short(plus)}")
    if more.shape not in ((), shape):
        raise ValueError(
            f"plus must be one number, or of the shape {shape} of the means, got {more.shape}"
        )
    return more


def relative(value: float, reason: str) -> Tolerance:
    """Allow a fraction of the expectation's magnitude, derived as `reason` says ("eq. (4)").

    Raises:
        TypeError: `value` is not a number, or `reason` not a string.
        ValueError: `value` is negative or not below 1 (1 would accept 0), or `reason` is empty.
    """
    fraction = _nonnegative("value", value)
    if fraction >= 1:
        raise ValueError(
            f"a relative tolerance must be below 1, or 0 would pass; got {value!r}"
        )
    return Tolerance(fraction, True, text("reason", reason))


def absolute(value: float, reason: str) -> Tolerance:
    """Allow a largest difference, derived as `reason` says ("the h²/6 of eq. (4)").

    Raises:
        TypeError: `value` is not a number, or `reason` not a string.
        ValueError: `value` is negative or not finite, or `reason` is empty.
    """
    return Tolerance(_nonnegative("value", value), False, text("reason", reason))


def claim(
    statement: str,
    measured: Any,
    *,
    equals: Any = None,
    within: Tolerance | None = None,
    at_most: Any = None,
    at_least: Any = None,
    between: tuple[Any, Any] | None = None,
    source: str,
    id: str | None = None,
) -> Claim:
    """State something, and check it.

    Give exactly one expectation. An array holds only if every element does; an expectation is
    then a scalar or has the shape of the measurement's last axes (one a layer, for all seeds).
    NaN, infinity, an empty array, a shape that does not fit and anything but real numbers fail.

    Args:
        statement: One sentence; `` `code` `` and `*emphasis*` are shown.
        measured: A number or an array, leading axis seeds; a boolean only with `equals`.
        equals: The expected value; exact unless `within` is given.
        within: A derived tolerance: `rounding`, `sampling`, `relative` or `absolute`.
        at_most: The largest value accepted.
        at_least: The smallest value accepted.
        between: The smallest and the largest value accepted.
        source: "derivation: …", or keys of the bibliography separated by commas.
        id: The name of its anchor; otherwise made from the statement.

    Returns:
        The claim, in words.

    Raises:
        ClaimFailed: It does not hold (the card is shown first).
        TypeError: `within` is a bare number, or an argument has the wrong type.
        ValueError: Not exactly one expectation, `within` without `equals`, or a malformed source.

    Example:
        >>> slopes = jax.vmap(jax.grad(jax.nn.sigmoid))(jnp.linspace(-8, 8, 1001))
        >>> claim("σ′ is nowhere above 1/4", slopes, at_most=0.25, source="derivation: eq. (2)")
    """
    statement = text("statement", statement)
    source, kind = _source(source)
    given = {
        "equals": equals,
        "at_most": at_most,
        "at_least": at_least,
        "between": between,
    }
    chosen = [name for name, value in given.items() if value is not None]
    if len(chosen) != 1:
        raise ValueError(
            f"claim needs exactly one of equals, at_most, at_least, between; got {chosen or 'none'}"
        )
    if within is not None and equals is None:
        raise ValueError("within goes with equals only: a bound has no tolerance")
    if within is not None and not isinstance(within, Tolerance):
        raise TypeError(
            "within must be a derived tolerance (rounding, sampling, relative, absolute), got "
            f"{within!r}: a bare number does not say why it is that large"
        )
    if between is not None and (
        not isinstance(between, tuple | list) or len(between) != 2
    ):
        raise TypeError(
            f"between must be two numbers (smallest, largest), got {between!r}"
        )

    problem, gap = _judge(measured, chosen[0], given[chosen[0]], within)
    digits = 9 if problem else 4  # A failure is often a matter of the later digits.
    made = Claim(
        id=slug(statement) if id is None else text("id", id),
        statement=statement,
        holds=not problem,
        measured=_describe(measured, digits),
        expected=_expectation(
            chosen[0], given[chosen[0]], digits, exact=within is None
        ),
        tolerance=f"{within}{gap}" if within else "",
        reason=within.reason if within else "",
        source=source,
        source_kind=kind,
        seed=seed(),
    )
    _show(made, problem)
    if problem:
        raise ClaimFailed(
            "\n".join([f"the claim fails: {made.statement}", *_lines(made, problem)])
        )
    return made


def _judge(
    measured: Any, kind: str, expectation: Any, within: Tolerance | None
) -> tuple[str, str]:
    """Compare, and return why it fails (empty if it holds) and the largest difference in words."""
    if isinstance(expectation, bool | np.bool_) or _is_boolean(measured):
        return _judge_boolean(measured, kind, expectation, within), ""
    got = _reals(measured)
    bounds = [
        _reals(value) for value in (expectation if kind == "between" else [expectation])
    ]
    for name, value in [("measured", got), *(("expected", bound) for bound in bounds)]:
        if value is None:
            return f"the {name} value is not made of real numbers", ""
        if value.size == 0:
            return f"the {name} value is empty, shape {value.shape}", ""
        bad = int(np.sum(~_finite(value)))
        if bad:
            return f"{bad} of {value.size} {name} values are NaN or infinite", ""
    assert got is not None
    fitted = []
    for bound in bounds:
        assert bound is not None
        if bound.shape != got.shape[got.ndim - bound.ndim :]:
            return (
                f"the shapes do not fit: measured {got.shape}, expected {bound.shape}",
                "",
            )
        fitted.append(np.broadcast_to(bound, got.shape))
    if within is not None:
        return _judge_distance(got, fitted[0], within)
    compare: dict[str, list[Any]] = {
        "equals": [operator.eq],
        "at_most": [operator.le],
        "at_least": [operator.ge],
        "between": [operator.ge, operator.le],
    }
    holds = np.ones(got.shape, bool)
    for test, bound in zip(compare[kind], fitted, strict=True):
        holds &= np.asarray(_exact(test, got, bound), bool)
    return _count(holds), ""


def _judge_boolean(
    measured: Any, kind: str, expectation: Any, within: Tolerance | None
) -> str:
    if kind != "equals" or within is not None:
        return "a true-or-false value can only equal True or False"
    if not (_is_boolean(measured) and isinstance(expectation, bool | np.bool_)):
        return "a true-or-false value is compared with something else"
    got = np.asarray(measured)
    return (
        _count(got == bool(expectation))
        if got.size
        else f"measured is empty, shape {got.shape}"
    )


def _judge_distance(
    got: np.ndarray, expected: np.ndarray, within: Tolerance
) -> tuple[str, str]:
    allowed = _reals(within.value)
    if allowed is None or not np.all(np.isfinite(allowed)) or np.any(allowed < 0):
        return f"the tolerance {within.value!r} is not a finite number from 0 up", ""
    if allowed.shape != got.shape[got.ndim - allowed.ndim :]:
        return (
            f"the shapes do not fit: measured {got.shape}, tolerance {allowed.shape}",
            "",
        )
    with np.errstate(over="ignore"):
        difference = np.abs(_floats(_exact(operator.sub, got, expected)))
        if within.is_relative:
            allowed = allowed * np.abs(_floats(expected))
    worst = float(np.max(difference))
    note = f"; largest difference {plain_number(worst, 2)}"
    problem = _count(np.isfinite(difference) & (difference <= allowed))
    if problem and within.is_relative and np.any(expected == 0):
        problem += (
            " (around an expected 0 a relative tolerance allows nothing: give a scale)"
        )
    return problem, note


def _exact(function: Any, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Apply `function` without what NumPy does to integers: round them, or wrap around."""
    if left.dtype.kind == right.dtype.kind == "f":
        return np.asarray(function(left, right))
    result = np.empty(left.shape, object)
    result[...] = function(left.astype(object), right.astype(object))
    return result


def _floats(array: np.ndarray) -> np.ndarray:
    """`array` as float64, where an integer too large for it is infinite."""
    if array.dtype.kind != "O":
        return array.astype(np.float64)
    flat = []
    for value in array.ravel():
        try:
            flat.append(float(value))
        except OverflowError:
            flat.append(np.inf if value > 0 else -np.inf)
    return np.array(flat).reshape(array.shape)


def _count(holds: np.ndarray) -> str:
    failing = int(np.sum(~holds))
    if not failing:
        return ""
    return (
        f"{failing} of {holds.size} values are outside"
        if holds.size > 1
        else "it is outside"
    )


def _is_boolean(value: Any) -> bool:
    if isinstance(value, list | tuple):
        flat = np.asarray(value, object).ravel()
        return flat.size > 0 and all(isinstance(v, bool | np.bool_) for v in flat)
    return isinstance(value, bool) or str(getattr(value, "dtype", "")) == "bool"


def _reals(value: Any) -> np.ndarray | None:
    """`value` as an array of real numbers (floats, integers, or Python numbers), or None."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError):
        return None
    kind = array.dtype.kind
    if kind in "iu" or (kind == "f" and array.itemsize >= 8):
        return array
    if kind == "f":
        return array.astype(np.float64)
    if (
        kind == "V" and array.dtype.names is None
    ):  # bfloat16 and the small floats of JAX.
        try:
            return array.astype(np.float64)
        except (TypeError, ValueError):
            return None
    real = kind == "O" and all(
        isinstance(v, numbers.Real) and not isinstance(v, bool) for v in array.ravel()
    )
    return array if real else None


def _finite(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "O":
        return np.isfinite(array)
    flat = [
        isinstance(v, numbers.Rational) or bool(np.isfinite(v)) for v in array.ravel()
    ]
    return np.array(flat, bool).reshape(array.shape)


def _nonnegative(name: str, value: Any) -> float:
    if _is_boolean(value) or _reals(value) is None or np.ndim(value) != 0:
        raise TypeError(f"{name} must be a number, got {value!r}")
    result = float(value)
    if not (np.isfinite(result) and result >= 0):
        raise ValueError(f"{name} must be a finite number from 0 up, got {value!r}")
    return result


def _source(source: Any) -> tuple[str, str]:
    source = text("source", source)
    if source.startswith("derivation"):
        return source, "derivation"
    keys = [key.strip() for key in source.split(",")]
    if not all(re.fullmatch(r"[A-Za-z][\w:.+-]*", key) for key in keys):
        raise ValueError(
            'source must start with "derivation" or be keys of the bibliography, separated by '
            f"commas; got {source!r}"
        )
    return ", ".join(keys), "citation"


def _short(value: Any) -> str:
    words = repr(value)
    return words if len(words) <= 60 else words[:57] + "..."


def _span(array: np.ndarray, digits: int = 4) -> str:
    """One number, or from the smallest to the largest."""
    low, high = (plain_number(v, digits) for v in (array.min(), array.max()))
    return low if low == high else f"{low} to {high}"


def _describe(value: Any, digits: int) -> str:
    if _is_boolean(value):
        flags = np.asarray(value)
        if flags.ndim == 0:
            return "true" if flags else "false"
        return f"true in {int(flags.sum())} of {flags.size}"
    array = _reals(value)
    if array is None or array.size == 0:
        return _short(value)
    if array.ndim == 0:
        return plain_number(array.item(), digits)
    count = " × ".join(str(n) for n in array.shape)
    good = array[_finite(array)]
    if good.size == 0:
        return f"nothing finite (n = {count})"
    middle = plain_number(float(np.median(_floats(good))), digits)
    span = _span(good, digits)
    span = f"from {span}" if " to " in span else "all alike"
    count = (
        count
        if good.size == array.size
        else f"the {good.size} of {array.size} that are finite"
    )
    return f"{middle} (median of {count}, {span})"


def _expectation(kind: str, value: Any, digits: int, *, exact: bool = False) -> str:
    if kind == "between":
        low, high = (_expectation("", bound, digits) for bound in value)
        one = np.ndim(value[0]) == np.ndim(value[1]) == 0
        return f"from {low} to {high}" if one else f"at least {low}, at most {high}"
    if _is_boolean(value):
        return _describe(value, digits)
    words = {
        "at_most": "at most ",
        "at_least": "at least ",
        "equals": "exactly " * exact,
    }
    prefix = words.get(kind, "")
    array = _reals(value)
    if array is None or array.ndim == 0 or array.size == 0:
        return prefix + _describe(value, digits)
    count = " × ".join(str(n) for n in array.shape)
    return f"{prefix}{_span(array, digits)} ({count} value{'s' * (array.size != 1)})"


def _lines(made: Claim, problem: str) -> list[str]:
    rows = [
        ("why", problem),
        ("measured", made.measured),
        ("expected", made.expected),
        ("tolerance", f"{made.tolerance} ({made.reason})" if made.tolerance else ""),
        ("source", made.source),
    ]
    return [f"  {name:<10}{value}" for name, value in rows if value]


def _cited(made: Claim) -> str:
    """Show a derivation as it is, and a key such as he2015delving as He 2015."""
    if made.source_kind == "derivation":
        return inline(made.source)
    shown = []
    for key in made.source.split(", "):
        parts = re.match(r"([a-z-]+?)-?(\d{4})", key)
        label = f"{parts[1].title()} {parts[2]}" if parts else key
        shown.append(f'<span class="vg-cite" data-key="{key}">{label}</span>')
    return ", ".join(shown)


def _split(words: str) -> tuple[str, str]:
    """Split off what stands in brackets at the end."""
    match = re.fullmatch(r"(.*) \((.*)\)", words)
    return (match[1], match[2]) if match else (words, "")


def _show(made: Claim, problem: str) -> None:
    def row(name: str, value: str, *notes: str) -> str:
        small = "".join(f"<small>{note}</small>" for note in notes if note)
        wide = ' class="vg-wide"' if name == "tolerance" else ""
        return f"<div{wide}><dt>{name}</dt><dd>{value}{small}</dd></div>"

    def shown(value: str) -> str:
        return html.escape(typeset(value))

    anchor = f"claim-{html.escape(made.id)}"
    measured, spread = _split(made.measured)
    expected, many = _split(made.expected)
    allowed, _, gap = made.tolerance.partition("; ")
    rows = [
        row("measured", shown(measured), shown(spread)),
        row("expected", shown(expected), shown(many)),
        row("tolerance", shown(allowed), shown(made.reason), shown(gap)),
        row("source", _cited(made)),
    ]
    if not made.tolerance:
        del rows[2]
    sign, verdict = ("✓", "Claim holds") if made.holds else ("✗", "Claim fails")
    why = f": {shown(problem)}" if problem else ""
    body = (
        f'<div class="vg-claim vg-box{"" if made.holds else " vg-fails"}" id="{anchor}" '
        f'role="group" aria-label="{verdict}">'
        f'<div class="vg-tag"><span aria-hidden="true">{sign}</span> {verdict}{why}'
        f'<a href="#{anchor}" aria-label="Link to this claim">¶</a></div>'
        f"<p>{inline(made.statement)}</p><dl>{''.join(rows)}</dl></div>"
    )
    plain = "\n".join(
        [f"{sign} {verdict.lower()}: {made.statement}", *_lines(made, problem)]
    )
    display_html(body, plain, style=_STYLE, mime={MIME: made.to_dict()})
