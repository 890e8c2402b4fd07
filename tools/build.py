"""Execute the chapters, render the book, put it in place: `python tools/build.py`.

What was executed is kept under `_build/cache`, so that only what changed runs again, and a build
that was killed goes on where it stopped. Pages are made in `_build/stage` and reach `_build/html`
only when all of them are right.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import nbformat
from execute import Execution, execute
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from nbformat.reader import NotJSONError
from toc import ROOT, notebooks

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
    cache = root / "_build" / "cache" / _execution_key(root)
    cache.mkdir(parents=True, exist_ok=True)
    cache.touch()
    _forget_old(cache.parent)
    _run_chapters(root, cache, workers)
    pages = _render(root, cache)
    _check_weight(pages)
    return _put_in_place(pages, root / "_build" / "html") / "index.html"


def _execution_key(root: Path) -> str:
    """A name for everything that a notebook's outputs depend on, beside its own cells."""
    switches = {
        name: value for name, value in os.environ.items() if name.startswith("VG_")
    }
    surroundings = repr((sys.version_info, sorted(switches.items())))
    package = Path(ROOT, "vgutils").rglob("*")
    sources = [p for p in package if p.is_file() and "__pycache__" not in p.parts]
    return _digest([*sources, root / "requirements.txt"], surroundings)


def _rendering_key(root: Path, cache: Path) -> str:
    """A name for what every page depends on and Sphinx does not watch."""
    watched = ["_config.yml", "_toc.yml", "references.bib", "requirements.txt"]
    files = [root / name for name in watched] + sorted(root.glob("_ext/*.py"))
    return _digest(files, f"{root} {cache.name}")


def _digest(files: Iterable[Path], more: str) -> str:
    content = hashlib.sha256(more.encode())
    for file in sorted(files):
        if file.exists():
            content.update(
                str(file).encode() + hashlib.sha256(file.read_bytes()).digest()
            )
    return content.hexdigest()[:16]


def _forget_old(caches: Path) -> None:
    for old in sorted(caches.iterdir(), key=lambda f: f.stat().st_mtime)[:-CACHES_KEPT]:
        shutil.rmtree(old)


def _run_chapters(root: Path, folder: Path, workers: int | None) -> None:
    """Execute the notebooks whose outputs are not in the cache, and put them there."""
    cache = get_cache(folder)
    waiting = {}
    for path in notebooks(root):
        try:
            cache.merge_match_into_notebook(nbformat.read(path, as_version=4))
        except (
            KeyError,
            NotJSONError,
        ):  # Not there, or cut short when a build was killed.
            waiting[path] = path.parent
    if not waiting:
        print("Every chapter is up to date.")
        return

    def name(path: Path) -> str:
        return path.relative_to(root).as_posix()

    def start(path: Path) -> None:
        print(f"  {name(path)} ...", flush=True)

    def end(done: Execution) -> None:
        verdict = "FAILED after" if done.failure else "done in"
        print(f"  {name(done.path)} {verdict} {done.seconds:.1f} s", flush=True)
        if not done.failure:
            bundle = CacheBundleIn(
                done.notebook, name(done.path), data={"execution_seconds": done.seconds}
            )
            cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)

    print(f"Executing {len(waiting)} of {len(notebooks(root))} notebooks:", flush=True)
    done = execute(waiting, on_start=start, on_end=end, workers=workers)
    failed = [run.failure.explain(name(run.path)) for run in done if run.failure]
    if failed:
        count = f"{len(failed)} notebook{'s' * (len(failed) > 1)} failed"
        raise BuildFailed(
            "\n\n".join([*failed, f"{count}; the book was not rendered."])
        )


def _render(root: Path, cache: Path) -> Path:
    """Render every page that changed, and stop at the end if any had a warning."""
    from jupyter_book.sphinx import (
        build_sphinx,  # Two seconds that a failed chapter need not wait.
    )

    stage = root / "_build" / "stage"
    # Warnings appear once, when a page is read; a stage that had some, or was cut short, would be
    # silent the next time. So it is trusted only while its key is there.
    key_file, key = stage / "key", _rendering_key(root, cache)
    if not key_file.exists() or key_file.read_text("utf-8") != key:
        shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True, exist_ok=True)
    key_file.unlink(missing_ok=True)

    print("Rendering ...", flush=True)
    pages = stage / "html"
    result = build_sphinx(
        str(root),
        str(pages),
        noconfig=True,  # Jupyter Book makes what would be conf.py.
        path_config=str(root / "_config.yml"),
        confoverrides={
            "nb_execution_cache_path": str(cache),
            "latex_individualpages": False,
        },
        warningiserror=True,
        keep_going=True,
        quiet=True,
    )
    if isinstance(result, OSError):
        raise result
    if result:
        raise BuildFailed(
            "The pages have problems, listed above; the book was not put in place."
        )
    key_file.write_text(key, "utf-8")
    return pages


def _check_weight(pages: Path) -> None:
    heavy = [
        f"{page.relative_to(pages)} weighs {page.stat().st_size / 1e6:.1f} MB"
        for page in sorted(pages.rglob("*.html"))
        if page.stat().st_size > PAGE_BYTES
    ]
    if heavy:
        raise BuildFailed(f"{', '.join(heavy)}: at most {PAGE_BYTES / 1e6} MB a page.")


def _put_in_place(pages: Path, target: Path) -> Path:
    """Copy the finished pages beside the old ones, then change places."""
    new, old = target.with_suffix(".new"), target.with_suffix(".old")
    for leftover in (new, old):
        shutil.rmtree(leftover, ignore_errors=True)
    shutil.copytree(pages, new)
    if target.exists():
        target.rename(old)
    new.rename(target)
    shutil.rmtree(old, ignore_errors=True)
    return target


def _count_claims(index: Path) -> str:
    claims = json.loads(index.with_name("claims.json").read_text("utf-8"))["claims"]
    chapters = len({claim["page"] for claim in claims})
    return f"{len(claims)} claims hold in {chapters} chapters"


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
    except OSError as error:
        print(f"\nThe book cannot be written: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "\nStopped. What was finished is kept: the next build goes on from there."
        )
        return 130
    seconds = time.monotonic() - started
    print(f"\n{_count_claims(index)}; {seconds:.0f} s.\nThe book is at {index}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
