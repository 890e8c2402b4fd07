"""Index prices, day by day, and windows of them that never see the future."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from vgutils import errors
from vgutils.datasets import files

PRICES_FILE = "prices.npz"
PRICES_SHA256 = "2ddf0040d8f3f543e88def969e72bd15ce3b78a7a5f1c340420cbaa7224d9d44"
TICKERS = {"sp500": "^GSPC", "nasdaq": "^IXIC"}
"""The names of the indices here, and at the source of the full history."""


@dataclass(frozen=True)
class Prices:
    """One index, a row a trading day, in the order of time.

    Attributes:
        ticker: Its name.
        dates: (days,) datetime64[D].
        high: (days,) float64, the highest price of the day, in index points.
        low: (days,) float64, the lowest.
        close: (days,) float64, the last.
        source: Where the prices came from.
    """

    ticker: str
    dates: np.ndarray
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    source: str


def prices(ticker: str = "sp500", *, source: str = "bundled") -> Prices:
    """Load the daily history of an index.

    Args:
        ticker: "sp500" (S&P 500) or "nasdaq" (NASDAQ Composite).
        source: "bundled" for the 5,031 days of 1999 to 2018 in this package (no network), "full"
            for all days since 1990 through the package yfinance, from Yahoo.

    Raises:
        TypeError, ValueError: An unknown `ticker` or `source`; or "full" brought no usable prices.
        FileNotFoundError: The bundled file is missing.
        OSError: The bundled file is damaged (its checksum is wrong).
        ModuleNotFoundError: "full" without yfinance.
    """
    errors.one_of("ticker", ticker, TICKERS)
    errors.one_of("source", source, ["bundled", "full"])
    if source == "bundled":
        bundled = files.load(PRICES_FILE, PRICES_SHA256)
        dates = bundled["dates"].astype("datetime64[D]")
        columns = [bundled[f"{ticker}_{name}"] / 100 for name in _COLUMNS]  # from cents
    else:
        dates, columns = _full_history(TICKERS[ticker])
    high, low, close = columns
    made = Prices(ticker, dates, high, low, close, source)
    _check(made)
    print(f"{ticker} ({source}): {len(dates):,} days, {dates[0]} to {dates[-1]}")
    return made


def log_returns(close: Any) -> np.ndarray:
    """The logarithm of each day's price over the day's before: (days,) to (days - 1,) float64.

    Raises:
        TypeError, ValueError: Not at least two positive numbers.
    """
    return np.diff(np.log(_positive("close", close)))


def log_range(high: Any, low: Any) -> np.ndarray:
    """The logarithm of a day's range ln(high / low), a measure of its volatility: (days,) float64.

    Source: Alizadeh, Brandt and Diebold (2002).

    Raises:
        TypeError, ValueError: Not positive numbers of one shape, or a day without a range.
    """
    high, low = _positive("high", high), _positive("low", low)
    if high.shape != low.shape:
        raise ValueError(
            f"high and low must have one shape, got {high.shape} and {low.shape}"
        )
    flat = int(np.sum(high <= low))
    if flat:
        raise ValueError(
            f"high must be above low on every day, got {flat} days where it is not"
        )
    return np.log(np.log(high / low))


@dataclass(frozen=True)
class Windows:
    """Windows of the past, each with what came after it.

    Attributes:
        x: (n, length, channels) float32, the features of the days up to day `end`.
        y: (n, horizons) float32, the mean of the target over the days after it.
        end: (n,) int64, the index of the last day that a window sees.
    """

    x: np.ndarray
    y: np.ndarray
    end: np.ndarray

    def __len__(self) -> int:
        return len(self.end)


@dataclass(frozen=True)
class Split:
    """Three spans of time, in this order; no day is in two of them, as a feature or a target.

    Attributes:
        train: Windows to fit on.
        validation: Windows to choose on.
        test: Windows to report on.
        seen: How many days, from the first on, training uses in any way: what is fitted before
            windows are cut, such as a mean, may look at `features[:seen]`.
    """

    train: Windows
    validation: Windows
    test: Windows
    seen: int


def windows(
    features: Any,
    target: Any,
    *,
    length: int = 200,
    horizons: tuple[int, ...] = (1,),
    fractions: tuple[float, float] = (0.6, 0.2),
) -> Split:
    """Cut a history into windows, and those into training, validation and test by time.

    A window that ends on day t holds days t - length + 1 to t. Its target for horizon h is the
    mean of `target` over days t + 1 to t + h. Each part has days of its own: the first window of a
    part begins where the days of the part before end, so that `length - 1` days or more lie between
    the last targets of one part and the first ones of the next.

    Args:
        features: (days,) or (days, channels), what is known at the close of each day.
        target: (days,), what is to be forecast.
        length: Days in a window.
        horizons: Days ahead, each at least 1.
        fractions: The shares of all days for training and for validation; the rest is for the test.

    Raises:
        TypeError: Not numbers.
        ValueError: A shape or a fraction does not fit, a value is not finite, or a part is too
            short for a single window.
    """
    x = np.asarray(errors.array("features", features), np.float64)
    y = np.asarray(errors.array("target", target, ndim=1), np.float64)
    x = x[:, None] if x.ndim == 1 else x
    if x.ndim != 2 or len(x) != len(y):
        raise ValueError(
            "features and target must have as many days, (days,) or (days, channels) and (days,); "
            f"got shapes {np.shape(features)} and {np.shape(target)}"
        )
    errors.integer("length", length, minimum=1)
    if not isinstance(horizons, tuple | list) or not horizons:
        raise ValueError(f"horizons must name at least one horizon, got {horizons!r}")
    ahead = max(errors.integer("horizons", h, minimum=1) for h in horizons)
    shares = [errors.number("fractions", f, minimum=0, strict=True) for f in fractions]
    if len(shares) != 2 or sum(shares) >= 1:
        raise ValueError(
            "fractions must be two shares, of training and validation, that leave some days for "
            f"the test; got {fractions!r}"
        )
    edges = [0, *(round(part * len(x)) for part in np.cumsum(shares)), len(x)]
    parts = []
    for name, first, last in zip(
        ("train", "validation", "test"), edges[:-1], edges[1:], strict=True
    ):
        if last - first < length + ahead:
            raise ValueError(
                f"length {length} with a horizon of {ahead} needs {length + ahead} days, but the "
                f"part for {name} has {last - first} of the {len(x)}: shorten the windows"
            )
        end = np.arange(first + length - 1, last - ahead)
        days = end[:, None] + np.arange(1 - length, 1)
        after = [y[end[:, None] + np.arange(1, h + 1)].mean(axis=1) for h in horizons]
        parts.append(
            Windows(
                x[days].astype(np.float32),
                np.stack(after, axis=1).astype(np.float32),
                end,
            )
        )
    train, validation, test = parts
    return Split(train, validation, test, seen=edges[1])


_COLUMNS = ("high", "low", "close")


def _check(made: Prices) -> None:
    """Refuse prices that no index has: a loader that returns them has read something else."""
    columns = np.stack([made.high, made.low, made.close])
    problem = ""
    if columns.shape[1] < 2:
        problem = f"has {columns.shape[1]} days"
    elif not np.all(np.isfinite(columns)) or np.any(columns <= 0):
        problem = "has prices that are not positive numbers"
    elif np.any(made.low > made.close) or np.any(made.close > made.high):
        problem = "has days that close outside their range"
    elif not np.all(np.diff(made.dates).astype(int) > 0):
        problem = "is not in the order of time"
    if problem:
        raise ValueError(f"the {made.source} history of {made.ticker!r} {problem}")


def _positive(name: str, value: Any) -> np.ndarray:
    result = np.asarray(errors.array(name, value, ndim=1), np.float64)
    if len(result) < 2 or np.any(result <= 0):
        raise ValueError(
            f"{name} must be at least two positive prices, got {len(result)} of which "
            f"{int(np.sum(result <= 0))} are not positive"
        )
    return result


def _full_history(symbol: str) -> tuple[np.ndarray, list[np.ndarray]]:
    """All days since 1990 through yfinance, as dates and columns (downloads)."""
    try:
        import yfinance  # type: ignore[import-not-found, unused-ignore]
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            "prices(source='full') needs yfinance: pip install yfinance"
        ) from missing
    table = yfinance.Ticker(symbol).history(start="1990-01-01", auto_adjust=False)
    wanted = [name.title() for name in _COLUMNS]
    if table is None or len(table) == 0 or not set(wanted) <= set(table.columns):
        raise ValueError(f"Yahoo sent no daily prices for {symbol!r}: try again later")
    table = table.dropna(subset=wanted)
    dates = np.array([str(day)[:10] for day in table.index], dtype="datetime64[D]")
    return dates, [np.asarray(table[name], np.float64) for name in wanted]
