"""Why do the values that were served differ from those in the table? The likely cause, if one explains most of them.

| column | causes that are tried                                                                               |
|--------|-----------------------------------------------------------------------------------------------------|
| all    | missing on one side and filled with one value on the other; always one value; the row before        |
| number | a constant offset or factor (a unit), a straight line (scaling, Fahrenheit), rounding, a logarithm  |
| time   | a time zone (with or without daylight saving), whole days, rounding, seconds for microseconds       |
| text   | case, white space, "2.0" for "2", leading zeros, a word for missing, cut short, encoding, new codes |

A cause is named when it explains nine in ten of the pairs that differ, the simplest first.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import ColumnType
from kaizen.graph.frame import is_missing
from kaizen.monitor.columns.binning import canonical

Values: TypeAlias = NDArray[Any]
Float: TypeAlias = NDArray[np.float64]

_ENOUGH: Final = 0.9
_FEWEST: Final = 5  # pairs: fewer fit anything
_SECOND_US: Final = 1_000_000
_UNITS: Final = {
    1e3: "a thousand (such as kilo)", 1e6: "a million (such as mega)", 100.0: "100 (per cent and share)", 10.0: "10",
    60.0: "60 (minutes and seconds, or hours)", 3600.0: "3,600 (hours and seconds)", 24.0: "24 (days and hours)",
    86_400.0: "86,400 (days and seconds)", 7.0: "7 (weeks and days)", 1024.0: "1,024 (such as kibi)",
    1.609344: "1.609 (miles and kilometres)", 1.852: "1.852 (nautical miles and kilometres)",
    3.280840: "3.281 (metres and feet)", 2.54: "2.54 (inches and centimetres)", 0.45359237: "0.4536 (pounds and kg)",
    3.785412: "3.785 (gallons and litres)", -1.0: "-1 (the sign)", 1.8: "1.8", 3.6: "3.6 (m/s and km/h)",
}  # fmt: skip
_WORDS: Final = frozenset({"none", "null", "nan", "na", "n/a", "nat", "missing", "unknown", "?", "-", "--"})
_ROUNDED: Final = ((_SECOND_US, "the second"), (60 * _SECOND_US, "the minute"), (3600 * _SECOND_US, "the hour"),
    (86_400 * _SECOND_US, "the day"))  # fmt: skip


_FUNCTIONS: Final[dict[str, Callable[[Float], Float]]] = {
    "logarithm": np.log,
    "logarithm to the base 10": np.log10,
    "logarithm of it and 1": np.log1p,
    "square root": np.sqrt,
}


class Cause(NamedTuple):
    """What most of the pairs have in common, for people, and the share of those looked at that do."""

    says: str
    share: float


def likely_cause(kind: ColumnType, served: Values, source: Values, earlier: Callable[[], Values]) -> Cause | None:
    """Return the cause of these differences, None if none explains nine in ten.

    Parameters
    ----------
    served, source
        Values that differ, of the served rows and of the table's, shape (pairs,).
    earlier
        Gives the table's value of the unit's row before, shape (pairs,); asked if nothing simpler explains it.
    """
    if len(served) < _FEWEST:
        return None
    gone = is_missing(served, kind), is_missing(source, kind)
    both = ~gone[0] & ~gone[1]
    named = _filled(served, source, *gone)
    if named is None and both.mean() >= _ENOUGH:
        tried = {"time": _times}.get(kind, _texts if kind in ("category", "text") else _numbers)
        named = _first(tried(served[both], source[both]), float(both.mean()))
    return named or _constant(kind, served, source) or _late(kind, served, earlier())


def _first(tried: Iterator[tuple[str, NDArray[np.bool_]]], known: float) -> Cause | None:
    for says, holds in tried:
        share = float(holds.mean()) * known
        if share >= _ENOUGH:
            return Cause(says, share)
    return None


# All types


def _filled(
    served: Values, source: Values, served_gone: NDArray[np.bool_], source_gone: NDArray[np.bool_]
) -> Cause | None:
    for gone, other, side, there in (
        (source_gone, served, "serving", "the table"),
        (served_gone, source, "the table", "serving"),
    ):
        if gone.mean() >= _ENOUGH:
            value, count = Counter(other[gone].tolist()).most_common(1)[0]
            if count >= _ENOUGH * gone.sum():
                return Cause(f"{side} has {value!r} where it is missing in {there}", count / len(gone))
            return Cause(f"it is missing in {there}, and in {side} it is not", float(gone.mean()))
    return None


def _constant(kind: ColumnType, served: Values, source: Values) -> Cause | None:
    for values, other, side in ((served, source, "serving"), (source, served, "the table")):
        value, count = Counter(values.tolist()).most_common(1)[0]
        if count >= _ENOUGH * len(values) and not is_missing(values[:1], kind).all() and len(set(other.tolist())) > 1:
            return Cause(f"{side} always has {value!r}", count / len(values))
    return None


def _late(kind: ColumnType, served: Values, earlier: Values) -> Cause | None:
    if len(earlier) != len(served):
        return None
    numeric = kind in ("number", "boolean")
    holds = _near(served, earlier) if numeric else np.asarray(served == earlier, bool)
    share = float((holds & ~is_missing(served, kind)).mean())
    return Cause("serving has the value of the unit's row before: it is late", share) if share >= _ENOUGH else None


# Numbers


def _numbers(served: Float, source: Float) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    offset = float(np.median(served - source))
    if offset:
        yield f"it is {abs(offset):.6g} {'more' if offset > 0 else 'less'} in serving", _close(served, source + offset)
    known = source != 0
    if known.any():
        factor = float(np.median(served[known] / source[known]))
        yield _factor(factor), _close(served, source * factor)
    yield from _roundings(served, source)
    for one, other, side in ((served, source, "serving"), (source, served, "the table")):
        with np.errstate(all="ignore"):
            for name, of in _FUNCTIONS.items():
                yield f"in {side} it is the {name}", _close(one, of(other))
    slope, level = _line(source, served)
    if slope:
        celsius = " (Fahrenheit for Celsius)" if abs(slope - 1.8) < 1e-3 and abs(level - 32) < 1e-2 else ""
        celsius = celsius or (" (Celsius for Fahrenheit)" if abs(slope * 1.8 - 1) < 1e-3 else "")
        says = f"in serving it is {slope:.6g} times the table's and {level:+.6g}{celsius}"
        yield says, _close(served, slope * source + level)


def _factor(factor: float) -> str:
    for size, says in _UNITS.items():
        if abs(factor / size - 1) < 1e-4:
            return f"in serving it is multiplied by {says}"
        if factor and abs(1 / factor / size - 1) < 1e-4:
            return f"in serving it is divided by {says}"
    return f"in serving it is multiplied by {factor:.6g}"


def _roundings(served: Float, source: Float) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for one, other, side in ((served, source, "serving"), (source, served, "the table")):
        for digits in range(7):
            unit = 10.0**-digits
            is_round = _near(one, np.round(one, digits))
            yield f"{side} rounds it to {digits} digits", is_round & (np.abs(one - other) <= unit / 2 * (1 + 1e-6))
            yield f"{side} cuts it off after {digits} digits", is_round & (np.abs(one - other) < unit)


def _line(x: Float, y: Float) -> tuple[float, float]:
    """Return slope and level of the line through the medians of the lower and of the upper half (Brown & Mood 1951)."""
    order = np.argsort(x, kind="stable")
    lower, upper = order[: len(x) // 2], order[-(len(x) // 2) :]
    x1, x2 = np.median(x[lower]), np.median(x[upper])
    if x1 == x2:
        return 0.0, 0.0
    slope = float((np.median(y[upper]) - np.median(y[lower])) / (x2 - x1))
    return slope, float(np.median(y - slope * x))


def _near(one: Values, other: Values) -> NDArray[np.bool_]:
    """Say which values are the same but for float rounding."""
    return _within(one, other, 1e-6, 1e-12)


def _close(one: Values, other: Values) -> NDArray[np.bool_]:
    """Say which are the same but for what rounding to a few digits does to small ones."""
    with np.errstate(invalid="ignore"):
        usual = float(np.nanmedian(np.abs(one)))
    return _within(one, other, 1e-4, 1e-5 * usual)


def _within(one: Values, other: Values, relative: float, absolute: float) -> NDArray[np.bool_]:
    with np.errstate(invalid="ignore"):
        within: NDArray[np.bool_] = np.abs(one - other) <= relative * np.maximum(np.abs(one), np.abs(other)) + absolute
    return within


# Times


def _times(served: NDArray[np.int64], source: NDArray[np.int64]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    apart = served - source
    (first, _), *rest = Counter(apart.tolist()).most_common(2)
    yield _shifted(first), apart == first
    if rest:
        second = rest[0][0]
        if abs(first - second) == 3600 * _SECOND_US and first % (900 * _SECOND_US) == 0:
            hours = " and ".join(f"{value / 3600e6:+g}" for value in sorted((first, second)))
            yield (
                f"in serving it is {hours} hours off: a time zone with daylight saving",
                np.isin(apart, [first, second]),
            )
    for size, name in _ROUNDED:
        yield f"serving cuts it off at {name}", (served % size == 0) & (np.abs(apart) < size)
        yield f"the table cuts it off at {name}", (source % size == 0) & (np.abs(apart) < size)
    for factor, unit in ((1_000_000, "seconds"), (1_000, "milliseconds")):
        yield f"serving sends {unit} for microseconds", np.abs(served * factor - source) < factor
        yield f"the table has {unit} for microseconds", np.abs(source * factor - served) < factor


def _shifted(apart_us: int) -> str:
    when = "later" if apart_us > 0 else "earlier"
    size = abs(apart_us)
    if size % (86_400 * _SECOND_US) == 0:
        return f"in serving it is {size // (86_400 * _SECOND_US)} days {when}"
    if size % (900 * _SECOND_US) == 0 and size <= 14 * 3600 * _SECOND_US:
        return f"in serving it is {size / 3600e6:g} hours {when}: a time zone"
    return f"in serving it is {size / 1e6:g} seconds {when}"


# Texts


def _texts(served: Values, source: Values) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    pairs = list(zip(served.tolist(), source.tolist(), strict=True))

    def holds(alike: Callable[[str, str], bool]) -> NDArray[np.bool_]:
        return np.array([alike(one, other) for one, other in pairs], dtype=bool)

    yield "only white space differs", holds(lambda a, b: a.split() == b.split())
    yield "only upper and lower case differ", holds(lambda a, b: a.casefold() == b.casefold())
    yield "case and white space differ", holds(lambda a, b: a.casefold().split() == b.casefold().split())
    yield 'numbers are written in two ways ("2" and "2.0")', holds(lambda a, b: canonical(a) == canonical(b))
    yield "leading zeros are lost", holds(lambda a, b: a.lstrip("0") == b.lstrip("0"))
    yield (
        "accents are written in two ways (Unicode normal forms)",
        holds(lambda a, b: unicodedata.normalize("NFKC", a) == unicodedata.normalize("NFKC", b)),
    )
    yield "UTF-8 was read as Latin-1 on one side", holds(lambda a, b: a in _misread(b) or b in _misread(a))
    yield "a word stands for what is missing on one side", holds(lambda a, b: {a.lower(), b.lower()} & _WORDS != set())
    yield "serving cuts it short", holds(lambda a, b: a != "" and b.startswith(a))
    yield "the table cuts it short", holds(lambda a, b: b != "" and a.startswith(b))
    codes = dict(Counter(pairs).most_common())
    by_source: dict[str, str] = {}
    for one, other in codes:
        by_source.setdefault(other, one)
    if len(pairs) >= 3 * len(by_source):
        shown = ", ".join(f"{other!r} is {one!r}" for other, one in list(by_source.items())[:3])
        yield f"serving has another code for each value: {shown}", holds(lambda a, b: by_source[b] == a)


def _misread(text: str) -> tuple[str, ...]:
    try:
        return (text.encode().decode("latin-1"), text.encode().decode("cp1252"))
    except UnicodeError:
        return (text.encode().decode("latin-1"),)
