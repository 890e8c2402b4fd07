"""Claims: what holds, what never does, and what the card and the ledger are told."""

from __future__ import annotations

import math
from html.parser import HTMLParser

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from vgutils import claims
from vgutils.claims import ClaimFailed, absolute, claim, relative, rounding, sampling

SOURCE = "derivation: eq. (1)"
FINITE = st.floats(-1e100, 1e100)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    """The cards are looked at where they are meant; here they only cost time."""
    monkeypatch.setattr("vgutils.html._display", lambda bundle: None)


def holds(measured, **expectation) -> bool:
    try:
        return claim("It is so", measured, source=SOURCE, **expectation).holds
    except ClaimFailed:
        return False


# --- what holds -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured", "expectation"),
    [
        (1, {"equals": 1}),
        (1.0, {"equals": 1}),
        (0.0, {"equals": -0.0}),
        ([1, 2], {"equals": [1, 2]}),
        ([[1, 2], [1, 2]], {"equals": [1, 2]}),
        ([1, 2], {"at_most": 2}),
        ([1, 2], {"at_least": 1}),
        ([1, 2], {"between": (1, 2)}),
        ([[1, 5], [2, 6]], {"between": ([1, 5], [2, 6])}),
        (True, {"equals": True}),
        (np.False_, {"equals": False}),
        (np.array([True, True]), {"equals": True}),
        (jnp.array(0.25, jnp.bfloat16), {"equals": 0.25}),
        (jnp.float32(0.1), {"equals": 0.1, "within": rounding(1)}),
        (10**400, {"at_least": 10**399}),
        (2**63 + 1, {"equals": 2**63 + 1}),
        (3.0, {"equals": 3.25, "within": absolute(0.25, "eq. (1)")}),
    ],
)
def test_holds(measured, expectation):
    assert holds(measured, **expectation)


# --- what does not --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("measured", "expectation"),
    [
        (1, {"equals": 2}),
        (np.nextafter(1, 2), {"equals": 1}),
        (np.float32(0.1), {"equals": 0.1}),
        (2**53 + 1, {"equals": float(2**53)}),
        (
            np.int64(2**62),
            {"equals": np.int64(2**62) + 1, "within": absolute(0.5, "half")},
        ),
        ([1, 2], {"at_most": 1.999}),
        ([1, 2], {"at_least": 1.001}),
        ([1, 2], {"between": (1.5, 2)}),
        ([1, 2], {"between": (0, 1.5)}),
        ([1, 2, 3], {"equals": [1, 2]}),
        ([[1], [2]], {"equals": [[1, 2]]}),
        ([[1, 1], [2, 2]], {"equals": [[1], [2]]}),
        (1, {"equals": [1]}),
        ([], {"at_most": 1}),
        (np.zeros((0, 3)), {"equals": 0}),
        (1, {"equals": []}),
        (1, {"at_most": math.inf}),
        (1, {"at_least": -math.inf}),
        (1, {"between": (-math.inf, math.inf)}),
        (1, {"at_most": math.nan}),
        (math.inf, {"equals": math.inf}),
        (math.nan, {"equals": math.nan}),
        (1 + 0j, {"equals": 1}),
        ("1", {"equals": 1}),
        ([[1], [1, 2]], {"at_most": 3}),
        (None, {"equals": 1}),
        (1, {"equals": True}),
        (True, {"equals": 1}),
        (True, {"at_least": False}),
        (True, {"at_most": 2}),
        (np.zeros(0, bool), {"equals": True}),
        (np.array([True, False]), {"equals": True}),
        (1, {"equals": "1"}),
        (1e-30, {"equals": 0, "within": rounding(1000)}),
        (1, {"equals": 1, "within": claims.Tolerance(math.nan, False, "by hand")}),
        (1, {"equals": 1, "within": claims.Tolerance(math.inf, True, "by hand")}),
        (1, {"equals": 1, "within": claims.Tolerance(-1.0, False, "by hand")}),
        (1, {"equals": 1, "within": claims.Tolerance(np.ones(2), False, "by hand")}),
    ],
)
def test_fails(measured, expectation):
    assert not holds(measured, **expectation)


@given(
    hnp.arrays(np.float64, hnp.array_shapes(max_dims=3, max_side=4), elements=FINITE),
    st.data(),
    st.sampled_from([math.nan, math.inf, -math.inf]),
)
def test_one_value_that_is_not_finite_fails_everything(values, data, bad):
    place = data.draw(st.integers(0, values.size - 1))
    spoiled = values.copy()
    spoiled.flat[place] = bad
    for expectation in (
        {"at_most": 1e300},
        {"at_least": -1e300},
        {"between": (-1e300, 1e300)},
        {"equals": values, "within": absolute(1e300, "as wide as can be")},
    ):
        assert holds(values, **expectation)
        assert not holds(spoiled, **expectation)
    assert not holds(
        values, equals=spoiled, within=absolute(1e300, "as wide as can be")
    )


@given(FINITE, st.integers(1, 10_000), st.sampled_from([-1, 1]))
def test_rounding_holds_within_and_not_beyond(value, operations, sign):
    assume(abs(value) > 1e-100)
    tolerance = rounding(operations)
    assert holds(
        value * (1 + sign * 0.5 * tolerance.value), equals=value, within=tolerance
    )
    assert not holds(
        value * (1 + sign * 2 * tolerance.value), equals=value, within=tolerance
    )


@given(FINITE, FINITE, st.floats(0, 1e100), st.floats(0, 1e100))
def test_a_wider_tolerance_never_fails_what_a_narrower_one_holds(
    measured, expected, one, other
):
    narrow, wide = (absolute(t, "eq. (1)") for t in sorted([one, other]))
    assert holds(measured, equals=expected, within=narrow) <= holds(
        measured, equals=expected, within=wide
    )


@given(hnp.arrays(np.float64, st.integers(1, 8), elements=FINITE), FINITE)
def test_bounds_are_those_of_numpy(values, bound):
    assert holds(values, at_most=bound) == bool(np.all(values <= bound))
    assert holds(values, at_least=bound) == bool(np.all(values >= bound))
    assert holds(values, equals=bound) == bool(np.all(values == bound))


@given(st.integers(-(2**70), 2**70), st.integers(-(2**70), 2**70))
def test_integers_are_compared_exactly(one, other):
    assert holds(one, equals=other) == (one == other)
    assert holds(one, equals=other, within=absolute(0.0, "exact")) == (one == other)
    assert holds(one, equals=float(other)) == (one == float(other))


# --- tolerances -----------------------------------------------------------------------------------


def test_rounding_is_enough_for_a_sum():
    """The bound is a bound: a float32 sum of n terms is never further off."""
    random = np.random.default_rng(0)
    for n in (2, 10, 100, 1000):
        terms = random.uniform(0, 1, n).astype(np.float32)
        total = np.float32(0)
        for term in terms:
            total += term
        assert holds(
            total, equals=float(np.sum(terms, dtype=np.float64)), within=rounding(n)
        )


def test_rounding_knows_types_and_scale():
    assert rounding(4, "bfloat16").value == 4 * 2.0**-7
    assert rounding(4, jnp.bfloat16).value == 4 * 2.0**-7
    assert rounding(1, "float64").value == 2.0**-52
    tolerance = rounding(10, "float32", scale=5.0)
    assert not tolerance.is_relative
    assert holds(1e-6, equals=0, within=tolerance)
    assert not holds(1e-4, equals=0, within=tolerance)


@given(
    st.integers(8, 200),
    st.floats(0.5, 8),
    st.lists(st.floats(0, 1), min_size=2, max_size=2),
)
def test_sampling_is_students_interval_and_what_is_added(n, z, plus):
    samples = np.random.default_rng(n).normal(size=(n, 2))
    expected = stats.t.isf(stats.norm.sf(z), n - 1) * stats.sem(samples)
    got = sampling(samples, z, plus=np.array(plus), reason="eq. (1)").value
    np.testing.assert_allclose(got, expected + plus, rtol=1e-9)


def test_a_true_mean_is_missed_as_often_as_the_tolerance_says():
    """At z = 2 one in 22: also of ten samples, where two standard errors miss one in 13."""
    draws = np.random.default_rng(0).normal(size=(10, 20_000))
    missed = np.mean(np.abs(draws.mean(0)) > sampling(draws, z=2).value)
    expected = 2 * stats.norm.sf(2)
    assert abs(missed - expected) < 4 * math.sqrt(expected / 20_000)


def test_sampling_says_how_much_and_why():
    samples = np.random.default_rng(0).normal(size=16)
    assert (
        sampling(samples, plus=0.1, reason="1/width").reason
        == "chance, 1 in 16,000: 5.5 standard errors of 16, and 1/width"
    )
    tolerance = sampling(samples).value
    assert holds(
        samples.mean(),
        equals=samples.mean() + 0.99 * tolerance,
        within=sampling(samples),
    )
    assert not holds(
        samples.mean(),
        equals=samples.mean() + 1.01 * tolerance,
        within=sampling(samples),
    )


def test_sampling_without_spread_is_exact():
    tolerance = sampling(np.ones(8))
    assert holds(1.0, equals=1, within=tolerance)
    assert not holds(1.0, equals=1 + 1e-15, within=tolerance)


@pytest.mark.parametrize(
    ("make", "error", "match"),
    [
        (lambda: rounding(0), ValueError, "at least 1"),
        (lambda: rounding(1.5), TypeError, "integer"),
        (lambda: rounding(True), TypeError, "integer"),
        (lambda: rounding(200, "bfloat16"), ValueError, "below 128"),
        (lambda: rounding(2, scale=math.nan), ValueError, "scale"),
        (lambda: rounding(2, scale=-1), ValueError, "scale"),
        (lambda: sampling(range(7)), ValueError, "at least 8"),
        (lambda: sampling(3.0), ValueError, "at least 8"),
        (lambda: sampling(np.zeros((8, 0))), ValueError, "at least 8"),
        (lambda: sampling([*range(7), math.nan]), ValueError, "finite"),
        (lambda: sampling(["a", "b", "c"]), TypeError, "numbers"),
        (lambda: sampling(range(8), z=0), ValueError, "z must"),
        (lambda: sampling(range(8), z=math.nan), ValueError, "z must"),
        (lambda: sampling(range(8), z=1e9), ValueError, "z must"),
        (
            lambda: sampling(range(8), plus="1", reason="x"),
            TypeError,
            "plus must be real",
        ),
        (lambda: sampling(range(8), plus=-1, reason="why"), ValueError, "at least 0"),
        (lambda: sampling(range(8), plus=math.inf, reason="x"), ValueError, "finite"),
        (lambda: sampling(range(8), plus=[1, 2], reason="x"), ValueError, "shape"),
        (lambda: sampling(range(8), plus=1), ValueError, "go together"),
        (lambda: sampling(range(8), reason="why"), ValueError, "go together"),
        (lambda: sampling(range(8), plus=1, reason=" "), ValueError, "reason"),
        (lambda: sampling(range(8), plus=1, reason=2), TypeError, "reason"),
        (lambda: relative(1.0, "eq. (1)"), ValueError, "below 1"),
        (lambda: relative(-0.1, "eq. (1)"), ValueError, "from 0"),
        (lambda: relative(0.1, " "), ValueError, "reason"),
        (lambda: absolute(math.inf, "eq. (1)"), ValueError, "finite"),
        (lambda: absolute("0.1", "eq. (1)"), TypeError, "number"),
        (lambda: absolute(0.1, None), TypeError, "reason"),
    ],
)
def test_tolerances_refuse(make, error, match):
    with pytest.raises(error, match=match):
        make()


# --- how it may be called -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({}, ValueError, "exactly one"),
        ({"equals": 1, "at_most": 2}, ValueError, "exactly one"),
        ({"equals": 1, "within": 0.1}, TypeError, "does not say why"),
        ({"at_most": 1, "within": rounding(2)}, ValueError, "equals only"),
        ({"between": 3}, TypeError, "two numbers"),
        ({"between": (1, 2, 3)}, TypeError, "two numbers"),
        ({"equals": 1, "source": ""}, ValueError, "source"),
        ({"equals": 1, "source": "everybody knows"}, ValueError, "bibliography"),
        ({"equals": 1, "source": "he2015,"}, ValueError, "bibliography"),
        ({"equals": 1, "source": None}, TypeError, "source"),
        ({"equals": 1, "statement": " "}, ValueError, "statement"),
        ({"equals": 1, "id": ""}, ValueError, "id"),
    ],
)
def test_misuse_is_refused(arguments, error, match):
    call = {"statement": "It is so", "source": SOURCE} | arguments
    with pytest.raises(error, match=match):
        claim(measured=1, **call)


# --- what is shown --------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Collects ids, and the words, of a piece of HTML whose tags must balance."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.words = ""
        self.feed(content)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in ("br", "input", "path", "rect"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("br", "input", "path", "rect"):
            assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words += data.replace("\N{NO-BREAK SPACE}", " ")


def test_the_card_and_the_ledger_say_the_same(shown):
    made = claim(
        "The gradient of `f` is tiny",
        np.array([1.2e-8, 1.25e-8, 1.3e-8]),
        equals=1.25e-8,
        within=relative(0.1, "eq. (3)"),
        source="he2015, glorot2010",
    )
    (bundle,) = shown
    record = bundle[claims.MIME]
    assert record == made.to_dict()
    assert record["id"] == "the-gradient-of-f-is-tiny"
    assert record["version"] == 1
    assert record["holds"] is True
    assert (record["source"], record["source_kind"]) == (
        "he2015, glorot2010",
        "citation",
    )
    reader = Reader(bundle["text/html"])
    assert reader.ids == ["claim-the-gradient-of-f-is-tiny"]
    for words in (
        "Claim holds",
        "The gradient of f is tiny",
        "1.25 × 10⁻⁸",
        "median of 3, from 1.2 × 10⁻⁸ to 1.3 × 10⁻⁸",
        "within 0.1, relative",
        "largest difference 5 × 10⁻¹⁰",
        "eq. (3)",
        "He 2015, Glorot 2010",
    ):
        assert words in reader.words
    assert "1.25e-08 (median of 3, from 1.2e-08 to 1.3e-08)" in bundle["text/plain"]
    assert len(bundle["text/html"]) < 4000


def test_a_failure_shows_its_card_and_says_everything(shown):
    with pytest.raises(ClaimFailed) as failure:
        claim(
            "<b>No</b>",
            [0.25, 0.2500001],
            equals=0.25,
            within=rounding(2, "float64"),
            source=SOURCE,
        )
    message = str(failure.value)
    for words in (
        "<b>No</b>",
        "0.2500001",
        "0.25",
        "within 4.4e-16, relative",
        SOURCE,
        "1 of 2",
    ):
        assert words in message
    (bundle,) = shown
    assert bundle[claims.MIME]["holds"] is False
    words = Reader(bundle["text/html"]).words
    assert "Claim fails: 1 of 2 values are outside" in words
    assert "<b>No</b>" in words
    assert "<b>" not in bundle["text/html"]


@pytest.mark.parametrize(
    ("measured", "expectation", "words"),
    [
        (0.5, {"between": (0, 1)}, ("0.5", "from 0 to 1")),
        ([1, 2, 3], {"at_least": 1}, ("2 (median of 3, from 1 to 3)", "at least 1")),
        ([[1, 1]], {"equals": 1}, ("1 (median of 1 × 2, all alike)", "exactly 1")),
        (
            [1, 2],
            {"equals": [1, 2]},
            ("1.5 (median of 2, from 1 to 2)", "exactly 1 to 2 (2 values)"),
        ),
        (
            [1, 5],
            {"between": ([0, 4], [2, 6])},
            (
                "3 (median of 2, from 1 to 5)",
                "at least 0 to 4 (2 values), at most 2 to 6 (2 values)",
            ),
        ),
        (np.array([True, True]), {"equals": True}, ("true in 2 of 2", "true")),
        (1 / 3, {"at_most": 1e-20 + 1}, ("0.3333", "at most 1")),
    ],
)
def test_numbers_are_put_in_words(measured, expectation, words):
    made = claim("It is so", measured, source=SOURCE, **expectation)
    assert (made.measured, made.expected) == words


def test_values_that_are_not_finite_are_counted_in_words():
    with pytest.raises(
        ClaimFailed, match="1 of 3 measured values are NaN or infinite"
    ) as failure:
        claim("It is so", [1.0, math.nan, 3.0], at_most=5, source=SOURCE)
    assert "2 (median of the 2 of 3 that are finite, from 1 to 3)" in str(failure.value)


def test_a_failure_is_an_assertion():
    with pytest.raises(AssertionError):
        claim("It is so", 1, equals=2, source=SOURCE)


def test_the_seed_is_on_record(monkeypatch):
    monkeypatch.setenv("VG_SEED", "3")
    assert claim("It is so", 1, equals=1, source=SOURCE).seed == 3000


def test_a_claim_on_the_last_line_is_not_shown_twice():
    assert claim("It is so", 1, equals=1, source=SOURCE)._ipython_display_() is None
