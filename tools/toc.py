"""Which notebooks the book has, in its order."""

from __future__ import annotations

import tomllib
from pathlib import Path

from sphinx_external_toc.parsing import parse_toc_yaml

ROOT = Path(__file__).resolve().parent.parent


def pages(root: Path = ROOT) -> list[str]:
    """The pages that `_toc.yml` names, in order and without a suffix.

    Args:
        root: The book's folder.
    """
    return [_bare(str(name)) for name in parse_toc_yaml(root / "_toc.yml")]


def parts(root: Path = ROOT) -> list[tuple[str, list[str]]]:
    """The parts of `_toc.yml`: their captions, empty for those without, and their pages.

    The first page of the book is in none of them.

    Args:
        root: The book's folder.
    """
    found = parse_toc_yaml(root / "_toc.yml").root.subtrees
    return [
        (part.caption or "", [_bare(str(item)) for item in part.items])
        for part in found
    ]


def _bare(name: str) -> str:
    return name.removesuffix(".ipynb").removesuffix(".md")


def notebooks(root: Path = ROOT) -> list[Path]:
    """The notebooks among the pages, in order.

    Args:
        root: The book's folder.

    Raises:
        SystemExit: A page that `_toc.yml` names does not exist.
    """
    found = []
    for page in pages(root):
        notebook = root / f"{page}.ipynb"
        if notebook.exists():
            found.append(notebook)
        elif not notebook.with_suffix(".md").exists():
            raise SystemExit(f"_toc.yml names {page}, but there is no such page")
    return found


def repository(root: Path = ROOT) -> str:
    """Where the book lives, as `owner/name`, from the one place that says so."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    return project["urls"]["Repository"].removeprefix("https://github.com/")
