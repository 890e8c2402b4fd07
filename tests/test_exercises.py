"""Exercises: right, not yet, not attempted; and never an error for a wrong answer."""

from __future__ import annotations

import importlib
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vgutils import exercises
from vgutils.exercises import NotAttempted, NotYet, check, close, exercise


def verdict(shown) -> str:
    return shown[-1]["text/plain"]


def test_right(shown):
    def vjp(W, h, g):
        return jax.vjp(lambda h: jnp.tanh(W @ h), h)[1](jnp.asarray(g))[0]

    result = check("chain_rule.vjp", vjp)
    assert result
    assert repr(result) == "True"
    assert verdict(shown) == "✓ Right."


@pytest.mark.parametrize(
    ("answer", "hint"),
    [
        (lambda W, h, g: W.T @ g, "slope of tanh"),
        (lambda W, h, g: (1 - np.tanh(W @ h) ** 2) * g, "one number for each *output*"),
        (
            lambda W, h, g: -W.T @ ((1 - np.tanh(W @ h) ** 2) * g),
            "is expected. Going back",
        ),
        (lambda W, h, g: W.T @ ((1 - np.tanh(W @ h) ** 2) * g) * np.nan, "NaN"),
        (lambda W, h, g: np.zeros((2, 2)), "shape should be `(2,)`, yours is `(2, 2)`"),
    ],
)
def test_wrong_answers_get_a_hint_each(shown, answer, hint):
    result = check("chain_rule.vjp", answer)
    assert not result
    assert repr(result) == "False"
    assert hint in verdict(shown)
    assert verdict(shown).startswith("↻ Not yet.")


@pytest.mark.parametrize(
    "answer", [..., None, lambda W, h, g: None, lambda W, h, g: ...]
)
def test_no_answer_yet(shown, answer):
    assert not check("chain_rule.vjp", answer)
    assert verdict(shown).startswith("○ Not attempted yet.")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda W, h, g: W @ g, ["`ValueError`", "line", "lambda W, h, g: W @ g"]),
        (lambda W: W, ["`TypeError`", "1 positional argument but 3"]),
        (lambda W, h, g: 1 / 0, ["`ZeroDivisionError`: division by zero"]),
        (7, ["`TypeError`", "not callable", "is it what the exercise asks for?"]),
        ("<script>", ["`TypeError`"]),
    ],
)
def test_errors_of_the_reader_become_directions(shown, answer, words):
    assert not check("chain_rule.vjp", answer)
    assert verdict(shown).startswith("↻ Your answer raised an error.")
    for word in words:
        assert word in verdict(shown)
    assert "<script>" not in shown[-1]["text/html"]


def test_an_interrupt_is_not_an_answer(shown):
    def stop(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check("chain_rule.vjp", stop)


@pytest.mark.parametrize("name", ["chain_rule.vpj", "chain_rule", "nothing.like_it"])
def test_unknown_names_list_the_known(shown, name):
    with pytest.raises(
        ValueError, match=r"there are chain_rule\.vjp|chain_rule\.vjp"
    ) as error:
        check(name, ...)
    if name == "chain_rule.vpj":
        assert "there are chain_rule.vjp" in str(error.value)
    assert not shown


def test_every_exercise_belongs_to_a_file_of_its_chapter():
    files = {module.name for module in pkgutil.iter_modules(exercises.__path__)}
    assert {name.split(".")[0] for name in exercises.names()} <= files


def test_every_check_survives_nonsense(shown):
    for name in exercises.names():
        for nonsense in (
            0,
            "x",
            np.zeros(3),
            lambda *args: 0.0,
            lambda *args: args[99],
        ):
            assert not check(name, nonsense), name


def test_names_are_taken_once(monkeypatch):
    monkeypatch.setattr(exercises, "_CHECKS", {})
    exercise("a.b")(verdict)
    for other in (close, test_right):
        with pytest.raises(ValueError, match="already"):
            exercise("a.b")(other)
    with pytest.raises(ValueError, match=r"chapter\.exercise"):
        exercise("ab")


def test_a_chapter_can_be_loaded_again():
    module = importlib.import_module("vgutils.exercises.chain_rule")
    importlib.reload(module)


@pytest.mark.parametrize(
    ("answer", "expected", "error", "match"),
    [
        (None, 1, NotAttempted, None),
        ("abc", 1, NotYet, "`str`"),
        ([1, 2], 1, NotYet, "shape"),
        (np.inf, 1, NotYet, "infinite"),
        (1.01, 1, NotYet, "You have 1.01, where 1 is expected. Look"),
        ([1, 2.1], [1, 2], NotYet, r"2.1 at \(1,\), where 2 is expected"),
        (1e-9, 0, NotYet, "10⁻⁹, where 0"),
    ],
)
def test_close_says_what_differs(answer, expected, error, match):
    with pytest.raises(error, match=match):
        close(answer, expected, hint="Look again.")


def test_close_accepts_rounding_and_jax():
    close(jnp.float32([0.1, 1e-9]), [0.1, 0.0], hint="-")
