"""The plumbing of the benchmarks: never how long anything takes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from conftest import ROOT

sys.path.append(str(ROOT / "benchmarks"))

import beside
import budgets
from budgets import Row


def test_a_row_is_missed_beyond_its_bound_and_where_it_is_no_number():
    assert not Row("a", 2.0, at_most=2).missed
    assert Row("a", 2.1, at_most=2).missed
    assert not Row("a", 10.0, at_least=10).missed
    assert Row("a", 9.9, at_least=10).missed
    assert Row("a", float("nan"), at_most=2).missed
    assert not Row("for information", 1e9).missed
    assert not Row("not measured", None, at_most=2).missed


def test_a_row_says_its_verdict_number_bound_and_name():
    assert str(Row("name", 3.0, at_most=2)) == "MISSED     3.00  at most 2     name"
    assert str(Row("name", 3.0, at_least=2)).split() == [
        "ok",
        "3.00",
        "at",
        "least",
        "2",
        "name",
    ]
    assert str(Row("name", 3.0)).split() == ["3.00", "name"]
    assert str(Row("name", None, at_least=2)).endswith(f"name; {beside.MISSING}")


def test_notebooks_go_to_the_worker_that_is_free_first():
    assert budgets.side_by_side([5, 1, 1, 1, 4], workers=2) == 7
    assert budgets.side_by_side([5, 1, 1], workers=1) == 7
    assert budgets.side_by_side([], workers=2) == 0


PYTHON = Path(sys.executable)


def worker(tmp_path, *body):
    """A script that stands for PyTorch's; `body` sees each request as `line`."""
    script = tmp_path / "worker.py"
    lines = ["import sys", "for line in sys.stdin:", *(f"    {line}" for line in body)]
    script.write_text("\n".join(lines), "utf-8")
    return script


def test_pytorch_does_the_work_that_it_is_asked_for_each_time(tmp_path):
    log = tmp_path / "log"
    write = f"open({str(log)!r}, 'a').write(line)"
    script = worker(tmp_path, write, "print('done', flush=True)")
    with beside.pytorch(PYTHON, script) as work:
        run = work("step", depth=3)
        run()
        run()
    assert log.read_text("utf-8") == '["step", {"depth": 3}]\n' * 2


def test_a_worker_that_stops_is_an_error_that_names_the_work(tmp_path):
    script = worker(tmp_path, "sys.exit(1)")
    with (
        beside.pytorch(PYTHON, script) as work,
        pytest.raises(RuntimeError, match="sweep"),
    ):
        work("sweep", networks=1)()


def test_without_an_interpreter_there_is_no_work(tmp_path):
    with beside.pytorch(tmp_path / "python") as work:
        assert work is None


@pytest.mark.parametrize("there", [True, False])
def test_every_budget_of_the_design_has_a_row(monkeypatch, there):
    fake = Row("seconds: clean build", 1.0), Row("seconds: build with nothing", 1.0)
    monkeypatch.setattr(budgets, "builds", lambda clean: iter(fake))
    monkeypatch.setattr(budgets, "chapter_seconds", lambda: iter([("a.ipynb", 61.0)]))
    monkeypatch.setattr(budgets, "page_megabytes", lambda: iter([("a.html", 1.0)]))
    for name in ("import_ratio", "compile_ratio", "loop_over_one_program"):
        monkeypatch.setattr(budgets, name, lambda: 1.0)
    monkeypatch.setattr(budgets, "eager_over_one_program", lambda work: 11.0)
    monkeypatch.setattr(budgets, "overheads", lambda: iter([("depth 10", 1.0)]))
    monkeypatch.setattr(
        budgets, "in_pytorch", lambda work: iter([("depth 10", 2.0, 3.0)])
    )
    python = PYTHON if there else Path("nowhere")
    monkeypatch.setattr(budgets, "pytorch", lambda: beside.pytorch(python))
    rows = list(budgets.rows())
    names = "\n".join(row.name for row in rows)
    for part in ("clean", "nothing", "a.ipynb", "a.html", "import", "10,000", "a loop",
                 "PyTorch, eager", "probe over bare", "PyTorch's bare step", "hooks"):  # fmt: skip
        assert part in names
    missing = [row for row in rows if row.value is None]
    assert len(missing) == (0 if there else 3)
    assert [row.name for row in rows if row.missed] == [
        "seconds: a.ipynb",
        "ratio: 64 networks in a loop over one program",
    ]
