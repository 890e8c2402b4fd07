"""Figures: what is refused, what the SVG is made of, and that no value is dropped in silence."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from types import SimpleNamespace

import numpy as np
import pytest

from vgutils import figures
from vgutils.figures import plot_loss, plot_network, plot_profile, show, subplots

ALT = "A line that rises from one to three."
CAPTION = "The line rises, as lines like this one do."


def profile(gradient, **fields):
    gradient = np.asarray(gradient, float)
    n = gradient.shape[-1]
    return SimpleNamespace(
        names=tuple(f"layer {i}" for i in range(n)),
        **{
            "gradient_norm": gradient,
            "activation_mean": np.zeros_like(gradient),
            "activation_std": np.full_like(gradient, 0.5),
            "weight_norm": np.ones_like(gradient),
            "weight_gradient_norm": gradient,
        }
        | fields,
    )


def line(label="x", **axes):
    fig, ax = subplots()
    ax.plot([1, 2, 3], [1e-8, 1e-4, 3], label="a line")
    ax.set(**{"xlabel": label, "ylabel": "y"} | axes)
    return fig


def svg(bundle) -> ElementTree.Element:
    return ElementTree.fromstring(re.search(r"<svg.*</svg>", bundle["text/html"], re.S)[0])


def ids(bundle) -> list[str]:
    return re.findall(r'\bid="([^"]*)"', bundle["text/html"])


# --- show -----------------------------------------------------------------------------------------


def test_a_figure_has_words_for_all(shown):
    show(line(), alt=ALT, caption="It rises *fast*, as `x` < 3 says.")
    (bundle,) = shown
    root = svg(bundle)
    assert root.get("role") == "img"
    assert root.get("aria-label") == ALT
    assert (
        "<figcaption>It rises <em>fast</em>, as <code>x</code> &lt; 3 says." in bundle["text/html"]
    )
    assert ALT in bundle["text/plain"]


def test_colours_follow_the_theme_and_text_stays_text(shown):
    fig = line(title="Title")
    fig.axes[0].axhline(1, color="k")
    legend = fig.axes[0].legend()
    show(fig, alt=ALT, caption=CAPTION)
    content = shown[0]["text/html"].partition("</style>")[2]
    assert not legend.get_frame_on()
    assert "var(--vg-blue)" in content
    assert "var(--vg-grid)" in content
    assert not re.search(r"(fill|stroke): (#|black|white)", content)
    assert "var(--vg-font)" in content
    assert "DejaVu" not in content
    words = "".join(svg(shown[0]).itertext())
    assert "Title" in words
    assert "x" in words


def test_nothing_leaks_to_the_page_or_the_net(shown):
    show(line(), alt=ALT, caption=CAPTION)
    content = shown[0]["text/html"]
    assert content.count("<style") == 1
    assert "metadata" not in content
    addresses = set(re.findall(r"https?://[^\"' <)]+", content))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_a_figure_is_the_same_in_every_run_and_apart_from_others(shown):
    for caption in (CAPTION, CAPTION, CAPTION + " Another."):
        show(line(), alt=ALT, caption=caption)
    first, again, other = shown
    assert first == again
    assert len(ids(first)) == len(set(ids(first)))
    assert len(ids(first)) > 2
    assert not set(ids(first)) & set(ids(other))
    for bundle in (first, other):
        content = bundle["text/html"]
        targets = re.findall(r'(?:href="|url\()#([^")]+)', content)
        assert targets
        assert set(targets) <= set(ids(bundle))


def test_log_axes_are_labelled_in_powers_of_ten(shown):
    show(line(yscale="log"), alt=ALT, caption=CAPTION)
    words = [text.text for text in svg(shown[0]).iter("{http://www.w3.org/2000/svg}text")]
    assert "10⁻⁸" in words
    assert not any("mathdefault" in word for word in words if word)


def test_a_short_log_axis_still_has_numbers(shown):
    fig, ax = subplots()
    ax.plot([1, 2], [0.02, 0.06])
    ax.set(xlabel="x", ylabel="y", yscale="log")
    show(fig, alt=ALT, caption=CAPTION)
    words = [text.text for text in svg(shown[0]).iter("{http://www.w3.org/2000/svg}text")]
    assert "3 × 10⁻²" in words


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"alt": ""}, ValueError, "alt"),
        ({"alt": "A plot"}, ValueError, "20 characters"),
        ({"caption": "Loss"}, ValueError, "caption"),
        ({"alt": None}, TypeError, "alt"),
        ({"fig": "figure"}, TypeError, "fig"),
        ({"fig": line(label="")}, ValueError, r"axes 0 \(untitled\) need a label on x"),
        ({"fig": line(ylabel="", title="Loss")}, ValueError, r"axes 0 \(Loss\) need a label on y"),
    ],
)
def test_what_show_refuses(shown, arguments, error, match):
    call = {"fig": line(), "alt": ALT, "caption": CAPTION} | arguments
    with pytest.raises(error, match=match):
        show(call.pop("fig"), **call)
    assert not shown


def test_labels_may_be_shared(shown):
    fig, axes = subplots(1, 2, sharey=True)
    for ax in axes:
        ax.plot([1, 2])
    axes[0].set_ylabel("y")
    fig.supxlabel("x")
    show(fig, alt=ALT, caption=CAPTION)
    fig, ax = subplots()
    fig.colorbar(ax.imshow(np.eye(3)), label="value")
    ax.set(xlabel="column", ylabel="row")
    show(fig, alt=ALT, caption=CAPTION)
    assert len(shown) == 2


def test_a_heavy_figure_is_refused():
    fig, ax = subplots()
    ax.scatter(*np.random.default_rng(0).normal(size=(2, 40_000)))
    ax.set(xlabel="x", ylabel="y")
    with pytest.raises(ValueError, match="fewer points"):
        show(fig, alt=ALT, caption=CAPTION)


def test_pyplot_is_not_loaded_but_its_figures_are_closed(shown):
    script = (
        "import sys; from vgutils.figures import *; fig, ax = subplots(); ax.plot([1]);"
        "ax.set(xlabel='x', ylabel='y'); show(fig, alt='a' * 20, caption='c' * 20);"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    fig, ax = pyplot.subplots()
    ax.plot([1])
    ax.set(xlabel="x", ylabel="y")
    show(ax, alt=ALT, caption=CAPTION)
    assert not pyplot.fignum_exists(fig.number)


def test_style_is_left_behind():
    import matplotlib

    before = dict(matplotlib.rcParams)
    with figures.style():
        assert matplotlib.rcParams["axes.grid"]
    assert dict(matplotlib.rcParams) == before


# --- profiles and losses --------------------------------------------------------------------------


def marks(ax) -> dict[str, list[float]]:
    """Where the legend's words for what cannot be drawn have their marks."""
    names = ("exactly 0", "not finite", "below 0")
    return {
        line.get_label(): list(line.get_xdata())
        for line in ax.get_lines()
        if line.get_label() in names
    }


def test_a_profile_is_a_median_in_a_band():
    values = np.array([[1e-3, 1.0], [1e-5, 2.0], [1e-1, 3.0]])
    ax = plot_profile(profile(values), label="net")
    np.testing.assert_allclose(ax.get_lines()[0].get_ydata(), [1e-3, 2.0])
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (1e-5, 3.0)
    assert ax.get_yscale() == "log"
    assert not marks(ax)


def test_zeros_and_what_is_not_finite_are_marked():
    ax = plot_profile(profile([[0, 1, 1, np.inf], [1, 1, np.nan, 1]]))
    assert marks(ax) == {"exactly 0": [1], "not finite": [3, 4]}
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {"exactly 0", "not finite"}


def test_a_dead_network_is_all_marks():
    ax = plot_profile(profile(np.zeros(3)))
    assert marks(ax) == {"exactly 0": [1, 2, 3]}


def test_several_profiles_mark_once_in_the_legend():
    ax = plot_profile({"a": profile([0, 1.0]), "b": profile([0, 1.0])})
    words = [text.get_text() for text in ax.get_legend().get_texts()]
    assert words == ["a", "exactly 0", "b"]


def test_layers_without_weights_are_left_out_of_the_weights_only():
    nothing = profile([1, np.nan, 1], weight_norm=np.array([1, np.nan, 1.0]))
    assert list(
        plot_profile(nothing, quantity="weight_gradient_norm").get_lines()[0].get_xdata()
    ) == [1, 3]
    assert marks(plot_profile(nothing)) == {"not finite": [2]}


def test_the_mean_has_a_linear_axis():
    ax = plot_profile(
        profile([1, 1], activation_mean=np.array([-1, 1])), quantity="activation_mean"
    )
    assert ax.get_yscale() == "linear"
    assert not marks(ax)


def test_a_loss_is_thinned_and_its_end_is_marked(shown):
    loss = np.linspace(3, 1, 5000)[None].repeat(3, 0)
    loss[1, 4000:] = np.nan
    ax = plot_loss({"run": SimpleNamespace(loss=loss)})
    assert len(ax.get_lines()[0].get_xdata()) <= 400
    assert min(marks(ax)["not finite"]) == pytest.approx(4000, rel=0.02)
    show(ax, alt=ALT, caption=CAPTION)
    assert len(shown[0]["text/html"]) < 60_000


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: plot_profile(profile([1.0]), quantity="grad"), "quantity"),
        (lambda: plot_profile({}, quantity="gradient_norm"), "empty"),
        (lambda: plot_profile({"a": profile([1.0])}, label="b"), "label"),
        (lambda: plot_profile(profile([])), "no layer"),
        (lambda: plot_loss(SimpleNamespace(loss=[])), "no step"),
        (lambda: plot_network(profile([])), "no layer"),
        (lambda: plot_network(profile([1.0]), decades=0), "decades"),
        (lambda: plot_network(profile([1.0]), decades=np.nan), "decades"),
    ],
)
def test_what_plots_refuse(call, match):
    with pytest.raises(ValueError, match=match):
        call()


def test_a_real_profile_is_drawn(shown):
    import jax
    from flax import nnx

    import vgutils as vg

    model = nnx.Linear(8, 3, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (4, 8))
    measured = vg.profile(model, lambda m, x: (m(x) ** 2).mean(), x)
    show(plot_profile(measured), alt=ALT, caption=CAPTION)
    show(plot_network(measured), alt=ALT, caption=CAPTION)
    assert len(shown) == 2


# --- the picture of a network ---------------------------------------------------------------------


def heights(ax, color) -> list[float]:
    """The widths of the arrows of one colour, from input to loss."""
    from matplotlib.colors import to_rgba
    from matplotlib.patches import FancyArrow

    arrows = [
        p for p in ax.patches if isinstance(p, FancyArrow) and p.get_facecolor() == to_rgba(color)
    ]
    shafts = [sorted(set(np.round(np.abs(np.abs(a.get_xy()[:, 1]) - 0.9), 6))) for a in arrows]
    return [2 * shaft[-2] for shaft in shafts]


def test_backward_arrows_count_decades():
    ax = plot_network(profile([1e-9, 1e-4, 1.0]), decades=8)
    hairline, half, full = heights(ax, figures.COLORS["orange"])
    assert half == pytest.approx(full / 2, rel=1e-3)
    assert hairline < full / 40
    words = [text.get_text() for text in ax.texts]
    assert {"10⁻⁹", "10⁻⁴", "10⁰"} <= set(words)


def test_forward_arrows_are_as_wide_as_the_spread():
    ax = plot_network(profile([1, 1, 1.0], activation_std=np.array([0.1, 0.2, 0.4])))
    widths = heights(ax, figures.COLORS["blue"])
    np.testing.assert_allclose(np.array(widths) / widths[-1], [0.25, 0.5, 1], rtol=1e-3)


def test_a_network_names_zero_and_what_is_not_finite():
    ax = plot_network(profile([0, np.nan, np.inf, 1.0]))
    words = [text.get_text() for text in ax.texts]
    assert words.count("0") == 1
    assert words.count("not finite") == 2
    assert len(heights(ax, figures.COLORS["orange"])) == 1


def test_a_deep_network_is_thinned_to_layers_that_are_named():
    ax = plot_network(profile(np.logspace(-50, 0, 100)))
    words = [text.get_text() for text in ax.texts]
    assert "1" in words
    assert "100" in words
    assert sum(word.isdecimal() for word in words) == 16
