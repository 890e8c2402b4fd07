"""The one form of a notebook, and what is refused in one."""

from __future__ import annotations

import json

import nbformat
import notebooks
import pytest
from conftest import write_notebook
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

TEXT = st.text(st.sampled_from("ab #`$\n\t 1.é\u2028"), max_size=30)
CELLS = st.lists(
    st.one_of(
        st.builds(new_markdown_cell, TEXT),
        st.builds(
            lambda text, tags: new_code_cell(text, metadata={"tags": tags}),
            TEXT,
            st.lists(st.sampled_from(sorted(notebooks.TAGS)), unique=True),
        ),
    ),
    max_size=5,
)

# --- the one form ---------------------------------------------------------------------------------


@given(CELLS)
def test_the_form_of_the_form_is_the_form(cells):
    once = notebooks.canonical(nbformat.writes(new_notebook(cells=cells)))
    assert notebooks.canonical(once) == once
    nbformat.validate(json.loads(once))
    ids = [cell["id"] for cell in json.loads(once)["cells"]]
    assert len(ids) == len(set(ids))


@given(CELLS)
def test_the_form_keeps_what_is_written_and_nothing_else(cells):
    once = json.loads(notebooks.canonical(nbformat.writes(new_notebook(cells=cells))))
    kept = ["".join(cell["source"]).split() for cell in once["cells"]]
    assert kept == [cell.source.split() for cell in cells if cell.source.strip()]
    for cell in once["cells"]:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


def plain() -> nbformat.NotebookNode:
    cells = [
        new_markdown_cell("# Title\n\nText with é."),
        new_code_cell("x = 1\nx", metadata={"tags": ["parameters"]}),
        new_code_cell("answer = 2", metadata={"tags": ["solution", "hide-cell"]}),
    ]
    return new_notebook(cells=cells)


def saved_by_jupyterlab(notebook: nbformat.NotebookNode) -> str:
    notebook.metadata = {
        "kernelspec": {
            "display_name": "Python 3 (ipykernel)",
            "language": "python",
            "name": "python3",
        },
        "language_info": {"name": "python", "version": "3.12.1", "file_extension": "x"},
        "widgets": {"state": {}},
    }
    for cell in notebook.cells:
        cell.id = f"lab-{cell.id}"
        cell.metadata["editable"] = True
        cell.metadata["slideshow"] = {"slide_type": ""}
    run(notebook)
    notebook.cells.append(new_code_cell(""))  # The one that waits below.
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def saved_by_colab(notebook: nbformat.NotebookNode) -> str:
    notebook.nbformat_minor = 0
    notebook.metadata = {
        "accelerator": "GPU",
        "colab": {"provenance": [], "gpuType": "T4", "toc_visible": True},
        "kernelspec": {"display_name": "Python 3", "name": "python3"},
    }
    run(notebook)
    for number, cell in enumerate(notebook.cells):
        del cell["id"]
        cell.metadata["id"] = f"abc{number}"
        cell.metadata["colab"] = {"base_uri": "https://localhost:8080/"}
        cell.source = cell.source + "\n"
        for output in cell.get("outputs", []):
            output["metadata"] = {}
    return json.dumps(notebook)  # On one line, with é escaped.


def run(notebook: nbformat.NotebookNode) -> None:
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code":
            cell.execution_count = number
            cell.outputs = [new_output("stream", text="1\n")]


@pytest.mark.parametrize("save", [saved_by_jupyterlab, saved_by_colab])
def test_whatever_saved_it_the_bytes_are_the_same(save):
    assert notebooks.canonical(save(plain())) == notebooks.canonical(
        nbformat.writes(plain())
    )


def test_two_cells_of_one_text_have_two_names():
    twice = new_notebook(cells=[new_code_cell("x"), new_code_cell("x")])
    first, second = json.loads(notebooks.canonical(nbformat.writes(twice)))["cells"]
    assert first["id"] != second["id"]


def test_a_cell_keeps_its_name_when_another_changes():
    def names(*texts: str) -> list[str]:
        cells = [new_markdown_cell(text) for text in texts]
        text = notebooks.canonical(nbformat.writes(new_notebook(cells=cells)))
        return [cell["id"] for cell in json.loads(text)["cells"]]

    assert names("# A", "b", "c")[0::2] == names("# A", "changed", "c")[0::2]


# --- what is refused ------------------------------------------------------------------------------

CHAPTER = [
    ("markdown", "# A chapter\n\nYou need a pencil. It takes 20 minutes."),
    ("code", notebooks.bootstrap(), "bootstrap"),
    ("code", "import vgutils as vg\n\nSEED = vg.seed()", "parameters"),
    ("markdown", "> **What you will learn.** That {cite:t}`writer1991` was right."),
    ("markdown", "> **Predict.** What will it be?"),
    ("code", "vg.claim('a')\nvg.claim('b')\nvg.claim('c')"),
    ("markdown", "## Exercises\n\n### Exercise 1\n\n### Exercise 2\n\n### Exercise 3"),
    ("markdown", "<details><summary>Hint 1</summary>\n\nAbout $2.5$.\n\n</details>"),
    ("code", "answer = 1", "solution"),
    ("code", "vg.quiz()", "remove-input"),
    ("markdown", "## Summary\n\n## Further reading"),
]


@pytest.fixture
def check(tmp_path):
    """Write a chapter and say what is wrong with it."""
    (tmp_path / "pyproject.toml").write_text(
        (notebooks.ROOT / "pyproject.toml").read_text("utf-8"), "utf-8"
    )

    def check_(*cells: tuple[str, ...]) -> list[str]:
        path = tmp_path / "chapters" / "one.ipynb"
        write_notebook(path, *cells)
        return notebooks.problems(path, tmp_path)

    return check_


def test_a_whole_chapter_is_right(check):
    assert check(*CHAPTER) == []


@pytest.mark.parametrize(
    ("gone", "part"),
    [
        ("What you will learn", "what you will learn"),
        ("You need", "prerequisites"),
        ("minutes", "the minutes it takes"),
        ("Predict", "a Predict question"),
        ("vg.claim('c')", "a claim, 3 times (has 2)"),
        ("Exercise 3", "an exercise, 3 times (has 2)"),
        ("Hint", "a hint"),
        ("vg.quiz", "a quiz"),
        ("Summary", "a summary"),
        ("Further reading", "further reading"),
        ("{cite:t}`writer1991`", "a citation"),
    ],
)
def test_a_part_that_is_missing(check, gone, part):
    without = [(kind, text.replace(gone, "x"), *tags) for kind, text, *tags in CHAPTER]
    assert f"chapters/one.ipynb: the chapter needs {part}" in check(*without)


@pytest.mark.parametrize("tag", ["parameters", "solution"])
def test_a_tagged_cell_that_is_missing(check, tag):
    without = [cell for cell in CHAPTER if tag not in cell[2:]]
    assert check(*without) == [
        f"chapters/one.ipynb: the chapter needs a cell tagged {tag}"
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("It shrinks by 0.25 in each layer.", "the number 0.25 is typed"),
        ("It is 3e-8 small.", "the number 3e-8 is typed"),
        ("It is 1.5e-8 small.", "the number 1.5e-8 is typed"),
        ("It is 10^-8 small.", "the number 10^ is typed"),
        ("It is 10⁻⁸ small.", "the number 10⁻⁸ is typed"),
        ("See {ref}`somewhere`.", "the role {ref}"),
        ("See {numref}`somewhere`.", "the role {numref}"),
        ("```{note}\nText\n```", "a MyST directive"),
        ("~~~{note}\nText\n~~~", "a MyST directive"),
        (":::{note}\nText\n:::", "a MyST directive"),
        (":::\nText\n:::", "a colon fence"),
        ("(target)=\n", "a MyST target"),
        ("% A comment", "comment"),
        ("+++", "block break"),
        ("<script>alert(1)</script>", "the HTML tag <script>"),
        ("<img src='x.png'>", "the HTML tag <img>"),
        ("# Another title", "more than one title"),
        ("#### Too deep", "a heading skips a level"),
    ],
)
def test_text_that_does_not_read_everywhere(check, text, complaint):
    found = check(*CHAPTER, ("markdown", text))
    assert [problem for problem in found if complaint in problem]


@pytest.mark.parametrize(
    "text",
    [
        "The slope is $0.25$, or $$10^{-8}$$, or `1e-8`.",
        "```python\nx = 0.25  # {ref}`x`\n```",
        "Version 1.2.3, section 4, 60,000 images, [a link](https://a.b/1.5/x).",
        "As {cite:t}`writer1991` and {cite}`four2020` say.",
        "| a | b |\n|---|---|\n| 1 | 2 |",
        "<details><summary>Hint 2</summary>\n\nThink.\n\n</details>",
        "If $a < b$ and `x <y> z`, then H<sub>2</sub>O.",
    ],
)
def test_text_that_reads_everywhere(check, text):
    assert check(*CHAPTER, ("markdown", text)) == []


@pytest.mark.parametrize(
    ("cell", "complaint"),
    [
        (("code", "\n".join(["x = 1"] * 21)), "21 lines of code, at most 20"),
        (
            ("code", "\n".join(["x = 1"] * 26), "solution"),
            "26 lines of code, at most 25",
        ),
        (("code", "x = 1", "remove-imput"), "the tag remove-imput"),
        (("code", "vg.show(f(x), caption='c')"), "vg.show(...) has no alt="),
        (("code", "vg.explorable('t', curves=f(1))"), "vg.explorable(...) has no alt="),
    ],
)
def test_code_that_does_not_fit(check, cell, complaint):
    (problem,) = check(*CHAPTER, cell)
    assert problem.startswith(f"chapters/one.ipynb, cell {len(CHAPTER) + 1}: ")
    assert complaint in problem


def test_a_set_up_of_ones_own(check):
    own = [CHAPTER[0], ("code", "%pip install jax", "bootstrap"), *CHAPTER[2:]]
    assert "the bootstrap cell is not the common one" in check(*own)[0]
    assert "not tagged bootstrap" in check(CHAPTER[0], *CHAPTER[2:])[0]


def test_a_title_that_is_missing(check):
    assert "the first cell is not a title" in check(*CHAPTER[1:])[0]


@pytest.mark.parametrize("what", ["outputs", "form", "ids"])
def test_a_notebook_that_is_not_in_its_form(tmp_path, check, what, capsys):
    check(*CHAPTER)
    path = tmp_path / "chapters" / "one.ipynb"
    right = path.read_text("utf-8")
    notebook = json.loads(right)
    if what == "outputs":
        run(notebook := nbformat.from_dict(notebook))
    elif what == "ids":
        notebook["cells"][0]["id"] = notebook["cells"][1]["id"]
    path.write_text(json.dumps(notebook, indent=1 if what != "form" else 4), "utf-8")
    arguments = ["--book", str(tmp_path), str(path)]
    assert notebooks.main(["check", *arguments]) == 1
    assert "not in canonical form" in capsys.readouterr().out
    assert notebooks.main(["format", *arguments]) == 0
    assert capsys.readouterr().out == "formatted chapters/one.ipynb\n"
    assert path.read_text("utf-8") == right
    assert notebooks.main(["check", *arguments]) == 0
    assert notebooks.main(["format", *arguments]) == 0
    assert capsys.readouterr().out == "Notebooks as they should be: 1\n"


def test_a_file_that_is_no_notebook(tmp_path):
    path = tmp_path / "broken.ipynb"
    path.write_text("{", "utf-8")
    (problem,) = notebooks.problems(path, tmp_path)
    assert problem.startswith("broken.ipynb: not a notebook: ")


def test_the_books_own_notebooks_are_right():
    for path in notebooks.notebooks():
        assert notebooks.problems(path) == []
