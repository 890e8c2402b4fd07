"""Quizzes: what makes a question, and what a reader gets to hear, by mouse and by keyboard."""

from __future__ import annotations

import pytest

from vgutils.quizzes import Answer, Question, quiz

ONE = Question(
    "How large can `σ′` be?",
    [("1/4", True, "It is largest at 0."), ("1", False, "That is tanh′(0).")],
)
MANY = Question(
    "Which can make a gradient vanish?",
    [
        ("small weights", True, "They are one half."),
        Answer("small slopes", True, "They are the other half."),
        ("a small <b>learning rate</b>", False, "That changes the step."),
    ],
    multiple=True,
)


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        (("", ONE.answers), ValueError, "prompt"),
        ((3, ONE.answers), TypeError, "prompt"),
        (("Why?", ONE.answers[:1]), ValueError, "two or more"),
        (
            ("Why?", [("a", True, "yes"), ("a", False, "no")]),
            ValueError,
            "all different",
        ),
        (("Why?", [("a", False, "no"), ("b", False, "no")]), ValueError, "exactly one"),
        (("Why?", [("a", True, "yes"), ("b", True, "yes")]), ValueError, "exactly one"),
        (
            ("Why?", [("a", False, "no"), ("b", False, "no")], True),
            ValueError,
            "at least one",
        ),
        (
            ("Why?", [("a", True, ""), ("b", False, "no")]),
            ValueError,
            "feedback to 'a'",
        ),
        (("Why?", [("a", True), ("b", False, "no")]), TypeError, "correct, feedback"),
        (
            ("Why?", [("a", "yes", "yes"), ("b", False, "no")]),
            TypeError,
            "correct, feedback",
        ),
    ],
)
def test_what_a_question_refuses(arguments, error, match):
    with pytest.raises(error, match=match):
        Question(*arguments)


def test_what_a_quiz_refuses():
    with pytest.raises(ValueError, match="at least one"):
        quiz()
    with pytest.raises(TypeError, match="Questions"):
        quiz("Why?")


def test_plain_text_has_questions_and_answers(shown):
    quiz(ONE)
    assert shown[0]["text/plain"].splitlines()[:3] == [
        "1. How large can `σ′` be?",
        "  a) 1/4",
        "  b) 1",
    ]
    assert "✗ b) That is tanh′(0)." in shown[0]["text/plain"]


def test_feedback_for_every_answer(shown, open_page):
    quiz(ONE, MANY)
    page = open_page(shown[0])
    first, second = page.locator("fieldset").all()
    score = page.locator(".vg-score output")
    first.get_by_role("button", name="Check").click()
    assert first.locator("output").inner_text() == "Choose an answer first."
    first.get_by_label("1/4").check()
    assert first.locator("output").inner_text() == ""
    first.get_by_role("button", name="Check").click()
    assert first.locator("output").inner_text() == "✓ Right. It is largest at 0."
    assert score.inner_text() == "1 of 2 right"
    first.get_by_label("1", exact=True).check()
    first.get_by_role("button", name="Check").click()
    assert first.locator("output").inner_text() == "✗ Not quite. That is tanh′(0)."
    assert score.inner_text() == "0 of 2 right"

    second.get_by_label("small weights").check()
    second.get_by_role("button", name="Check").click()
    assert (
        second.locator("output").inner_text()
        == "✗ Not all of them yet. They are one half."
    )
    second.get_by_label("small slopes").check()
    second.get_by_role("button", name="Check").click()
    assert second.locator("output").inner_text().startswith("✓ Right.")
    second.get_by_label("learning").check()
    second.get_by_role("button", name="Check").click()
    assert second.locator("output").inner_text().startswith("✗ Not quite.")

    page.get_by_role("button", name="Start again").click()
    assert page.locator("input:checked").count() == 0
    assert score.inner_text() == ""
    assert page.locator("b:has-text('learning')").count() == 0


def test_by_keyboard_arrows_choose_and_enter_checks(shown, open_page):
    quiz(ONE)
    page = open_page(shown[0])
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowDown")
    assert page.locator("fieldset output").inner_text() == ""
    page.keyboard.press("Enter")
    assert page.locator("fieldset output").inner_text().startswith("✗ Not quite.")


def test_two_quizzes_do_not_meddle(shown, open_page):
    quiz(ONE)
    quiz(ONE, MANY)
    page = open_page(*shown)
    for at in (0, 1):
        page.locator(".vg-quiz").nth(at).get_by_label("1/4").check()
    page.locator(".vg-quiz").nth(0).get_by_role("button", name="Check").click()
    assert page.locator("input:checked").count() == 2
    assert page.locator(".vg-quiz").nth(1).locator(".vg-yes").count() == 0


def test_without_scripts_the_answers_are_there(shown, open_page):
    quiz(ONE)
    page = open_page(shown[0], scripts=False)
    assert not page.get_by_role("button").count()
    page.get_by_text("Answers").click()
    assert page.get_by_text("That is tanh′(0).").is_visible()
