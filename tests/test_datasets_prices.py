"""Index prices: what is in the file, clear errors, and windows that never see the future."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgutils import datasets
from vgutils.datasets import files
from vgutils.datasets.prices import log_range, log_returns, prices, windows


def test_what_is_in_it(capsys):
    data = prices()
    assert data.dates[0] == np.datetime64("1999-01-04")
    assert data.dates[-1] == np.datetime64("2018-12-31")
    assert len(data.dates) == len(data.high) == len(data.low) == len(data.close) == 5031
    assert data.close[0] == pytest.approx(1228.10)
    assert data.close[-1] == 2506.85
    assert (data.low < data.high).all()
    assert (np.diff(data.dates).astype(int) > 0).all()
    assert (
        "sp500 (bundled): 5,031 days, 1999-01-04 to 2018-12-31"
        in capsys.readouterr()[0]
    )
    assert datasets.prices is prices


def test_known_days():
    """Days that anyone can look up: 13 October 2008, +11.58 %, and 29 September 2008, −8.81 %."""
    data = prices("sp500")
    change = np.expm1(log_returns(data.close))
    on = dict(zip(data.dates[1:].astype(str), change, strict=True))
    assert on["2008-10-13"] == pytest.approx(0.1158, abs=5e-5)
    assert on["2008-09-29"] == pytest.approx(-0.0881, abs=5e-5)
    assert prices("nasdaq").close.max() == pytest.approx(8109.69)


def test_bad_names():
    with pytest.raises(
        ValueError, match=r"ticker must be one of sp500, nasdaq; got 'sp50'.*sp500"
    ):
        prices("sp50")
    with pytest.raises(TypeError, match="ticker must be one of the names"):
        prices(500)
    with pytest.raises(ValueError, match="source must be one of bundled, full"):
        prices(source="web")


def test_missing_and_damaged(monkeypatch, tmp_path):
    monkeypatch.setattr(files.resources, "files", lambda _: tmp_path)
    with pytest.raises(FileNotFoundError, match=r"prices\.npz is missing"):
        prices()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "prices.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(OSError, match=r"prices\.npz is damaged"):
        prices()


class Table(dict):
    """As much of a DataFrame as the loader touches."""

    def __init__(self, index, **columns):
        super().__init__(columns)
        self.index, self.columns = index, list(columns)

    def __len__(self):
        return len(self.index)

    def dropna(self, subset):
        return self


def yahoo(monkeypatch, table):
    class Ticker:
        def __init__(self, symbol):
            assert symbol == "^IXIC"

        def history(self, *, start, auto_adjust):
            assert start == "1990-01-01"
            assert not auto_adjust
            return table

    module = types.ModuleType("yfinance")
    module.Ticker = Ticker
    monkeypatch.setitem(sys.modules, "yfinance", module)


DAYS = ["2020-01-02 00:00:00-05:00", "2020-01-03 00:00:00-05:00"]


def test_full_history(monkeypatch):
    yahoo(monkeypatch, Table(DAYS, High=[3.0, 4], Low=[1.0, 2], Close=[2.0, 3]))
    data = prices("nasdaq", source="full")
    assert data.source == "full"
    assert data.dates[1] == np.datetime64("2020-01-03")
    np.testing.assert_array_equal(
        [data.high, data.low, data.close], [[3, 4], [1, 2], [2, 3]]
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (Table([]), "sent no daily prices"),
        (None, "sent no daily prices"),
        (Table(DAYS, High=[3.0, 4], Close=[2.0, 3]), "sent no daily prices"),
        (
            Table(DAYS, High=[3.0, 4], Low=[1.0, 2], Close=[9.0, 3]),
            "outside their range",
        ),
        (Table(DAYS, High=[3.0, 4], Low=[0.0, 2], Close=[2.0, 3]), "not positive"),
        (Table(DAYS[:1], High=[3.0], Low=[1.0], Close=[2.0]), "has 1 days"),
        (
            Table(DAYS[::-1], High=[3.0, 4], Low=[1.0, 2], Close=[2.0, 3]),
            "order of time",
        ),
    ],
)
def test_full_history_that_is_none(monkeypatch, table, message):
    yahoo(monkeypatch, table)
    with pytest.raises(ValueError, match=message):
        prices("nasdaq", source="full")


def test_full_without_yfinance(monkeypatch):
    monkeypatch.setitem(sys.modules, "yfinance", None)
    with pytest.raises(ModuleNotFoundError, match="pip install yfinance"):
        prices(source="full")


def test_returns_and_range():
    np.testing.assert_allclose(log_returns([1, np.e, 1]), [1, -1])
    np.testing.assert_allclose(log_range([np.e, np.e**2], [1, 1]), [0, np.log(2)])
    for bad in ([1.0], [1.0, 0.0], [1.0, -2.0]):
        with pytest.raises(
            ValueError, match="close must be at least two positive prices"
        ):
            log_returns(bad)
    with pytest.raises(ValueError, match="close must be finite"):
        log_returns([1.0, np.nan])
    with pytest.raises(ValueError, match="one shape"):
        log_range([2.0, 3], [1.0, 1, 1])
    with pytest.raises(ValueError, match="1 days where it is not"):
        log_range([2.0, 3], [1.0, 3])


# --- windows --------------------------------------------------------------------------------------


def test_a_ramp_says_where_each_number_comes_from():
    day = np.arange(100.0)
    split = windows(np.stack([day, -day], 1), day, length=7, horizons=(1, 5))
    for part in (split.train, split.validation, split.test):
        assert part.x.shape == (len(part), 7, 2)
        assert part.x.dtype == np.float32
        np.testing.assert_array_equal(part.x[:, -1, 0], part.end)
        np.testing.assert_array_equal(part.x[:, 0, 0], part.end - 6)
        np.testing.assert_array_equal(part.x[..., 1], -part.x[..., 0])
        np.testing.assert_array_equal(part.y, part.end[:, None] + [[1, 3]])
    assert split.seen == 60
    assert len(split.train) == 60 - 7 - 5 + 1


@given(
    days=st.integers(60, 150),
    length=st.integers(1, 8),
    horizon=st.integers(1, 4),
    shares=st.tuples(st.floats(0.3, 0.5), st.floats(0.25, 0.3)),
)
@settings(max_examples=50, deadline=None)
def test_no_day_is_in_two_parts(days, length, horizon, shares):
    day = np.arange(float(days))
    split = windows(day, day, length=length, horizons=(horizon,), fractions=shares)
    used = []
    for part in (split.train, split.validation, split.test):
        assert len(part) > 0
        assert (np.diff(part.end) == 1).all()
        used.append((part.end[0] - length + 1, part.end[-1] + horizon))
    assert used[0][0] == 0
    assert used[2][1] == days - 1
    assert used[0][1] < used[1][0]
    assert used[1][1] < used[2][0]
    assert used[0][1] == split.seen - 1


HISTORY = prices("nasdaq")


def features(high, low, close):
    """Two channels and a target, as the chapter makes them from prices."""
    spread = log_range(high, low)[1:]
    return np.stack([spread, log_returns(close)], axis=1), spread


@given(
    first=st.integers(0, 4900),
    t=st.integers(2, 118),
    later=st.integers(1, 117),
    factor=st.floats(0.5, 2.0).filter(lambda f: abs(f - 1) > 1e-3),
    length=st.integers(1, 20),
)
@settings(max_examples=100, deadline=None)
def test_no_look_ahead(first, t, later, factor, length):
    """Changing a price after day t changes no window that ends on day t or before."""
    rows = [
        getattr(HISTORY, name)[first : first + 120] for name in ("high", "low", "close")
    ]
    changed = min(t + later, 119)
    other = [row.copy() for row in rows]
    for row in other:
        row[changed] *= factor
    other[0][changed] *= 1.05  # the range too
    before, after = (windows(*features(*r), length=length) for r in (rows, other))
    for name in ("train", "validation", "test"):
        one, two = getattr(before, name), getattr(after, name)
        day = one.end + 1  # of the prices: the first has no return
        np.testing.assert_array_equal(one.x[day <= t], two.x[day <= t])
        # The test can fail: windows that end on the changed day do see it.
        assert (one.x[day == changed] != two.x[day == changed]).any(axis=(1, 2)).all()
        assert (one.y[day == changed - 1] != two.y[day == changed - 1]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"length": 200},
            "length 200 with a horizon of 1 needs 201 days.*train has 60",
        ),
        ({"length": 20}, "part for validation has 20"),
        ({"length": 0}, "length must be at least 1"),
        ({"horizons": ()}, "at least one horizon"),
        ({"horizons": (0,)}, "horizons must be at least 1"),
        ({"fractions": (0.6, 0.4)}, "leave some days for the test"),
        ({"fractions": (0.6, 0.0)}, "fractions must be"),
    ],
)
def test_bad_windows(arguments, message):
    day = np.arange(100.0)
    with pytest.raises(ValueError, match=message):
        windows(day, day, **({"length": 5} | arguments))


def test_bad_arrays():
    day = np.arange(100.0)
    with pytest.raises(ValueError, match="as many days"):
        windows(day[1:], day, length=5)
    with pytest.raises(ValueError, match="as many days"):
        windows(np.zeros((100, 2, 2)), day, length=5)
    with pytest.raises(ValueError, match="features must be finite, got 1"):
        windows(np.where(day == 3, np.nan, day), day, length=5)
    with pytest.raises(TypeError, match="target must be a numeric array"):
        windows(day, day.astype(str), length=5)
