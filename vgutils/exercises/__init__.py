"""Exercises: checks that say what to do next.

A chapter's checks are one file here, named after the chapter; `check("chain_rule.vjp", answer)`
loads it. A check is a function that raises `NotYet` with a hint for the mistake that it recognised.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import sys
import traceback
from collections.abc import Callable
from typing import Any

import numpy as np

from vgutils.html import display_html, inline, plain_number, text, typeset

_CHECKS: dict[str, Callable[[Any], None]] = {}

_STYLE = (
    ".vg-check{--vg-tone:var(--vg-soft);padding:.55rem 1rem}"
    ".vg-check.vg-yes{--vg-tone:var(--vg-good)}.vg-check.vg-no{--vg-tone:var(--vg-warn)}"
)


class NotYet(Exception):
    """An answer is not right yet; the message tells the reader what to look at."""


class NotAttempted(NotYet):
    """There is no answer yet."""


class Verdict(int):
    """True or False, which as a cell's last line prints nothing: the card has said it."""

    def __repr__(self) -> str:
        return str(bool(self))

    def _ipython_display_(self) -> None:
        """Nothing to show."""


def exercise(name: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Register a check under `name`, "chapter.exercise".

    Args:
        name: The chapter's file in this folder, a dot, and the exercise.

    Raises:
        ValueError: The name has no dot, or belongs to another check.

    Example:
        >>> @exercise("sigmoid.slope")
        ... def slope(answer):
        ...     close(answer(0.0), 0.25, hint="What is σ(0)? Put it into σ(1 − σ).")
    """
    if text("name", name).count(".") != 1:
        raise ValueError(f'name must be "chapter.exercise", got {name!r}')

    def register(function: Callable[[Any], None]) -> Callable[[Any], None]:
        known = _CHECKS.get(name, function)
        # The same function again is a module that is loaded again.
        if (known.__module__, known.__qualname__) != (
            function.__module__,
            function.__qualname__,
        ):
            raise ValueError(f"there is already an exercise {name!r}")
        _CHECKS[name] = function
        return function

    return register


def check(name: str, answer: Any) -> Verdict:
    """Check an answer and say what to do next; a wrong answer never raises.

    Args:
        name: The exercise, "chapter.exercise".
        answer: The reader's value or function; `...` or None where there is none yet.

    Returns:
        Whether the answer is right, as `True` or `False`.

    Raises:
        ValueError: There is no such exercise; the message lists those that there are.
    """
    function = _find(name)
    try:
        if answer is None or answer is ...:
            raise NotAttempted
        function(answer)
    except NotAttempted:
        return _show(
            "",
            "○",
            "Not attempted yet",
            "Put your answer for the `...`, and run again.",
        )
    except NotYet as hint:
        return _show(" vg-no", "↻", "Not yet", str(hint))
    except Exception as error:
        return _show(" vg-no", "↻", "Your answer raised an error", _explain(error))
    return _show(" vg-yes", "✓", "Right", "")


def close(answer: Any, expected: Any, *, hint: str, relative: float = 1e-4) -> None:
    """Compare an answer with what is expected, and say which way it differs.

    Args:
        answer: What the reader's code returned.
        expected: The right number or array.
        hint: What to look at when the values differ.
        relative: The largest difference accepted, as a fraction of the largest expected magnitude.

    Raises:
        NotAttempted: `answer` is None or `...`.
        NotYet: It differs, has another shape, is not finite, or is not made of numbers.
    """
    if answer is None or answer is ...:
        raise NotAttempted
    want = np.asarray(expected, np.float64)
    try:
        got = np.asarray(answer, np.float64)
    except (TypeError, ValueError):
        raise NotYet(
            f"Numbers are expected, your answer is a `{type(answer).__name__}`."
        ) from None
    if got.shape != want.shape:
        raise NotYet(
            f"The shape should be `{want.shape}`, yours is `{got.shape}`. {hint}"
        )
    if not np.all(np.isfinite(got)):
        raise NotYet(f"Your answer has values that are NaN or infinite. {hint}")
    off = np.abs(got - want)
    if np.any(off > relative * np.max(np.abs(want), initial=0.0)):
        where = np.unravel_index(np.argmax(off), off.shape)
        at = f" at {tuple(int(i) for i in where)}" if off.ndim else ""
        values = f"{plain_number(got[where])}{at}, where {plain_number(want[where])} is expected"
        raise NotYet(f"You have {typeset(values)}. {hint}")


def names() -> list[str]:
    """Load all chapters' checks and list their names."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    return sorted(_CHECKS)


def _find(name: str) -> Callable[[Any], None]:
    name = text("name", name)
    if name not in _CHECKS and name not in names():
        near = difflib.get_close_matches(name, _CHECKS, n=3, cutoff=0.4)
        listed = [*near, *(other for other in _CHECKS if other not in near)]
        raise ValueError(
            f"there is no exercise {name!r}; there are {', '.join(listed)}"
        )
    return _CHECKS[name]


def _explain(error: Exception) -> str:
    """Say what went wrong and on which line of the reader's, in two sentences."""
    message = str(error).strip().split("\n", 1)[0]
    message = message if len(message) <= 240 else message[:237] + "..."
    said = f"`{type(error).__name__}`{': ' if message else ''}{message.replace('`', chr(39))}"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if "site-packages" not in frame.filename
        and not frame.filename.startswith((__path__[0], sys.prefix, sys.base_prefix))
    ]
    if not frames:
        return f"{said}. The check could not use the answer: is it what the exercise asks for?"
    line = (frames[-1].line or "").strip().replace("`", "'")
    return f"{said}. Look at line {frames[-1].lineno} of your cell{f': `{line}`' if line else '.'}"


def _show(kind: str, sign: str, verdict: str, message: str) -> Verdict:
    body = (
        f'<div class="vg-check vg-box{kind}" role="group" aria-label="{verdict}">'
        f'<span class="vg-tag"><span aria-hidden="true">{sign}</span> {verdict}.</span> '
        f"{inline(message)}</div>"
    )
    display_html(body, f"{sign} {verdict}. {message}".rstrip(), style=_STYLE)
    return Verdict(kind == " vg-yes")
