"""The palette, the numbers and the markup that all outputs share."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgutils import html

TEXTS = {
    "blue",
    "orange",
    "green",
    "purple",
    "gold",
    "grey",
    "ink",
    "soft",
    "good",
    "warn",
    "bad",
}


def luminance(color: str) -> float:
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    ]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(one: str, other: str) -> float:
    low, high = sorted([luminance(one), luminance(other)])
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("name", sorted(TEXTS))
@pytest.mark.parametrize(
    ("theme", "grounds"),
    [
        (0, ["#ffffff", "panel"]),
        (1, ["#14181e", "#111111", "#383838", "panel", "paper"]),
    ],
    ids=["light", "dark"],
)
def test_every_text_colour_reads_on_every_ground(name, theme, grounds):
    color = html.PALETTE[name][theme]
    for ground in grounds:
        ground = html.PALETTE[ground][theme] if ground in html.PALETTE else ground
        assert contrast(color, ground) >= 4.5, (color, ground)


def seen(color: str, deficiency: str) -> np.ndarray:
    """The colour in CIE Lab as a colour-blind eye sees it (Machado et al. 2009, severity 1)."""
    matrix = {
        "none": np.eye(3),
        "protan": [
            [0.152, 1.053, -0.205],
            [0.115, 0.786, 0.099],
            [-0.004, -0.048, 1.052],
        ],
        "deutan": [
            [0.367, 0.861, -0.228],
            [0.280, 0.673, 0.047],
            [-0.012, 0.043, 0.969],
        ],
    }[deficiency]
    channels = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(
        channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4
    )
    linear = np.clip(np.array(matrix) @ linear, 0, 1)
    xyz = (
        np.array(
            [
                [0.4124, 0.3576, 0.1805],
                [0.2126, 0.7152, 0.0722],
                [0.0193, 0.1192, 0.9505],
            ]
        )
        @ linear
        / [0.9505, 1.0, 1.089]
    )
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("deficiency", ["none", "protan", "deutan"])
def test_the_first_three_line_colours_are_told_apart(theme, deficiency):
    colors = [
        seen(html.PALETTE[n][theme], deficiency) for n in ("blue", "orange", "green")
    ]
    for i in range(3):
        for j in range(i):
            assert np.linalg.norm(colors[i] - colors[j]) > 20


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.25, "0.25"),
        (1.234e-8, "1.23 × 10⁻⁸"),
        (1e-8, "10⁻⁸"),
        (-1.5e-20, "−1.5 × 10⁻²⁰"),
        (10_000, "10,000"),
        (np.int64(50), "50"),
        (float("nan"), "nan"),
        (float("-inf"), "−inf"),
        (0, "0"),
        (10**400, "1.00 × 10⁴⁰⁰"),
        (np.float32(0.1), "0.1"),
    ],
)
def test_number(value, words):
    assert html.number(value).replace("\N{NO-BREAK SPACE}", " ") == words


def test_typeset_leaves_names_alone():
    assert html.typeset("he-2015e-05x and a-1") == "he-2015e-05x and a-1"
    assert (
        html.typeset("from -2 to 3e-05")
        == "from −2 to 3\N{NO-BREAK SPACE}×\N{NO-BREAK SPACE}10⁻⁵"
    )


@given(st.text())
def test_inline_lets_no_markup_through(content):
    tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, attributes))
    parser.feed(html.inline(content))
    assert all(
        tag in ("code", "em", "strong") and not attributes for tag, attributes in tags
    )


def test_inline_markup():
    assert html.inline("`a < b*c*` is *so*, **very** so; 2*3*4") == (
        "<code>a &lt; b*c*</code> is <em>so</em>, <strong>very</strong> so; 2*3*4"
    )


@given(st.text(), st.text())
def test_slugs_are_anchors(one, other):
    slug = html.slug(one)
    assert slug
    assert all(c.isascii() and (c.isalnum() or c == "-") for c in slug)
    letters = (
        "".join(c for c in one if c.isalnum()),
        "".join(c for c in other if c.isalnum()),
    )
    if len(one) > 60 and len(other) > 60 and letters[0] != letters[1]:
        assert slug != html.slug(other)


def test_slugs_keep_greek_apart():
    assert html.slug("σ at 0") != html.slug("τ at 0")


def test_style_is_light():
    assert len(html.STYLE) < 3000


def test_say_shows_markdown(shown):
    html.say("""
        The ratio is **0.5**.

        - indented
    """)
    assert shown == [
        dict.fromkeys(
            ("text/markdown", "text/plain"), "The ratio is **0.5**.\n\n- indented"
        )
    ]


@pytest.mark.parametrize(
    ("value", "error"), [("  ", ValueError), (3, TypeError), (None, TypeError)]
)
def test_say_wants_words(value, error):
    with pytest.raises(error, match="markdown"):
        html.say(value)


def test_a_plain_script_prints_and_loads_no_ipython():
    script = (
        "import sys, vgutils.html as h; h.say('hello'); print('IPython' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["hello", "False"]


def test_a_notebook_receives_the_bundle():
    script = (
        "from IPython.testing.globalipapp import start_ipython\n"
        "from IPython.utils.capture import capture_output\n"
        "start_ipython()\n"
        "import vgutils.html as h\n"
        "with capture_output() as got: h.display_html('<p>x</p>', 'x', mime={'a/b': 1})\n"
        "data = got.outputs[0].data\n"
        "assert data['text/plain'] == 'x' and data['a/b'] == 1, data\n"
        "assert data['text/html'].endswith('<p>x</p>'), data\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
