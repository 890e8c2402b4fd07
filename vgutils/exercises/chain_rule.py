"""Checks of the chapter on the chain rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vgutils.exercises import NotAttempted, NotYet, close, exercise


@exercise("chain_rule.by_hand")
def by_hand(answer: Sequence[float]) -> None:
    """Take (∂f/∂x, ∂f/∂w₁, ∂f/∂w₂) of f = tanh(w₂ tanh(w₁ x)) at x = 0, w₁ = 2, w₂ = −1."""
    hint = "Write down x, h₁, f and both slopes first; tanh(0) = 0 and tanh′(0) = 1."
    if answer is not None and answer is not ... and np.shape(answer) == (3,):
        if any(part is ... or part is None for part in answer):
            raise NotAttempted
        got = np.asarray(answer, np.float64)
        if np.isclose(got[0], 2):
            raise NotYet(
                "The first number has the wrong sign: which sign does w₂ have?"
            )
        if np.isclose(got[0], 0):
            raise NotYet(
                "The first number is not 0: tanh(0) is 0, but its *slope* there is 1."
            )
        if np.isclose(got[0], -2) and np.any(got[1:] != 0):
            raise NotYet(
                "The first number is right. In the other two, the last factor is what "
                "the weight was multiplied with on the way forward: x or h₁."
            )
    close(answer, [-2.0, 0.0, 0.0], hint=hint)


@exercise("chain_rule.vjp")
def vjp(answer: Callable[[Any, Any, Any], Any]) -> None:
    """Take `vjp(W, h, g)`, the gradient with respect to h, for h ↦ tanh(W h).

    W is (n_out, n_in), h is (n_in,), g is (n_out,), the gradient with respect to the output.
    """
    random = np.random.default_rng(0)
    weights = random.normal(size=(3, 2)).astype(np.float32)
    hidden, gradient = (random.normal(size=n).astype(np.float32) for n in (2, 3))
    slope = 1 - np.tanh(weights @ hidden) ** 2
    right = weights.T @ (slope * gradient)

    got = answer(weights, hidden, gradient)
    if np.shape(got) == (2,) and np.allclose(got, weights.T @ gradient, rtol=1e-4):
        raise NotYet(
            "You have Wᵀg. Multiply g by the slope of tanh *before* it meets Wᵀ."
        )
    if np.shape(got) == (3,):
        raise NotYet(
            "You have one number for each *output*: the way back is Wᵀ, not W."
        )
    close(got, right, hint="Going back, the slope comes first: Wᵀ(tanh′(W h) ⊙ g).")


@exercise("chain_rule.skip")
def skip(answer: Callable[[Any, Any, Any], Any]) -> None:
    """Take `backward(weights, states, cotangent)` for h_l = h_{l-1} + tanh(W_l h_{l-1}).

    `states` has h_0 to h_L, `cotangent` is ∂L/∂h_L. It returns ∂L/∂h_0, (n,), and the list of the
    ∂L/∂W_l, (n, n) each, in the order of the layers.
    """
    random = np.random.default_rng(0)
    weights = [random.normal(size=(3, 3)) for _ in range(3)]
    states = [random.normal(size=3)]
    for W in weights:
        states.append(states[-1] + np.tanh(W @ states[-1]))
    start = random.normal(size=3)

    def walk(identity: float, whole: bool) -> tuple[Any, list[Any]]:
        cotangent, gradients = start, []
        layers = list(zip(weights, states[:-1], states[1:], strict=True))
        for W, before, after in reversed(layers):
            branch = after if whole else after - before
            delta = (1 - branch**2) * cotangent
            gradients.append(np.outer(delta, before))
            cotangent = identity * cotangent + W.T @ delta
        return cotangent, gradients[::-1]

    got = answer([W.copy() for W in weights], [h.copy() for h in states], start.copy())
    if got is None or got is ...:
        raise NotAttempted
    if not isinstance(got, tuple | list) or len(got) != 2:
        raise NotYet(
            "Return two things: the cotangent at h₀, and the list of the weights' gradients."
        )
    cotangent, gradients = got
    if cotangent is None or cotangent is ...:
        raise NotAttempted
    if np.shape(cotangent) == (3,):
        if np.allclose(cotangent, walk(0.0, True)[0]):
            raise NotYet(
                "Two things are still those of a layer without a skip: the slope (what went "
                "through tanh?) and the way back (there are two now)."
            )
        if np.allclose(cotangent, walk(0.0, False)[0]):
            raise NotYet(
                "You have the way through the layers only. The skip carries the cotangent "
                "past each layer: add it."
            )
        if np.allclose(cotangent, walk(1.0, True)[0]):
            raise NotYet(
                "You took the slope from h_out. Only the branch went through tanh: it gave "
                "h_out − h_in."
            )
        if np.allclose(cotangent, start):
            raise NotYet("You have the skip only: add what comes back through Wᵀ.")
    right = walk(1.0, False)
    close(cotangent, right[0], hint="A layer gives g + Wᵀ(tanh′(z) ⊙ g).")
    if not isinstance(gradients, tuple | list) or len(gradients) != 3:
        raise NotYet(
            "The cotangent is right. Return one weight gradient for each layer too."
        )
    if all(np.shape(one) == (3, 3) for one in gradients):
        if np.allclose(gradients[::-1], right[1]):
            raise NotYet(
                "The cotangent is right, and so are the weights' gradients, but they stand "
                "in the order in which you met them: the last layer first."
            )
        if np.allclose([np.transpose(one) for one in gradients], right[1]):
            raise NotYet(
                "The cotangent is right. The weights' gradients are transposed: δ belongs to "
                "the rows, h to the columns."
            )
    for one, want in zip(gradients, right[1], strict=True):
        close(
            one, want, hint="∂L/∂W is the outer product of δ and the layer's *input*."
        )


@exercise("chain_rule.open_paths")
def open_paths(answer: Callable[[Any], Any]) -> None:
    """Take `open_paths(jacobians)`: how many paths from any input to any output are not zero.

    `jacobians` are (n_out, n_in) each, first layer first.
    """
    jacobians = [
        np.array([[0.5, 0.0, -2.0], [0.0, 0.0, 0.0]]),  # 3 units to 2
        np.array([[1.0, 3.0], [-1.0, 0.0], [-0.5, 2.0], [0.0, 1.0]]),  # 2 to 4
        np.array([[0.5, -0.5, 1.0, 0.0]]),  # 4 to 1
    ]
    product = jacobians[2] @ jacobians[1] @ jacobians[0]
    got = answer([J.copy() for J in jacobians])
    if got is None or got is ...:
        raise NotAttempted
    if np.shape(got) == ():
        mistakes = {
            24: "You counted all paths. One zero factor closes a path.",
            36: "You multiplied the numbers of open entries. Entries are on one path only "
            "if the unit at which one ends is the unit at which the next begins.",
            11: "You added the numbers of open entries: these are edges, not paths.",
        }
        for number, hint in mistakes.items():
            if np.isclose(float(got), number):
                raise NotYet(hint)
        if np.isclose(float(got), product.sum()):
            raise NotYet(
                "You added the paths. To count them, let each open entry be a 1."
            )
        if np.isclose(float(got), np.count_nonzero(product)):
            raise NotYet(
                "You counted the entries of the product: each is the sum of many paths. "
                "Replace the entries by 1 and 0 *before* you multiply."
            )
    elif np.size(got) > 1:
        raise NotYet("Return one number: add up all inputs and all outputs.")
    close(
        got, 6, hint="Replace each entry by 1 or 0, multiply, and add up what you get."
    )
