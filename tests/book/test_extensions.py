"""What the Sphinx extensions do to a page, on small documents and on a tiny book."""

from __future__ import annotations

import html
import json
import re

import accessible
import docstrings
import docutils.core
import docutils.utils
import ledger
import offline
import portable
import pytest
from docutils import nodes
from docutils.frontend import get_default_settings
from myst_parser.parsers.docutils_ import Parser
from pybtex.database import Entry, Person


def read(markdown: str) -> nodes.document:
    """The document tree of some Markdown, as the book's extensions find it."""
    parser = Parser()
    settings = get_default_settings(Parser)
    settings.myst_enable_extensions = {"dollarmath", "amsmath"}
    document = docutils.utils.new_document("page", settings)
    parser.parse(markdown, document)
    return document


# --- portable -------------------------------------------------------------------------------------


@pytest.mark.parametrize("word", portable.BOXES)
@pytest.mark.parametrize("end", [".", ":", ""])
def test_a_quotation_that_opens_with_a_kind_becomes_a_box(word, end):
    document = read(f"> **{word}{end}** Some *text*.\n>\n> More of it.")
    portable.Boxes(document).apply()
    (box,) = document.findall(nodes.admonition)
    assert box["classes"] == ["admonition", portable.BOXES[word]]
    assert [part.astext() for part in box] == [word, "Some text.", "More of it."]
    assert not list(document.findall(nodes.block_quote))


def test_a_title_may_say_more_and_stand_alone():
    document = read("> **Predict the depth.**\n>\n> How deep?")
    portable.Boxes(document).apply()
    (box,) = document.findall(nodes.admonition)
    assert [part.astext() for part in box] == ["Predict the depth", "How deep?"]


@pytest.mark.parametrize(
    "text",
    [
        "> Predict. Not bold.",
        "> A word, then **Predict.**",
        "> **Predictable** is another word.",
        "> - **Note** in a list",
        "**Predict.** No quotation.",
    ],
)
def test_other_quotations_stay(text):
    document = read(text)
    before = document.pformat()
    portable.Boxes(document).apply()
    assert document.pformat() == before


@pytest.mark.parametrize(
    ("tag", "button"), [("bootstrap", "set-up"), ("solution", "solution")]
)
def test_a_folded_cell_says_what_it_hides(tag, button):
    document = read("")
    plain, cell = nodes.container(), nodes.container(classes=["cell", f"tag_{tag}"])
    for container in (plain, cell):
        container["prompt_show"] = container["prompt_hide"] = "code cell"
        document += container
    portable.Prompts(document).apply()
    assert (cell["prompt_show"], cell["prompt_hide"]) == (
        f"Show {button}",
        f"Hide {button}",
    )
    assert plain["prompt_show"] == "code cell"


def test_a_numbered_formula_reaches_mathjax_as_it_was_written():
    document = read("$$ x = 1. \\tag{1} $$\n\n$$ y = 2 $$")
    portable.Equations(document).apply()
    numbered, plain = document.findall(nodes.math_block)
    assert numbered.astext() == r"\[x = 1. \tag{1}\]"
    assert numbered["nowrap"]
    assert plain.astext().strip() == "y = 2"
    assert not plain.get("nowrap")


# --- docstrings -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "shown", "code"),
    [
        ("Plain words.", "Plain words.", []),
        ("Not *stressed*, as in **kwargs.", "Not *stressed*, as in **kwargs.", []),
        ("The `norm` of `x`s.", "The norm of xs.", ["norm", "x"]),
        ("A norm |dL/dh| and 2*n, a*b.", "A norm |dL/dh| and 2*n, a*b.", []),
        ("`a|b*c` stays.", "a|b*c stays.", ["a|b*c"]),
        ("Already ``double``.", "Already double.", ["double"]),
    ],
)
def test_a_docstring_is_shown_as_it_stands(line, shown, code):
    (written,) = docstrings.as_rst([line])
    tree = docutils.core.publish_doctree(written, settings_overrides=QUIET)
    assert tree.astext() == shown
    assert [node.astext() for node in tree.findall(nodes.literal)] == code


QUIET = {"report_level": 2, "halt_level": 2}  # A warning is an error.


def test_code_below_a_colon_and_examples_are_left_alone():
    lines = [
        "Two lines:",
        "",
        "    y = f(`x`) * |z|",
        "",
        "Then `words`.",
        "",
        ">>> f(2 * 3)",
        "`6`",
    ]
    tree = docutils.core.publish_doctree(
        "\n".join(docstrings.as_rst(lines)), settings_overrides=QUIET
    )
    (block,) = tree.findall(nodes.literal_block)
    (example,) = tree.findall(nodes.doctest_block)
    assert block.astext() == "y = f(`x`) * |z|"
    assert example.astext() == ">>> f(2 * 3)\n`6`"
    assert "Two lines:" in tree.astext()


# --- accessible, offline --------------------------------------------------------------------------


def test_repairs_are_made_once_and_leave_the_rest():
    broken = "<p>text</p>".join(accessible.REPAIRS)
    repaired = accessible.repair(broken)
    assert repaired == "<p>text</p>".join(accessible.REPAIRS.values())
    assert accessible.repair(repaired) == repaired


class Asset:
    def __init__(self, filename=None, body=None):
        self.filename, self.attributes = filename, {"body": body}


def test_what_comes_from_the_network_or_is_not_used_is_left_out():
    kept = [
        Asset("_static/book.css"),
        "_static/mathjax/es5/tex-chtml.js",
        Asset(body="var a"),
    ]
    gone = [
        Asset("https://unpkg.com/x.js"),
        "https://cdn.example.org/y.css",
        Asset("_static/sphinx-thebe.js"),
        Asset(body="const thebe_selector = 1"),
        Asset("_static/togglebutton.js"),
    ]
    context = {"script_files": [*gone, *kept], "css_files": kept}
    offline.drop_unused(None, "page", "", context, None)
    assert context == {"script_files": kept, "css_files": kept}


# --- ledger ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("authors", "shown"),
    [
        (["Hochreiter, Sepp"], "Hochreiter 1991"),
        (["Glorot, Xavier", "Bengio, Yoshua"], "Glorot and Bengio 1991"),
        (["He, K.", "Zhang, X.", "Ren, S."], "He et al. 1991"),
        (["van der Maaten, Laurens"], "van der Maaten 1991"),
        ([], "1991"),
    ],
)
def test_a_source_is_named_by_author_and_year(authors, shown):
    entry = Entry(
        "article", {"year": "1991"}, {"author": [Person(name) for name in authors]}
    )
    assert ledger._author_year(entry) == shown


@pytest.mark.slow
def test_the_ledger_says_what_the_pages_say(built_book):
    pages = built_book / "_build" / "html"
    (claim,) = json.loads((pages / "claims.json").read_text("utf-8"))["claims"]
    assert (claim["page"], claim["measured"], claim["expected"]) == (
        "chapters/one",
        "4",
        "exactly 4",
    )
    book = (pages / "ledger.html").read_text("utf-8")
    (address, anchor, statement) = re.search(
        r'<a href="(chapters/one\.html)#([^"]+)">([^<]+)</a>', book
    ).groups()
    chapter = (pages / address).read_text("utf-8")
    assert f'id="{anchor}"' in chapter
    assert html.unescape(statement) == claim["statement"]
    assert claim["statement"] in html.unescape(chapter)
    assert "<strong>1 claim holds in 1 chapter</strong>" in book
