"""Quizzes: questions with feedback for every answer, in plain HTML that also prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from vgutils.html import digest, display_html, inline, text

_STYLE = (
    ".vg-quiz{--vg-tone:var(--vg-purple)}"
    ".vg-quiz fieldset{border:0;margin:.4rem 0 1.1rem;padding:0;min-width:0}"
    ".vg-quiz legend{font-weight:600;padding:0;margin-bottom:.35rem;font-size:1em;float:none}"
    ".vg-quiz label{display:flex;gap:.6rem;align-items:baseline;margin:.15rem 0;"
    "padding:.25rem .5rem;border-radius:5px;cursor:pointer}"
    ".vg-quiz label:hover{background:var(--vg-paper)}"
    ".vg-quiz input{flex:none;margin:0;accent-color:var(--vg-purple);transform:translateY(.1em)}"
    ".vg-quiz fieldset button{margin-top:.4rem}"
    ".vg-quiz output{display:block;margin:.5rem 0 0}"
    ".vg-quiz output:not(:empty){padding:.4rem .7rem;border-left:3px solid var(--vg-tone);"
    "background:var(--vg-paper);border-radius:0 5px 5px 0}"
    ".vg-quiz .vg-yes{--vg-tone:var(--vg-good)}.vg-quiz .vg-no{--vg-tone:var(--vg-bad)}"
    ".vg-quiz output b{color:var(--vg-tone)}"
    ".vg-quiz .vg-score{display:flex;gap:1rem;align-items:center;flex-wrap:wrap}"
    ".vg-quiz:not([data-ready]) button{display:none}.vg-quiz[data-ready] details{display:none}"
)

# Arrow keys move through radio buttons, so an answer counts when it is checked, not when it is
# selected. The texts of the feedback are read from the answers that print.
_SCRIPT = """
document.querySelectorAll('.vg-quiz:not([data-ready])').forEach(function (quiz) {
  quiz.setAttribute('data-ready', '');
  var sets = [].slice.call(quiz.querySelectorAll('fieldset'));
  var score = quiz.querySelector('.vg-score output');
  function tell() {
    var right = quiz.querySelectorAll('fieldset > .vg-yes').length;
    var done = quiz.querySelectorAll('fieldset > .vg-yes, fieldset > .vg-no').length;
    score.textContent = done ? right + ' of ' + sets.length + ' right' : '';
  }
  function clear(set) {
    var box = set.querySelector('output');
    box.className = ''; box.textContent = '';
  }
  function check(set) {
    var inputs = [].slice.call(set.querySelectorAll('input'));
    var notes = set.querySelectorAll('li');
    var box = set.querySelector('output'), right = true, words = [];
    if (!inputs.some(function (i) { return i.checked; })) {
      clear(set); box.textContent = 'Choose an answer first.'; return;
    }
    inputs.forEach(function (input, k) {
      if (input.checked !== notes[k].hasAttribute('data-right')) right = false;
      if (input.checked) words.push(notes[k].querySelector('span').innerHTML);
    });
    var missing = !right && inputs.every(function (input, k) {
      return !input.checked || notes[k].hasAttribute('data-right');
    });
    box.className = right ? 'vg-yes' : 'vg-no';
    box.innerHTML = '<b>' + (right ? '\\u2713 Right.' : missing ? '\\u2717 Not all of them yet.'
      : '\\u2717 Not quite.') + '</b> ' + words.join(' ');
    tell();
  }
  sets.forEach(function (set) {
    set.querySelector('button').addEventListener('click', function () { check(set); });
    set.addEventListener('change', function () { clear(set); tell(); });
    set.addEventListener('keydown', function (event) {
      if (event.key === 'Enter' && event.target.tagName === 'INPUT') {
        event.preventDefault(); check(set);
      }
    });
  });
  quiz.querySelector('.vg-score button').addEventListener('click', function () {
    sets.forEach(function (set) {
      clear(set);
      set.querySelectorAll('input').forEach(function (input) { input.checked = false; });
    });
    tell();
    quiz.querySelector('input').focus();
  });
});
"""


class Answer(NamedTuple):
    """One answer to a question.

    Attributes:
        text: What the reader chooses.
        correct: Whether it is right.
        feedback: Why it is right or wrong; every answer has one.
    """

    text: str
    correct: bool
    feedback: str


@dataclass(frozen=True)
class Question:
    """A question with its answers.

    Attributes:
        prompt: What is asked; `` `code` `` and `*emphasis*` are shown.
        answers: Two or more, as `Answer(text, correct, feedback)` or plain tuples of the three.
        multiple: Whether several may be right; then all of them have to be chosen.

    Raises:
        TypeError: A text is not a string, or an answer is not of three parts.
        ValueError: Fewer than two answers, two that read the same, a missing feedback, or another
            number of right answers than `multiple` says.
    """

    prompt: str
    answers: Sequence[Answer | tuple[str, bool, str]]
    multiple: bool = False

    def __post_init__(self) -> None:
        prompt = text("prompt", self.prompt)
        made = []
        for answer in self.answers:
            three = isinstance(answer, tuple) and len(answer) == 3
            if not three or not isinstance(answer[1], bool):
                raise TypeError(
                    f"an answer is (text, correct, feedback), got {answer!r}"
                )
            words = text("the text of an answer", answer[0])
            made.append(
                Answer(words, answer[1], text(f"the feedback to {words!r}", answer[2]))
            )
        if len(made) < 2 or len({answer.text for answer in made}) < len(made):
            raise ValueError(f"{prompt!r} needs two or more answers, all different")
        right = sum(answer.correct for answer in made)
        if right < 1 or (right > 1 and not self.multiple):
            needs = (
                "at least one right answer"
                if self.multiple
                else "exactly one right answer"
            )
            raise ValueError(f"{prompt!r} needs {needs}, got {right}")
        object.__setattr__(self, "prompt", prompt)
        object.__setattr__(self, "answers", tuple(made))


def quiz(*questions: Question) -> None:
    """Show questions that answer back.

    Args:
        *questions: One or more.

    Raises:
        TypeError: Something else than a `Question` is given.
        ValueError: There is no question.

    Example:
        >>> quiz(Question("How large can σ′ be?", [
        ...     ("1/4", True, "σ(1 − σ) is largest at σ = 1/2, where x = 0."),
        ...     ("1", False, "That is tanh′(0). σ′ is largest at 0 too, but it is only 1/4 there."),
        ... ]))
    """
    if not questions:
        raise ValueError("quiz needs at least one question")
    for question in questions:
        if not isinstance(question, Question):
            raise TypeError(f"quiz takes Questions, got {question!r}")
    name = f"quiz-{digest(*questions)}"
    fields = "".join(
        _field(question, f"{name}-{i}", f"Question {i} of {len(questions)}")
        for i, question in enumerate(questions, 1)
    )
    body = (
        f'<div class="vg-quiz vg-box" id="{name}" role="group" aria-label="Quiz">{fields}'
        '<div class="vg-score"><button type="button">Start again</button>'
        '<output aria-live="polite"></output></div></div>'
        f"<script>{_SCRIPT}</script>"
    )
    display_html(
        body,
        "\n\n".join(_plain(q, i) for i, q in enumerate(questions, 1)),
        style=_STYLE,
    )


def _field(question: Question, name: str, number: str) -> str:
    kind = "checkbox" if question.multiple else "radio"
    choices, notes = [], []
    for answer in question.answers:
        shown, right, why = inline(answer[0]), answer[1], inline(answer[2])
        choices.append(
            f'<label><input type="{kind}" name="{name}"><span>{shown}</span></label>'
        )
        mark = "✓" if right else "✗"
        notes.append(
            f"<li{' data-right' * right}>{mark} {shown}: <span>{why}</span></li>"
        )
    many = " Choose all that hold." if question.multiple else ""
    return (
        f'<fieldset><legend><span class="vg-tag">{number}.{many}</span><br>'
        f"{inline(question.prompt)}</legend>{''.join(choices)}"
        '<button type="button">Check</button><output aria-live="polite"></output>'
        f"<details><summary>Answers</summary><ul>{''.join(notes)}</ul></details></fieldset>"
    )


def _plain(question: Question, number: int) -> str:
    letters = "abcdefghijklmnopqrstuvwxyz"
    choices = [
        f"  {letters[i % 26]}) {answer[0]}" for i, answer in enumerate(question.answers)
    ]
    notes = [
        f"  {'✓' if answer[1] else '✗'} {letters[i % 26]}) {answer[2]}"
        for i, answer in enumerate(question.answers)
    ]
    return "\n".join([f"{number}. {question.prompt}", *choices, "Answers:", *notes])
