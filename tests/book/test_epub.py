"""The book as an EPUB: `make epub` on what `make book` built."""

from __future__ import annotations

import re
import zipfile
from posixpath import dirname, join, normpath
from xml.etree import ElementTree

import epub
import pytest
from bs4 import BeautifulSoup
from conftest import ROOT

BOOK = ROOT / "_build" / "html"
PAGES = ["intro", "chapters/1_problem/chain_rule", "chapters/2_depth/relu", "ledger"]
H, SVG, OPF = (
    "{http://www.w3.org/1999/xhtml}",
    "{http://www.w3.org/2000/svg}",
    "{http://www.idpf.org/2007/opf}",
)
MATH = "{http://www.w3.org/1998/Math/MathML}"
HREFS = ("href", "src", "{http://www.w3.org/1999/xlink}href")


@pytest.fixture(scope="module")
def bound(chromium_path, tmp_path_factory):
    out = tmp_path_factory.mktemp("epub") / "book.epub"
    assert epub.main(["--out", str(out), *PAGES]) == 0
    with zipfile.ZipFile(out) as archive:
        yield archive


@pytest.fixture(scope="module")
def trees(bound):
    """Every XML file of the EPUB; one that is not well-formed fails here."""
    return {
        name: ElementTree.fromstring(bound.read(name))
        for name in bound.namelist()
        if name.endswith((".xhtml", ".opf", ".xml"))
    }


@pytest.fixture(scope="module")
def texts(trees):
    return {
        name: tree
        for name, tree in trees.items()
        if name.endswith(".xhtml") and "cover" not in name and "nav" not in name
    }


def page_of(name):
    return BeautifulSoup((BOOK / f"{name}.html").read_text("utf-8"), "html.parser")


@pytest.mark.slow
def test_the_kind_of_file_comes_first_and_uncompressed(bound):
    first = bound.infolist()[0]
    assert (first.filename, first.compress_type) == ("mimetype", zipfile.ZIP_STORED)
    assert bound.read("mimetype") == b"application/epub+zip"
    assert bound.testzip() is None


@pytest.mark.slow
def test_the_package_lists_every_file_and_says_what_it_is(bound, trees):
    place = trees["META-INF/container.xml"].find(".//*[@full-path]").get("full-path")
    package = trees[place]
    items = {item.get("id"): item for item in package.iter(f"{OPF}item")}
    listed = {join(dirname(place), item.get("href")) for item in items.values()}
    assert listed | {"mimetype", "META-INF/container.xml", place} == set(
        bound.namelist()
    )
    for item in items.values():
        tree = trees.get(join(dirname(place), item.get("href")))
        has = (item.get("properties") or "").split()
        for name, kind in (("svg", f"{SVG}svg"), ("mathml", f"{MATH}math")):
            assert (name in has) is (
                tree is not None and tree.find(f".//{kind}") is not None
            )
    read = [entry.get("idref") for entry in package.iter(f"{OPF}itemref")]
    titles = [items[name].get("href") for name in read]
    assert titles[:3] == ["cover.xhtml", "nav.xhtml", "intro.xhtml"]
    assert set(read) <= set(items)
    metadata = ElementTree.tostring(package.find(f"{OPF}metadata"), "unicode", "text")
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    title = re.search(r'^title: "(.+)"$', citation, re.MULTILINE)[1]
    author = re.search(r"- name: (.+)$", citation, re.MULTILINE)[1]
    for told in (title, author, "en", "CC BY 4.0", "Apache License 2.0", "MathML"):
        assert told in metadata
    modified = package.find(f".//{OPF}meta[@property='dcterms:modified']").text
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", modified)


@pytest.mark.slow
def test_links_within_lead_somewhere_and_nothing_is_remote(bound, trees):
    ids = {
        name: {element.get("id") for element in tree.iter()}
        for name, tree in trees.items()
    }
    within = 0
    for name, tree in trees.items():
        for element in tree.iter():
            for link in filter(None, map(element.get, HREFS)):
                if link.startswith("data:"):
                    continue
                if re.match(r"\w+:", link):
                    assert element.tag == f"{H}a", (name, link)
                    continue
                file, _, anchor = link.partition("#")
                target = normpath(join(dirname(name), file)) if file else name
                assert target in bound.namelist(), (name, link)
                assert not anchor or anchor in ids[target], (name, link)
                within += element.tag == f"{H}a"
    assert within > 50  # The ledger leads to each claim of two chapters.
    style = bound.read("book/book.css").decode()
    assert "url(" not in style
    assert "@import" not in style


@pytest.mark.slow
def test_the_contents_have_the_parts(trees):
    nav = trees["book/nav.xhtml"].find(f".//{H}nav")
    assert nav.get("{http://www.idpf.org/2007/ops}type") == "toc"
    spans = [span.text for span in nav.iter(f"{H}span")]
    assert spans == ["The problem", "Cures in depth", "Back matter"]
    links = ["".join(link.itertext()) for link in nav.iter(f"{H}a")]
    assert links[:3] == [
        "Vanishing Gradients",
        "2. The chain rule",
        "5. ReLU and its family",
    ]


@pytest.mark.slow
def test_nothing_is_left_that_needs_a_script(texts):
    for tree in texts.values():
        names = {element.tag.removeprefix(H) for element in tree.iter()}
        assert not names & {
            "script",
            "style",
            "button",
            "input",
            "select",
            "output",
            "form",
        }
        for element in tree.iter():
            assert not [key for key in element.attrib if key.startswith("on")]


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_a_page_keeps_what_it_shows(texts, name):
    tree = texts[f"book/{name.replace('/', '-')}.xhtml"]
    page = page_of(name).article
    for kind in ("figure", "table", "details"):
        assert len(list(tree.iter(f"{H}{kind}"))) == len(page.find_all(kind)) - len(
            page.select(f".tag_bootstrap {kind}")
        )
    formulas = [tag.text.strip() for tag in page.select(".math")]
    found = list(tree.iter(f"{MATH}math"))
    assert len(found) == len(formulas)
    for formula, source in zip(found, formulas, strict=True):
        written = re.sub(r"\s", "", formula.get("alttext"))
        assert written
        assert written in re.sub(r"\s", "", source)
        assert "".join(formula.itertext()).strip()
    claims = [e for e in tree.iter() if "vg-claim" in (e.get("class") or "").split()]
    assert len(claims) == len(page.select(".vg-claim"))
    assert not [e for e in tree.iter(f"{H}img") if not e.get("alt")]
    for picture in tree.iter(f"{SVG}svg"):
        named = len(picture.get("aria-label") or "") >= 20
        assert named or picture.get("aria-hidden") == "true"


@pytest.mark.slow
def test_formulas_and_colours_are_such_as_readers_know(texts):
    for tree in texts.values():
        assert "var(--vg-" not in ElementTree.tostring(tree, "unicode")
        assert tree.find(f".//{MATH}mlabeledtr") is None
        variants = {element.get("mathvariant") for element in tree.iter()}
        assert variants <= {None, "normal"}
    relu = "".join(texts["book/chapters-2_depth-relu.xhtml"].itertext())
    assert "𝔼" in relu


# --- without a browser ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "plain", "letter"),
    [
        ("double-struck", "E", "𝔼"),
        ("double-struck", "P", "ℙ"),
        ("double-struck", "1", "𝟙"),
        ("script", "L", "ℒ"),
        ("script", "N", "𝒩"),
        ("sans-serif", "T", "𝖳"),
        ("bold", "1", "𝟏"),
    ],
)
def test_a_letter_of_an_alphabet_is_its_own(variant, plain, letter):
    formula = f'<mi mathvariant="{variant}">{plain}</mi><mi>x</mi>'
    assert epub.alphabets(formula) == f"<mi>{letter}</mi><mi>x</mi>"


def test_a_link_stays_in_the_book_if_it_can():
    home = "https://o.github.io/p"
    there = epub.Chapter("chapters/two", "Two", '<p id="claim-é">x</p>')
    here = epub.Chapter(
        "one",
        "One",
        f'<a class="x" href="{home}/chapters/two.html">a</a>'
        f'<a href="{home}/chapters/two.html#claim-%C3%A9">b</a>'
        f'<a href="{home}/chapters/two.html#gone">c</a>'
        f'<a href="{home}/three.html">d</a>',
    )
    assert re.findall(
        'href="(.*?)"', epub.link(here, {f"{home}/chapters/two.html": there})
    ) == [
        "chapters-two.xhtml",
        "chapters-two.xhtml#claim-é",
        "chapters-two.xhtml",
        f"{home}/three.html",
    ]


def test_a_colour_is_written_out():
    assert epub.plain_colours("fill:var(--vg-blue)") == "fill:#0067a5"
    assert epub.plain_colours("color:var(--other)") == "color:var(--other)"


def test_there_is_nothing_to_bind_without_a_book(chromium_path, tmp_path):
    with pytest.raises(SystemExit, match="make book"):
        epub.main(["--book", str(tmp_path), "--out", str(tmp_path / "book.epub")])
    assert not (tmp_path / "book.epub").exists()
