"""Keep the notebooks in their one form: `python tools/notebooks.py check` or `format`.

A notebook is stored without outputs, in canonical JSON, so that a change shows what changed; and
it is written so that it reads and runs in the book, on Colab, on GitHub and in JupyterLab alike.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode
from toc import ROOT, notebooks, repository

CODE_LINES = 20
PLUMBING_LINES = 25  # For cells that a page folds or hides.
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
FOLDED = {"cellView": "form", "jupyter": {"source_hidden": True}}
FOLDING_TAGS = {"bootstrap", "remove-input", "solution"}
HIDDEN_TAGS = {"bootstrap", "solution"}  # Folded in the book too, not left out.
TAGS = FOLDING_TAGS | {"hide-cell", "parameters", "raises-exception"}


def bootstrap(root: Path = ROOT) -> str:
    """The first code cell of every notebook."""
    return (
        "import importlib.util\n\n"
        'if importlib.util.find_spec("vgutils") is None:  # on Colab, or alone\n'
        f'    %pip install -q --no-deps "vgutils @ git+https://github.com/{repository(root)}"'
    )


# The one form.


def canonical(text: str) -> str:
    """Write a notebook in its one form, whatever program saved it.

    Args:
        text: The notebook's JSON.
    """
    notebook = nbformat.reads(text, as_version=4)
    cells = [_canonical_cell(cell) for cell in notebook.cells if cell.source.strip()]
    _name_cells(cells)
    form = {"cells": cells, "metadata": METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(form, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def _canonical_cell(cell: NotebookNode) -> dict[str, Any]:
    source = "\n".join(line.rstrip() for line in cell.source.split("\n")).strip("\n")
    kept: dict[str, Any] = {
        "cell_type": cell.cell_type,
        "source": source.splitlines(True),
    }
    if cell.cell_type != "code":
        return kept | {"metadata": {}}
    tags = set(cell.metadata.get("tags", []))
    if tags & HIDDEN_TAGS:
        tags.add("hide-cell")
    metadata: dict[str, Any] = {"tags": sorted(tags)} if tags else {}
    if tags & FOLDING_TAGS:
        metadata |= FOLDED
    return kept | {"metadata": metadata, "outputs": [], "execution_count": None}


def _name_cells(cells: Sequence[dict[str, Any]]) -> None:
    """Give each cell an id made of its content, so that it does not change with every save."""
    taken: set[str] = set()
    for cell in cells:
        content = f"{cell['cell_type']}\n{''.join(cell['source'])}"
        name = hashlib.sha256(content.encode()).hexdigest()[:8]
        while name in taken:
            name = hashlib.sha256(name.encode()).hexdigest()[:8]
        taken.add(name)
        cell["id"] = name


# The rules. Each takes a cell, or a whole notebook, and yields what is wrong with it.

ROLE = re.compile(r"\{([\w:.-]+)\}`")
MATH_AND_CODE = re.compile(
    r"```.*?```|~~~.*?~~~|`[^`]*`|\$\$.*?\$\$|\$[^$\n]+\$", re.DOTALL
)
LINK = re.compile(r"\]\([^)]*\)|<[^>]*>|\{cite[:tp]*\}`[^`]*`")
MEASURED = re.compile(
    r"(?<![\w.])\d+(?:\.\d+)?[eE][+-]?\d+\b|(?<![\w.])\d+\.\d+(?![\w.]*\.\d)"
    r"|\b10\^|10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+"
)
HTML_TAGS = {"details", "summary", "br", "sub", "sup", "kbd"}


def check_markdown(cell: NotebookNode) -> Iterator[str]:
    """Only what Colab, GitHub, JupyterLab and the book all show."""
    text = cell.source
    if re.search(r"^\s*(```+|~~~+|:::+)\s*\{", text, re.MULTILINE):
        yield "a MyST directive, which Colab shows as code: write it in plain Markdown"
    if re.search(r"^:::", text, re.MULTILINE):
        yield "a colon fence, which only MyST knows: write a quotation with a bold first word"
    without_code = re.sub(r"```.*?```|(?<![}\w])`[^`]*`", "", text, flags=re.DOTALL)
    for role in ROLE.findall(without_code):
        if role not in {"cite", "cite:t", "cite:p"}:
            yield f"the role {{{role}}}: of MyST's roles only {{cite}} reads well on Colab"
    if re.search(r"^\([\w-]+\)=\s*$|^%|^\+\+\+", without_code, re.MULTILINE):
        yield "a MyST target, comment or block break, which Colab shows as text"
    for tag in re.findall(r"</?([a-zA-Z][\w-]*)", MATH_AND_CODE.sub("", text)):
        if tag.lower() not in HTML_TAGS:
            yield f"the HTML tag <{tag}>: only {', '.join(sorted(HTML_TAGS))} are used"


def check_numbers(cell: NotebookNode) -> Iterator[str]:
    """A measured number comes from `vg.say`, so that it is what was measured."""
    prose = LINK.sub("", cell.source)
    for number in MEASURED.findall(MATH_AND_CODE.sub("", prose)):
        yield f"the number {number} is typed: let a cell say it, vg.say(f'...'), or set it as math"


def check_length(cell: NotebookNode) -> Iterator[str]:
    """A cell is read in one glance."""
    allowed = (
        PLUMBING_LINES
        if set(cell.metadata.get("tags", [])) & FOLDING_TAGS
        else CODE_LINES
    )
    lines = len(cell.source.splitlines())
    if lines > allowed:
        yield f"{lines} lines of code, at most {allowed}"


def check_tags(cell: NotebookNode) -> Iterator[str]:
    """Tags are those that the book knows."""
    for tag in sorted(set(cell.metadata.get("tags", [])) - TAGS):
        yield f"the tag {tag}: the book knows {', '.join(sorted(TAGS))}"


def check_alternative_text(cell: NotebookNode) -> Iterator[str]:
    """A figure says what it shows to those who cannot see it."""
    for call in re.findall(
        r"\bvg\.(?:show|explorable)\((?:[^()]|\([^()]*\))*", cell.source
    ):
        if not re.search(r"\balt\s*=", call):
            yield f"{call.split('(')[0]}(...) has no alt="


def check_bootstrap(notebook: NotebookNode, root: Path = ROOT) -> Iterator[str]:
    """The first code cell is the same everywhere."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    first = code[0] if code else None
    if first is None or "bootstrap" not in first.metadata.get("tags", []):
        yield "the first code cell is not tagged bootstrap"
    elif first.source != bootstrap(root):
        yield f"the bootstrap cell is not the common one:\n{bootstrap(root)}"


def check_title(notebook: NotebookNode) -> Iterator[str]:
    """One title, at the top; sections below it without a gap in their levels."""
    first = notebook.cells[0] if notebook.cells else None
    if (
        first is None
        or first.cell_type != "markdown"
        or not first.source.startswith("# ")
    ):
        yield "the first cell is not a title (# ...)"
    levels = [
        len(level) for level in re.findall(r"^(#+) ", _prose(notebook), re.MULTILINE)
    ]
    if levels.count(1) > 1:
        yield "more than one title (# ...)"
    if any(after > before + 1 for before, after in pairwise(levels)):
        yield "a heading skips a level"


# What a chapter has: a name, where it is looked for, the pattern, how often.
CONTRACT = [
    ("what you will learn", "markdown", r"(?im)^(#+|>|\*\*).*what you will learn", 1),
    ("prerequisites", "markdown", r"(?i)prerequisites|you need", 1),
    ("the minutes it takes", "markdown", r"(?i)\bminutes\b", 1),
    ("a Predict question", "markdown", r"(?m)^> \*\*Predict", 1),
    ("a claim", "code", r"\bvg\.claim\(", 3),
    ("an exercise", "markdown", r"(?m)^#{2,4} Exercise \d", 3),
    ("a hint", "markdown", r"<summary>Hint", 1),
    ("a quiz", "code", r"\bvg\.quiz\(", 1),
    ("a summary", "markdown", r"(?im)^#+ .*summary|^> \*\*summary", 1),
    ("further reading", "markdown", r"(?im)^#+ .*further reading", 1),
    ("a citation", "markdown", r"\{cite(:[tp])?\}`", 1),
]


def check_contract(notebook: NotebookNode) -> Iterator[str]:
    """A chapter has every part that readers of the others expect."""
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    texts = {"markdown": _prose(notebook, fenced=True), "code": code}
    for part, kind, pattern, count in CONTRACT:
        found = len(re.findall(pattern, texts[kind]))
        if found < count:
            yield f"the chapter needs {part}" + (
                f", {count} times (has {found})" * (count > 1)
            )
    tags = {tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])}
    for tag in sorted({"parameters", "solution"} - tags):
        yield f"the chapter needs a cell tagged {tag}"


def _prose(notebook: NotebookNode, *, fenced: bool = False) -> str:
    text = "\n\n".join(
        cell.source for cell in notebook.cells if cell.cell_type == "markdown"
    )
    return text if fenced else re.sub(r"```.*?```", "", text, flags=re.DOTALL)


CELL_RULES: dict[str, list[Callable[[NotebookNode], Iterator[str]]]] = {
    "markdown": [check_markdown, check_numbers],
    "code": [check_length, check_tags, check_alternative_text],
}


def problems(path: Path, root: Path = ROOT) -> list[str]:
    """Everything that is wrong with a notebook, each with its place.

    Args:
        path: The notebook.
        root: The book's folder.
    """
    name = path.relative_to(root).as_posix()
    text = path.read_text("utf-8")
    try:
        notebook = nbformat.reads(text, as_version=4)
    # nbformat raises as many kinds as there are ways to be broken.
    except Exception as error:
        return [f"{name}: not a notebook: {error}"]
    found = []
    if canonical(text) != text:
        found.append(f"{name}: not in canonical form, or with outputs: make format")
    whole = [*check_bootstrap(notebook, root), *check_title(notebook)]
    if "chapters" in path.relative_to(root).parts:
        whole += check_contract(notebook)
    found += [f"{name}: {problem}" for problem in whole]
    for number, cell in enumerate(notebook.cells, 1):
        rules = CELL_RULES.get(cell.cell_type, [])
        found += [
            f"{name}, cell {number}: {text}" for rule in rules for text in rule(cell)
        ]
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Check or format notebooks; the exit code is 0 if they are right."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("command", choices=["check", "format"])
    parser.add_argument("--book", type=Path, default=ROOT, help="the book's folder")
    parser.add_argument(
        "notebooks", nargs="*", type=Path, help="all of the book if not given"
    )
    options = parser.parse_intermixed_args(arguments)
    root = options.book.resolve()
    paths = [path.resolve() for path in options.notebooks] or [
        *notebooks(root),
        *root.glob("chapters/template.ipynb"),
    ]
    if options.command == "format":
        for path in paths:
            text = path.read_text("utf-8")
            if (formatted := canonical(text)) != text:
                path.write_text(formatted, "utf-8")
                print(f"formatted {path.relative_to(root)}")
        return 0
    found = [problem for path in paths for problem in problems(path, root)]
    print("\n".join(found) or f"Notebooks as they should be: {len(paths)}")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
