"""Give plain Markdown its book form.

Chapters are plain Markdown, so that they read as well on Colab and GitHub as here. What the book
adds is derived from the text: a quotation that opens with a bold **Predict** becomes a box of that
kind, and a folded cell says what it hides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

BOXES = {
    "What you will learn": "vg-learn",
    "Predict": "vg-predict",
    "Question": "vg-question",
    "Note": "vg-note",
    "Warning": "vg-warning",
    "Myth": "vg-myth",
    "Key idea": "vg-key",
    "Definition": "vg-definition",
    "Summary": "vg-summary",
}
PROMPTS = {"bootstrap": "set-up", "solution": "solution"}


class Boxes(SphinxTransform):
    """Turn a quotation that opens with a bold word of `BOXES` into an admonition."""

    default_priority = 200

    def apply(self, **kwargs: Any) -> None:
        """Change the tree in place."""
        for quote in list(self.document.findall(nodes.block_quote)):
            if kind := self._kind(quote):
                quote.replace_self(self._box(quote, kind))

    @staticmethod
    def _kind(quote: nodes.block_quote) -> str | None:
        opening = _opening(quote)
        words = opening.astext() if opening else ""
        for word in BOXES:
            if words.startswith(word) and not words[len(word) :][:1].isalnum():
                return word
        return None

    @staticmethod
    def _box(quote: nodes.block_quote, kind: str) -> nodes.admonition:
        first, opening = quote.children[0], _opening(quote)
        assert opening is not None
        title = nodes.title("", "", *opening.children)
        _strip(title, -1, str.rstrip)
        first.children = first.children[first.index(opening) + 1 :]
        _strip(first, 0, str.lstrip)
        body = quote.children if first.astext().strip() else quote.children[1:]
        return nodes.admonition("", title, *body, classes=["admonition", BOXES[kind]])


def _opening(quote: nodes.block_quote) -> nodes.strong | None:
    """The bold words that a quotation begins with."""
    first = quote.children[0] if quote.children else None
    if not isinstance(first, nodes.paragraph):
        return None
    visible = (node for node in first.children if node.astext())
    opening = next(visible, None)
    return opening if isinstance(opening, nodes.strong) else None


def _strip(element: nodes.Element, end: int, strip: Callable[[str, str], str]) -> None:
    """Take the punctuation between a title and its text from one end of either."""
    node = element.children[end] if element.children else None
    if isinstance(node, nodes.Text):
        element.replace(node, nodes.Text(strip(node.astext(), " \n.:")))


class Prompts(SphinxTransform):
    """Let the button of a folded cell say what is behind it."""

    default_priority = 200

    def apply(self, **kwargs: Any) -> None:
        """Change the tree in place."""
        for cell in self.document.findall(nodes.container):
            for tag, content in PROMPTS.items():
                if f"tag_{tag}" in cell["classes"] and "prompt_show" in cell:
                    cell["prompt_show"] = f"Show {content}"
                    cell["prompt_hide"] = f"Hide {content}"


class Equations(SphinxTransform):
    r"""Hand displayed formulas to MathJax as they were written.

    Sphinx wraps a formula of several lines in `split`, in which `\tag{1}` is an error.
    """

    default_priority = 200

    def apply(self, **kwargs: Any) -> None:
        """Change the tree in place."""
        for formula in self.document.findall(nodes.math_block):
            if r"\tag" in formula.astext() and not formula.get("nowrap"):
                written = rf"\[{formula.astext().strip()}\]"
                formula["nowrap"] = True
                formula.children = [nodes.Text(written)]


def setup(app: Sphinx) -> dict[str, Any]:
    """Register with Sphinx."""
    for transform in (Boxes, Prompts, Equations):
        app.add_transform(transform)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
