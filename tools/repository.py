"""Say where the book lives, everywhere: `python tools/repository.py owner/name`.

The one place that counts is `[project.urls]` in pyproject.toml. Wherever else the address stands
(launch buttons, bootstrap cells, badges, the citation file) it is rewritten from there, and
`--check` says where it differs.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from toc import ROOT, repository

NAME = r"[\w-]+/[\w-]+"
HOSTS = r"github\.com/|colab\.research\.google\.com/github/|mybinder\.org/v2/gh/"
# What can only mean this book; a link in a text may lead to any repository.
OWN = re.compile(
    r"(?:vgutils @ git\+https://github\.com/|git clone https://github\.com/"
    r"|colab\.research\.google\.com/github/|mybinder\.org/v2/gh/"
    rf"|(?:\burl|\brepository-code): *\"?https://github\.com/)(?P<name>{NAME})"
)
SUFFIXES = {".cff", ".ipynb", ".md", ".py", ".svg", ".toml", ".txt", ".yaml", ".yml"}
SKIPPED = {"_build", "_vendor", "build", "dist", "tests"}


def files(root: Path) -> Iterator[Path]:
    """The book's text files, without what was built, brought along, or planted by tests."""
    for path in sorted(root.rglob("*")):
        parts = path.relative_to(root).parts
        hidden = any(part.startswith(".") and part != ".github" for part in parts)
        if path.suffix in SUFFIXES and not hidden and not SKIPPED.intersection(parts):
            yield path


def rename(root: Path, new: str) -> list[Path]:
    """Rewrite the book's address everywhere.

    Args:
        root: The book's folder.
        new: `owner/name` as it shall be.

    Returns:
        The files that changed.
    """
    old = repository(root)
    address = re.compile(rf"({HOSTS}){re.escape(old)}(?![\w-])")
    old_site, new_site = (
        "https://{}.github.io/{}".format(*n.split("/")) for n in (old, new)
    )
    changed = []
    for path in files(root):
        text = path.read_text("utf-8")
        renamed = address.sub(rf"\g<1>{new}", text).replace(old_site, new_site)
        if renamed != text:
            path.write_text(renamed, "utf-8")
            changed.append(path)
    return changed


def disagreements(root: Path) -> list[str]:
    """Where an address of the book is not the one in pyproject.toml."""
    expected = repository(root)
    return [
        f"{path.relative_to(root)}:{text.count(chr(10), 0, match.start()) + 1}: "
        f"the book lives at {expected}, not at {match['name']}"
        for path in files(root)
        for text in [path.read_text("utf-8")]
        for match in OWN.finditer(text)
        if match["name"] != expected
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite or check the address; the exit code is 0 if all places agree."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("name", nargs="?", metavar="owner/name")
    parser.add_argument(
        "--check", action="store_true", help="change nothing; say what differs"
    )
    parser.add_argument("--book", type=Path, default=ROOT, help="the book's folder")
    options = parser.parse_args(arguments)
    if not options.check:
        if not re.fullmatch(NAME, options.name or ""):
            parser.error("say where the book lives as owner/name, or --check")
        for path in rename(options.book, options.name):
            print(f"changed {path.relative_to(options.book)}")
    wrong = disagreements(options.book)
    print("\n".join(wrong) or f"Every address says {repository(options.book)}.")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
