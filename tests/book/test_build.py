"""What builds the book, on a book of two tiny notebooks: what stops it, what it does again."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import build
import pytest
import timings
from conftest import CLAIM, ROOT, write_notebook

pytestmark = pytest.mark.slow

Result = tuple[int, str, str]


@pytest.fixture
def make(tiny_book, capfd):
    """Build the tiny book; the exit code, what was printed, and what was complained."""

    def make_() -> Result:
        capfd.readouterr()
        code = build.main(["--book", str(tiny_book)])
        return code, *capfd.readouterr()

    return make_


def pages(root: Path) -> dict[str, bytes]:
    html = root / "_build" / "html"
    return {str(p.relative_to(html)): p.read_bytes() for p in files(html)}


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def one(*cells: str) -> list[tuple[str, ...]]:
    return [("markdown", "# One"), *(("code", cell) for cell in cells)]


# --- what stops it --------------------------------------------------------------------------------


def test_a_cell_that_raises(tiny_book, make):
    before = pages(tiny_book)
    write_notebook(
        tiny_book / "chapters/one.ipynb", *one("x = 1", "def f():\n    1 / 0\n\n\nf()")
    )
    code, out, err = make()
    assert code == 1
    assert "chapters/one.ipynb FAILED after" in out
    assert "chapters/one.ipynb, cell 3:" in err
    assert "ZeroDivisionError: division by zero" in err
    assert "    |     1 / 0" in err  # the code, and then the traceback
    assert "----> " in err
    assert "1 notebook failed; the book was not rendered." in err
    assert "\x1b[" not in err
    assert pages(tiny_book) == before


def test_a_missing_package_says_where_packages_are_named(tiny_book, make):
    write_notebook(tiny_book / "chapters/one.ipynb", *one("import nonesuch"))
    code, _, err = make()
    assert code == 1
    assert "chapters/one.ipynb, cell 2:" in err
    assert "No module named 'nonesuch'" in err
    assert "requirements.txt" in err


def test_a_claim_that_does_not_hold(tiny_book, make):
    write_notebook(tiny_book / "chapters/one.ipynb", *one(CLAIM.replace("2 + 2", "5")))
    code, _, err = make()
    assert code == 1
    assert "chapters/one.ipynb, cell 2:" in err
    assert "Two and two make four" in err


def test_a_kernel_that_dies_fails_only_its_own_chapter(tiny_book, make):
    write_notebook(
        tiny_book / "chapters/one.ipynb", *one("import os\n\nos.kill(os.getpid(), 9)")
    )
    write_notebook(tiny_book / "intro.ipynb", ("markdown", "# A"), ("code", "1 + 1"))
    code, out, err = make()
    assert code == 1
    assert "intro.ipynb done in" in out
    assert "chapters/one.ipynb:" in err
    assert "DeadKernelError" in err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[nothing](nowhere.md)", "nowhere.md"),
        ("[nothing](intro.ipynb#no-such-claim)", "no-such-claim"),
        ("{cite}`nobody1900`", "nobody1900"),
        ("{nosuchrole}`x`", "nosuchrole"),
        ("{ref}`no-such-label`", "no-such-label"),
        ("```{nosuchdirective}\n```", "nosuchdirective"),
        ("![A picture](missing.png)", "missing.png"),
    ],
    ids=["page", "anchor", "citation", "role", "label", "directive", "image"],
)
def test_a_page_that_is_not_right(tiny_book, make, text, complaint):
    before = pages(tiny_book)
    bibliography = tiny_book / "bibliography.md"
    bibliography.write_text(f"{bibliography.read_text()}\n{text}\n")
    code, _, err = make()
    assert code == 1
    assert complaint in err
    assert "bibliography.md" in err
    assert "the book was not put in place" in err
    assert pages(tiny_book) == before
    assert make()[0] == 1, "a warning must not be forgotten the second time"


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [
        (CLAIM.replace("derivation: counting", "nobody1900"), "nobody1900"),
        (f"{CLAIM}\n{CLAIM.splitlines()[-1]}", "claim-two-and-two-make-four"),
    ],
    ids=["unknown source", "two of one name"],
)
def test_a_claim_that_the_ledger_cannot_place(tiny_book, make, cell, complaint):
    lines = cell.splitlines()
    cells = [lines[0], *lines[2:]] if complaint.startswith("claim-") else [cell]
    write_notebook(tiny_book / "chapters/one.ipynb", *one(*cells))
    code, _, err = make()
    assert code == 1
    assert complaint in err


def test_a_page_that_is_too_heavy(tiny_book, make, monkeypatch):
    monkeypatch.setattr(build, "PAGE_BYTES", 1000)
    code, _, err = make()
    assert code == 1
    assert "intro.html weighs" in err


def test_a_page_that_is_not_there(tiny_book):
    with open(tiny_book / "_toc.yml", "a") as toc:
        toc.write("      - file: nosuchpage\n")
    with pytest.raises(SystemExit, match="nosuchpage"):
        build.main(["--book", str(tiny_book)])


def test_a_seed_that_is_none(tiny_book, make, monkeypatch):
    monkeypatch.setenv("VG_SEED", "many")
    code, out, err = make()
    assert code == 1
    assert "VG_SEED" in err
    assert "..." not in out


# --- what it does again ---------------------------------------------------------------------------


def test_the_end_says_where_the_book_is_and_what_holds(tiny_book, make):
    code, out, err = make()
    assert code == 0
    assert "1 claim holds in 1 chapter; " in out
    assert f"The book is at {tiny_book / '_build/html/index.html'}" in out
    assert err == ""


def test_nothing_changed_nothing_is_done(tiny_book):
    # In processes of their own: Sphinx writes other checksums in one that has built before.
    start(tiny_book).communicate()  # A copy renders once, because its place is another.
    before = {
        path: path.stat().st_mtime_ns for path in files(tiny_book / "_build/html")
    }
    again = start(tiny_book)
    assert "Every chapter is up to date." in again.communicate()[0]
    assert again.returncode == 0
    after = {path: path.stat().st_mtime_ns for path in files(tiny_book / "_build/html")}
    assert after == before


def test_only_what_changed_is_executed(tiny_book, make):
    write_notebook(
        tiny_book / "intro.ipynb", ("markdown", "# A"), ("code", "print(43)")
    )
    code, out, _ = make()
    assert code == 0
    assert "Executing 1 of 2 notebooks:" in out
    assert "  intro.ipynb ...\n  intro.ipynb done in " in out
    assert "one.ipynb" not in out
    assert b"43" in pages(tiny_book)["intro.html"]


def test_a_changed_style_reaches_the_pages(tiny_book):
    # In processes of their own, and after a first rendering, as above: no page is new.
    start(tiny_book).communicate()
    style = Path("_static", "book.css")
    (tiny_book / style).write_text("body { color: teal }", "utf-8")
    start(tiny_book).communicate()
    assert "teal" in (tiny_book / "_build" / "html" / style).read_text("utf-8")


def test_new_prose_executes_nothing(tiny_book, make):
    write_notebook(
        tiny_book / "intro.ipynb", ("markdown", "# New"), ("code", "print(6 * 7)")
    )
    code, out, _ = make()
    assert code == 0
    assert "Every chapter is up to date." in out
    assert b"New" in pages(tiny_book)["intro.html"]


@pytest.mark.parametrize("what", ["package", "versions", "JAX_ENABLE_X64"])
def test_what_outputs_depend_on_executes_everything(
    tiny_book, make, monkeypatch, tmp_path, what
):
    if what == "package":
        package = tmp_path / "vgutils"
        package.mkdir()
        (package / "new.py").write_text("")
        monkeypatch.setattr(build, "PACKAGE", package)
    elif what == "versions":
        (tiny_book / "requirements.txt").write_text("jax==1.0\n")
    else:
        monkeypatch.setenv(what, "0")
    # Only what is decided, not another two kernels.
    monkeypatch.setattr(build, "execute", lambda waiting, **_: refuse(len(waiting)))
    with pytest.raises(LookupError, match="2 would run"):
        make()


def refuse(count: int) -> None:
    raise LookupError(f"{count} would run")


def test_each_seed_has_its_own_outputs_and_says_so(tiny_book, make, monkeypatch):
    before = pages(tiny_book)
    monkeypatch.setenv("VG_SEED", "1")
    code, out, _ = make()
    assert code == 0
    assert "Executing 2 of 2 notebooks:" in out
    assert "1 claim holds in 1 chapter, with every seed shifted by 1000; " in out
    assert b"shifted by 1000" in pages(tiny_book)["ledger.html"]
    monkeypatch.delenv("VG_SEED")
    code, out, _ = make()
    assert code == 0
    assert "Every chapter is up to date." in out
    assert pages(tiny_book)["ledger.html"] == before["ledger.html"]


def test_old_outputs_are_forgotten_but_not_the_last(tiny_book, make):
    caches = tiny_book / "_build" / "cache"
    for number in range(9):
        (caches / f"old{number}").mkdir()
        os.utime(caches / f"old{number}", (number, number))
    assert make()[0] == 0
    kept = {path.name for path in caches.iterdir()}
    assert len(kept) == build.CACHES_KEPT
    assert {"old8", "old7"} < kept


# --- what stops in the middle ---------------------------------------------------------------------

WAIT = """import pathlib
import time

while not pathlib.Path("go").exists():
    time.sleep(0.05)"""


def start(root: Path) -> subprocess.Popen[str]:
    command = [sys.executable, ROOT / "tools" / "build.py", "--workers", "1"]
    return subprocess.Popen(
        [*command, "--book", root],
        # A runner in the background hands down an interrupt that is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )


def read_until(process: subprocess.Popen[str], text: str) -> str:
    read = ""
    assert process.stdout
    for line in process.stdout:
        read += line
        if text in line:
            return read
    raise AssertionError(f"{text!r} does not appear in\n{read}")


def test_a_build_that_is_killed_goes_on_and_two_take_turns(tiny_book):
    before = pages(tiny_book)
    write_notebook(
        tiny_book / "intro.ipynb", ("markdown", "# A"), ("code", "print(43)")
    )
    write_notebook(tiny_book / "chapters/one.ipynb", *one(CLAIM, WAIT))
    killed = start(tiny_book)
    read_until(killed, "chapters/one.ipynb ...")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert pages(tiny_book) == before

    first = start(tiny_book)
    said = read_until(first, "chapters/one.ipynb ...")
    assert "Executing 1 of 2 notebooks:" in said
    second = start(tiny_book)
    read_until(second, "Another build of this book is running")
    (tiny_book / "chapters" / "go").touch()
    assert "The book is at" in first.communicate()[0]
    assert "Every chapter is up to date." in second.communicate()[0]
    assert (first.returncode, second.returncode) == (0, 0)
    assert b"43" in pages(tiny_book)["intro.html"]


def test_an_interrupt_says_that_nothing_is_lost(tiny_book):
    write_notebook(tiny_book / "chapters/one.ipynb", *one(CLAIM, WAIT))
    stopped = start(tiny_book)
    read_until(stopped, "chapters/one.ipynb ...")
    time.sleep(0.5)
    stopped.send_signal(signal.SIGINT)
    said = stopped.communicate(timeout=30)[0]
    assert stopped.returncode == 130
    assert said.strip() == (
        "Stopped. What was finished is kept: the next build goes on from there."
    )


FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail_after(function, calls: int):
    """The function, which works a few times and then finds the disk full."""
    left = calls

    def limited(*arguments, **options):
        nonlocal left
        left -= 1
        if left < 0:
            raise FULL
        return function(*arguments, **options)

    return limited


def change(root: Path) -> None:
    write_notebook(root / "intro.ipynb", ("markdown", "# A"), ("code", "print(43)"))


def test_a_disk_that_fills_while_outputs_are_kept(tiny_book, make, monkeypatch):
    before = pages(tiny_book)
    change(tiny_book)
    with monkeypatch.context() as patch:
        write = Path.write_text

        def write_text(path, *arguments, **options):
            if path.name == "base.ipynb":
                write(path, "{", "utf-8")
                raise FULL
            return write(path, *arguments, **options)

        patch.setattr(Path, "write_text", write_text)
        code, _, err = make()
    assert code == 1
    assert err.strip().splitlines() == [
        "The book cannot be written: [Errno 28] No space left on device"
    ]
    assert pages(tiny_book) == before
    code, out, _ = make()
    assert code == 0
    assert "Executing 1 of 2 notebooks:" in out


def test_a_disk_that_fills_before_an_output_has_its_file(tiny_book, make, monkeypatch):
    change(tiny_book)
    with monkeypatch.context() as patch:
        write = Path.write_text

        def write_text(path, *arguments, **options):
            if path.name == "base.ipynb":
                raise FULL
            return write(path, *arguments, **options)

        patch.setattr(Path, "write_text", write_text)
        assert make()[0] == 1
    assert make()[0] == 0


def test_a_disk_that_fills_while_pages_are_put_in_place(tiny_book, make, monkeypatch):
    before = pages(tiny_book)
    change(tiny_book)
    with monkeypatch.context() as patch:
        copies = fail_after(build.shutil.copy2, 5)
        tree = build.shutil.copytree

        def copytree(source, target, *arguments, **options):
            if Path(target).name == "html.new":
                options["copy_function"] = copies
            return tree(source, target, *arguments, **options)

        patch.setattr(build.shutil, "copytree", copytree)
        code, _, err = make()
    assert code == 1
    assert "The book cannot be written: " in err
    assert "No space left on device" in err
    assert pages(tiny_book) == before
    assert make()[0] == 0
    assert b"43" in pages(tiny_book)["intro.html"]
    assert not list((tiny_book / "_build").glob("html.*"))


def test_a_disk_that_fills_while_the_ledger_is_written(tiny_book, make, monkeypatch):
    before = pages(tiny_book)
    change(tiny_book)
    with monkeypatch.context() as patch:
        patch.setattr("ledger.json.dumps", fail_after(json.dumps, 0))
        code, _, err = make()
    assert code == 1
    assert err.strip().splitlines() == [
        "The book cannot be written: [Errno 28] No space left on device"
    ]
    assert pages(tiny_book) == before
    assert make()[0] == 0


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_is_read_only(tiny_book, make):
    change(tiny_book)
    (tiny_book / "_build").chmod(0o500)
    try:
        code, _, err = make()
    finally:
        (tiny_book / "_build").chmod(0o700)
    assert code == 1
    assert err.count("\n") == 2
    assert "The book cannot be written: " in err


def test_a_build_folder_that_is_none(tiny_book, make):
    (tiny_book / "_build").rename(tiny_book / "elsewhere")
    (tiny_book / "_build").write_text("")
    code, _, err = make()
    assert code == 1
    assert err.strip().startswith("The book cannot be written: ")
    assert "Traceback" not in err


def test_a_damaged_cache_is_one_message(tiny_book, make):
    for database in (tiny_book / "_build" / "cache").rglob("global.db"):
        database.write_bytes(b"not a database" * 100)
    code, _, err = make()
    assert code == 1
    assert "The book cannot be written: " in err
    assert "Traceback" not in err


def test_no_page_knows_where_it_was_built(built_book):
    home = str(built_book).encode()
    assert not [name for name, content in pages(built_book).items() if home in content]


# --- what it cost ---------------------------------------------------------------------------------


def test_a_build_records_where_its_time_went(tiny_book, make, capfd):
    code = "import time\n\nuntil = time.process_time() + 1\n"
    busy = code + "while time.process_time() < until:\n    pass"
    write_notebook(tiny_book / "chapters/one.ipynb", *one("print(1)", busy, CLAIM))
    make()
    intro, chapter = timings.timings(tiny_book)
    assert (intro.name, chapter.name) == ("intro.ipynb", "chapters/one.ipynb")
    assert chapter.cpu_seconds >= 1
    cells = {number: (seconds, line) for seconds, number, line in chapter.cells}
    assert max(cells.values()) == next(iter(cells.values()))  # Slowest first.
    assert cells.keys() == {2, 3, 4}
    assert cells[3][0] >= 1
    assert cells[3][1] == "import time"
    assert sum(seconds for seconds, _ in cells.values()) <= chapter.seconds
    assert timings.main(["--book", str(tiny_book), "--cells", "1"]) == 0
    said = capfd.readouterr().out
    assert "chapters/one.ipynb" in said
    assert "all 2 notebooks" in said


def test_where_nothing_was_built_there_are_no_times(tmp_path, capsys):
    assert timings.main(["--book", str(tmp_path)]) == 1
    assert "make book" in capsys.readouterr().err
