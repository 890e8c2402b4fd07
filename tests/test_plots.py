"""Plots: what is drawn is what was measured, and no value is dropped in silence."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from vgutils.figures import COLORS, show
from vgutils.plots import plot_loss, plot_network, plot_profile

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
    assert {text.get_text() for text in ax.get_legend().get_texts()} == {
        "exactly 0",
        "not finite",
    }


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
        plot_profile(nothing, quantity="weight_gradient_norm")
        .get_lines()[0]
        .get_xdata()
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
        p
        for p in ax.patches
        if isinstance(p, FancyArrow) and p.get_facecolor() == to_rgba(color)
    ]
    shafts = [
        sorted(set(np.round(np.abs(np.abs(a.get_xy()[:, 1]) - 0.9), 6))) for a in arrows
    ]
    return [2 * shaft[-2] for shaft in shafts]


def test_backward_arrows_count_decades():
    ax = plot_network(profile([1e-9, 1e-4, 1.0]), decades=8)
    hairline, half, full = heights(ax, COLORS["orange"])
    assert half == pytest.approx(full / 2, rel=1e-3)
    assert hairline < full / 40
    words = [text.get_text() for text in ax.texts]
    assert {"10⁻⁹", "10⁻⁴", "10⁰"} <= set(words)


def test_forward_arrows_are_as_wide_as_the_spread():
    ax = plot_network(profile([1, 1, 1.0], activation_std=np.array([0.1, 0.2, 0.4])))
    widths = heights(ax, COLORS["blue"])
    np.testing.assert_allclose(np.array(widths) / widths[-1], [0.25, 0.5, 1], rtol=1e-3)


def test_a_network_names_zero_and_what_is_not_finite():
    ax = plot_network(profile([0, np.nan, np.inf, 1.0]))
    words = [text.get_text() for text in ax.texts]
    assert words.count("0") == 1
    assert words.count("not finite") == 2
    assert len(heights(ax, COLORS["orange"])) == 1


def test_a_deep_network_is_thinned_to_layers_that_are_named():
    ax = plot_network(profile(np.logspace(-50, 0, 100)))
    words = [text.get_text() for text in ax.texts]
    assert "1" in words
    assert "100" in words
    assert sum(word.isdecimal() for word in words) == 16
