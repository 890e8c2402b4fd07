"""Execute the chapters, render the book, put it in place: `python tools/build.py`.

What was executed is kept under `_build/cache`, so that only what changed runs again, and a build
that was killed goes on where it stopped. Pages are made in `_build/stage` and reach `_build/html`
only when all of them are right.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import nbformat
from execute import Execution, execute
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.cache.main import JupyterCacheBase
from sqlalchemy.exc import SQLAlchemyError
from toc import ROOT, notebooks

import vgutils
from vgutils.settings import seed

PACKAGE = Path(vgutils.__file__).parent
CACHES_KEPT = 5
PAGE_BYTES = 1_500_000


class BuildFailed(Exception):
    """The book is not right; the message says where, and what was there before stays."""


def build(root: Path, workers: int | None = None) -> Path:
    """Bring the book up to date.

    Args:
        root: The book's folder.
        workers: How many chapters run at a time; the number of cores if not given.

    Returns:
        The book's first page.

    Raises:
        BuildFailed: A cell, a claim, a reference, or the weight of a page is wrong.
        OSError: The build folder cannot be written.
    """
    with _alone(root / "_build"):
        cache = _cache_folder(root)
        _run_chapters(root, cache, workers)
        pages = _render(root, cache)
        _check_weight(pages)
        return _put_in_place(pages, root / "_build" / "html") / "index.html"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one build at a time write to `folder`; the system frees it when a build dies."""
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another build of this book is running: waiting for it.", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


# What was executed before, and with what.


def _cache_folder(root: Path) -> Path:
    """Where outputs are kept that were made with this package, these versions, this seed."""
    caches = root / "_build" / "cache"
    current = caches / _digest(_surroundings(root))
    folder = current / f"seed-{_seed()}"
    folder.mkdir(parents=True, exist_ok=True)
    current.touch()
    for old in sorted(caches.iterdir(), key=lambda f: f.stat().st_mtime)[:-CACHES_KEPT]:
        shutil.rmtree(old)
    return folder


def _seed() -> int:
    try:
        return seed()
    except ValueError as error:
        raise BuildFailed(str(error)) from error


def _surroundings(root: Path) -> dict[str, bytes]:
    """What a notebook's outputs depend on, beside its own cells and the seed."""
    switches = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("VG_", "JAX_", "XLA_")) and name != "VG_SEED"
    }
    package = {
        f"vgutils/{path.relative_to(PACKAGE)}": path.read_bytes()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return package | {
        "versions": (root / "requirements.txt").read_bytes(),
        "python": repr((sys.version_info, sorted(switches.items()))).encode(),
    }


def _digest(contents: Mapping[str, bytes]) -> str:
    whole = hashlib.sha256()
    for name in sorted(contents):
        whole.update(name.encode() + hashlib.sha256(contents[name]).digest())
    return whole.hexdigest()[:16]


def _run_chapters(root: Path, folder: Path, workers: int | None) -> None:
    """Execute the notebooks whose outputs are not in the cache, and put them there."""
    cache = get_cache(folder)
    book = notebooks(root)
    waiting = {path: path.parent for path in book if not _is_cached(cache, path)}
    if not waiting:
        print("Every chapter is up to date.")
        return

    def name(path: Path) -> str:
        return path.relative_to(root).as_posix()

    def start(path: Path) -> None:
        print(f"  {name(path)} ...", flush=True)

    def end(run: Execution) -> None:
        verdict = "FAILED after" if run.failure else "done in"
        print(f"  {name(run.path)} {verdict} {run.seconds:.1f} s", flush=True)
        if not run.failure:
            costs = {
                "execution_seconds": run.seconds,
                "cpu_seconds": run.cpu_seconds,
                "cells": [
                    [seconds, number, cell.source.split("\n")[0]]
                    for number, (seconds, cell) in enumerate(
                        zip(run.cell_seconds, run.notebook.cells, strict=True), 1
                    )
                    if cell.cell_type == "code"
                ],
            }
            bundle = CacheBundleIn(run.notebook, name(run.path), data=costs)
            cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)

    print(f"Executing {len(waiting)} of {len(book)} notebooks:", flush=True)
    runs = execute(waiting, on_start=start, on_end=end, workers=workers)
    failed = [run.failure.explain(name(run.path)) for run in runs if run.failure]
    if failed:
        count = f"{len(failed)} notebook{'s' * (len(failed) > 1)} failed"
        raise BuildFailed(
            "\n\n".join([*failed, f"{count}; the book was not rendered."])
        )


def _is_cached(cache: JupyterCacheBase, path: Path) -> bool:
    notebook = nbformat.read(path, as_version=4)
    try:
        cache.merge_match_into_notebook(notebook)
    except (KeyError, ValueError):  # Not there, or cut short when a build was killed.
        _, key = cache.create_hashed_notebook(notebook)
        shutil.rmtree(Path(cache.path, "executed", key), ignore_errors=True)
        return False
    return True


# The pages.


def _render(root: Path, cache: Path) -> Path:
    """Render every page that changed, and stop at the end if any had a warning."""
    stage = root / "_build" / "stage"
    # Warnings appear once, when a page is read; a stage that had some, or was cut short, would be
    # silent the next time. So it is trusted only while its key is there.
    key_file, key = stage / "key", _rendering_key(root, cache)
    if not key_file.exists() or key_file.read_text("utf-8") != key:
        shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True, exist_ok=True)
    key_file.unlink(missing_ok=True)

    print("Rendering ...", flush=True)
    if _run_sphinx(root, cache, stage):
        raise BuildFailed(
            "The pages have problems, listed above; the book was not put in place."
        )
    key_file.write_text(key, "utf-8")
    return stage / "html"


def _rendering_key(root: Path, cache: Path) -> str:
    """A name for what every page depends on and Sphinx does not watch."""
    names = ["_config.yml", "_toc.yml", "references.bib", "requirements.txt"]
    files = [root / name for name in names] + list(root.glob("_ext/*.py"))
    # Sphinx copies these only when a page is new.
    files += [path for path in root.glob("_static/**/*") if path.is_file()]
    contents = {str(path): path.read_bytes() for path in files}
    return _digest(contents | {"cache": str(cache).encode()})


def _run_sphinx(root: Path, cache: Path, stage: Path) -> int:
    """Run Sphinx as `jupyter-book build` does; return whether there was a warning."""
    # Two seconds of imports that a failed chapter need not wait for.
    from jupyter_book.config import get_final_config
    from sphinx.application import Sphinx
    from sphinx.errors import ExtensionError, SphinxError
    from sphinx.util.docutils import docutils_namespace, patch_docutils

    config, _ = get_final_config(
        user_yaml=root / "_config.yml",
        cli_config={
            "nb_execution_cache_path": str(cache),
            "latex_individualpages": False,
        },
        sourcedir=root,
    )
    try:
        with patch_docutils(), docutils_namespace():
            app = Sphinx(
                srcdir=root,
                confdir=None,
                outdir=stage / "html",
                doctreedir=stage / ".doctrees",
                buildername="html",
                confoverrides=config,
                status=None,
                warning=sys.stderr,
                warningiserror=True,
                keep_going=True,
            )
            app.setup_extension("sphinx_multitoc_numbering")
            app.build()
            return int(app.statuscode)
    except ExtensionError as error:
        if isinstance(error.orig_exc, OSError):
            raise error.orig_exc from None
        raise
    except SphinxError as error:
        raise BuildFailed(f"{error.category}: {error}") from error


def _check_weight(pages: Path) -> None:
    heavy = [
        f"{page.relative_to(pages)} weighs {page.stat().st_size / 1e6:.1f} MB"
        for page in sorted(pages.rglob("*.html"))
        if page.stat().st_size > PAGE_BYTES
    ]
    if heavy:
        raise BuildFailed(f"{', '.join(heavy)}: at most {PAGE_BYTES / 1e6} MB a page.")


def _put_in_place(pages: Path, target: Path) -> Path:
    """Copy the finished pages beside the old ones, then change places, if they differ."""
    new, old = target.with_suffix(".new"), target.with_suffix(".old")
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    if _files(pages) == _files(target):
        return target
    shutil.copytree(pages, new)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return target


def _files(folder: Path) -> dict[Path, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder): path.read_bytes() for path in files}


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the book and say how it went; the exit code is 0 only if all of it is right."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--book", type=Path, default=ROOT, help="the book's folder")
    parser.add_argument("--workers", type=int, help="notebooks that run at a time")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        index = build(options.book.resolve(), options.workers)
    except BuildFailed as failure:
        print(f"\n{failure}", file=sys.stderr)
        return 1
    except (OSError, SQLAlchemyError) as error:
        print(f"\nThe book cannot be written: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nStopped. What was finished is kept: the next build goes on from there."
        )
        return 130
    ledger = json.loads(index.with_name("claims.json").read_text("utf-8"))
    seconds = time.monotonic() - started
    print(f"\n{ledger['summary']}; {seconds:.0f} s.\nThe book is at {index}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
