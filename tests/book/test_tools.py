"""The tools behind `make`: the book's address, its notebooks, serving it, seeds, planted bugs."""

from __future__ import annotations

import subprocess
import sys
import urllib.request

import alone
import mutate
import pytest
import repository
import seeds
import toc
from conftest import ROOT, write_notebook

PYPROJECT = '[project.urls]\nRepository = "https://github.com/{}"\n'


# --- where the book lives -------------------------------------------------------------------------


@pytest.fixture
def book(tmp_path):
    """A folder that names the book in every way that the book does."""
    texts = {
        "pyproject.toml": PYPROJECT.format("old-owner/book"),
        "README.md": "git clone https://github.com/old-owner/book\n"
        "[![x](https://mybinder.org/v2/gh/old-owner/book/main)]\n"
        "https://old-owner.github.io/book/ and https://github.com/other/thing\n"
        "https://github.com/old-owner/book-two\n",
        "CITATION.cff": 'repository-code: "https://github.com/old-owner/book"\n',
        "chapters/one.ipynb": '%pip install "vgutils @ git+https://github.com/old-owner/book"',
        "_build/kept.md": "git clone https://github.com/old-owner/book\n",
    }
    for name, text in texts.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    return tmp_path


def test_the_book_moves_everywhere_at_once(book, capsys):
    assert repository.main(["--book", str(book), "new/place"]) == 0
    assert toc.repository(book) == "new/place"
    readme = (book / "README.md").read_text("utf-8")
    assert "old-owner/book\n" not in readme
    assert "https://new.github.io/place/" in readme
    assert "https://github.com/other/thing" in readme
    assert "https://github.com/old-owner/book-two" in readme
    assert "new/place" in (book / "chapters" / "one.ipynb").read_text("utf-8")
    assert "old-owner" in (book / "_build" / "kept.md").read_text("utf-8")
    assert "Every address says new/place." in capsys.readouterr().out
    assert repository.rename(book, "new/place") == []


@pytest.mark.parametrize(
    ("name", "line"),
    [("CITATION.cff", 1), ("README.md", 2), ("chapters/one.ipynb", 1)],
)
def test_an_address_that_differs_is_named(book, name, line, capsys):
    text = (book / name).read_text("utf-8")
    lines = text.split("\n")
    lines[line - 1] = lines[line - 1].replace("old-owner/book", "else/where")
    (book / name).write_text("\n".join(lines), "utf-8")
    assert repository.main(["--book", str(book), "--check"]) == 1
    said = capsys.readouterr().out
    assert (
        said == f"{name}:{line}: the book lives at old-owner/book, not at else/where\n"
    )


@pytest.mark.parametrize(
    "name", ["", "book", "a/b/c", "https://github.com/a/b", "a /b"]
)
def test_a_name_that_is_none_changes_nothing(book, name, capsys):
    before = {path: path.read_bytes() for path in repository.files(book)}
    with pytest.raises(SystemExit):
        repository.main(["--book", str(book), name])
    assert "owner/name" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in repository.files(book)} == before


# --- which notebooks ------------------------------------------------------------------------------


def test_notebooks_come_in_the_order_of_the_book(tmp_path):
    chapters = ["chapters/b", "chapters/a"]
    (tmp_path / "_toc.yml").write_text(
        "format: jb-book\nroot: intro\nchapters:\n"
        + "".join(f"  - file: {name}\n" for name in [*chapters, "words"]),
        "utf-8",
    )
    for name in ["intro", *chapters]:
        write_notebook(tmp_path / f"{name}.ipynb", ("markdown", "# A"))
    (tmp_path / "words.md").write_text("# Words\n", "utf-8")
    expected = [tmp_path / f"{name}.ipynb" for name in ["intro", *chapters]]
    assert toc.notebooks(tmp_path) == expected
    (tmp_path / "words.md").unlink()
    with pytest.raises(SystemExit, match="names words, but"):
        toc.notebooks(tmp_path)


# --- other seeds and planted bugs -----------------------------------------------------------------

CLAIM = """
import vgutils as vg
vg.claim("Seeds are small", vg.seed(), at_most={limit}, source="derivation: none is larger")
"""


@pytest.mark.slow
def test_a_claim_that_holds_at_one_seed_only_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("VG_SEED", "0")  # What it was comes back.
    for name, limit in {"luck": 1000, "law": 10_000}.items():
        code = CLAIM.format(limit=float(limit))
        write_notebook(tmp_path / f"{name}.ipynb", ("code", code))
    paths = [str(tmp_path / "luck.ipynb"), str(tmp_path / "law.ipynb")]
    assert seeds.main(["1", "2", "--notebooks", *paths]) == 1
    said = capsys.readouterr()
    rows = [line.split() for line in said.out.splitlines()]
    assert ["luck", "1", "FAILED"] in rows
    assert ["law", "1", "1"] in rows
    assert "seed 2, luck.ipynb, cell 1:" in said.err
    assert seeds.main(["1", "2", "--notebooks", paths[1]]) == 0


@pytest.mark.slow
def test_planted_bugs_are_caught_or_missed(tmp_path, monkeypatch, capsys):
    write_notebook(
        tmp_path / "chapter.ipynb",
        ("code", "from tiny import one\ntwo = 2"),
        ("code", "assert one + two == 3"),
    )
    package = tmp_path / "tiny"
    package.mkdir()
    (package / "__init__.py").write_text("one = 1\nunused = 5\n")
    listed = tmp_path / "mutants.toml"
    listed.write_text(
        """
        [[mutant]]
        what = "in the package"
        file = "tiny/__init__.py"
        chapter = "chapter.ipynb"
        find = "one = 1"
        put = "one = 2"
        [[mutant]]
        what = "what nothing sees"
        file = "tiny/__init__.py"
        chapter = "chapter.ipynb"
        find = "unused = 5"
        put = "unused = 6"
        """
    )
    monkeypatch.setattr(mutate, "ROOT", tmp_path)
    monkeypatch.setattr(mutate, "MUTANTS", listed)
    assert mutate.main(["--workers", "1"]) == 1
    said = capsys.readouterr().out
    assert "caught  in the package" in said
    assert "MISSED  what nothing sees" in said
    assert "1 of 2 planted bugs were caught" in said


@pytest.mark.parametrize("mutant", mutate.mutants(), ids=lambda mutant: mutant.what)
def test_every_listed_bug_can_be_planted(mutant, tmp_path):
    copy = mutant.plant(tmp_path)
    changed = tmp_path / mutant.file if mutant.chapter else copy
    assert changed.read_text("utf-8") != (ROOT / mutant.file).read_text("utf-8")


def test_there_are_bugs_to_plant():
    assert len(mutate.mutants()) >= 40


# --- alone ----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_notebooks_run_in_folders_of_their_own(tmp_path, capsys):
    source = tmp_path / "source"
    good, bad = source / "good.ipynb", source / "bad.ipynb"
    write_notebook(
        good,
        ("code", "from pathlib import Path\nPath('made').touch()"),
        ("code", "assert [p.name for p in Path().iterdir() if p.name == 'good.ipynb']"),
    )
    write_notebook(bad, ("code", "value = 1"), ("code", "value / 0"))
    homes = tmp_path / "homes"
    homes.mkdir()
    assert alone.run_notebooks(sys.executable, [good, bad], homes, 2) == 1
    said = capsys.readouterr()
    assert "good.ipynb done in" in said.out
    assert "bad.ipynb FAILED after" in said.out
    assert "bad.ipynb, cell 2:" in said.err
    assert "ZeroDivisionError" in said.err
    assert sorted(path.name for path in source.iterdir()) == ["bad.ipynb", "good.ipynb"]


def test_a_notebook_that_changes_packages_is_a_failure(tmp_path, monkeypatch, capsys):
    states = iter([{"jax==1"}, {"jax==2"}])
    monkeypatch.setattr(alone, "_packages", lambda python: next(states))
    monkeypatch.setattr(alone, "execute", lambda *_, **__: [])
    assert alone.run_notebooks(sys.executable, [], tmp_path, 1) == 2
    assert "changed packages: jax==1, jax==2" in capsys.readouterr().err


def test_unit_tests_that_fail_are_said_after_the_notebooks(monkeypatch, capsys):
    monkeypatch.setattr(alone, "install", lambda *_: None)
    monkeypatch.setattr(alone, "run_tests", lambda *_: 2)
    monkeypatch.setattr(alone, "run_notebooks", lambda *_: 0)
    assert alone.main(["--tests"]) == 1
    said = capsys.readouterr()
    assert "unit tests fail" in said.err
    assert "Every notebook runs alone" in said.out


def test_an_interpreter_that_is_not_there(capsys):
    with pytest.raises(SystemExit):
        alone.main(["--python", "no-such-python"])
    assert "there is no interpreter no-such-python" in capsys.readouterr().err


# --- serve ----------------------------------------------------------------------------------------


def serve(folder, port):
    """The server of a book in `folder`, asked for a port."""
    start = (
        f"import sys, pathlib; sys.path.insert(0, {str(ROOT / 'tools')!r}); import serve; "
        f"serve.ROOT = pathlib.Path({str(folder)!r}); "
        f"sys.argv = ['serve', '--port', '{port}']; serve.main()"
    )
    return subprocess.Popen(
        [sys.executable, "-c", start],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_two_servers_take_two_ports(tmp_path):
    page = tmp_path / "_build" / "html" / "index.html"
    page.parent.mkdir(parents=True)
    page.write_text("the book", "utf-8")
    servers, addresses = [], []
    try:
        for _ in range(2):
            servers.append(serve(tmp_path, 8431))
            line = servers[-1].stdout.readline()
            addresses.append(line.split()[4])
        for address in addresses:
            with urllib.request.urlopen(address + "index.html") as answer:
                assert answer.read() == b"the book"
        assert len(set(addresses)) == 2
    finally:
        for server in servers:
            server.kill()
            server.communicate()


@pytest.mark.slow
def test_without_a_book_there_is_nothing_to_serve(tmp_path):
    server = serve(tmp_path, 8431)
    _, said = server.communicate(timeout=60)
    assert server.returncode == 1
    assert said.strip() == "There is no book yet: make book"
