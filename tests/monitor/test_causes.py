"""Each way in which training and serving are known to part is named; what has no one cause gets none."""

import numpy as np
import pytest

from kaizen.graph.frame import MISSING_TIME
from kaizen.monitor.skew.causes import likely_cause

RNG = np.random.default_rng(0)
X = RNG.lognormal(3, 1, 300)
HOUR = 3_600_000_000
T = 1_750_000_000_000_000 + RNG.integers(0, 10**13, 300)
SUMMER = np.where(np.arange(300) < 200, 1, 0)
WORDS = np.array(["Oslo", "Bergen ", "Ås", "2.0", "007", "Trondheim"], dtype=object)[RNG.integers(6, size=300)]
CITIES = np.array(["Oslo", "Bergen", "Paris"], dtype=object)[RNG.integers(3, size=300)]
CODES = {"Oslo": "1", "Bergen": "2", "Paris": "3"}


def texts(function, values=WORDS):
    return np.array([function(value) for value in values], dtype=object)


NUMBERS = {
    "it is 5 more in serving": (X + 5, X),
    "it is 0.25 less in serving": (X - 0.25, X),
    "in serving it is multiplied by a thousand (such as kilo)": (X * 1000, X),
    "in serving it is divided by 100 (per cent and share)": (X / 100, X),
    "in serving it is multiplied by -1 (the sign)": (-X, X),
    "in serving it is multiplied by 1.609 (miles and kilometres)": (X * 1.609344, X),
    "in serving it is divided by 0.4536 (pounds and kg)": (X / 0.45359237, X),
    "in serving it is multiplied by 0.37": (X * 0.37, X),
    "in serving it is 1.8 times the table's and +32 (Fahrenheit for Celsius)": (X * 1.8 + 32, X),
    "in serving it is 0.555556 times the table's and -17.7778 (Celsius for Fahrenheit)": ((X - 32) / 1.8, X),
    "in serving it is 0.5 times the table's and -3": (X * 0.5 - 3, X),
    "serving rounds it to 0 digits": (np.round(X), X),
    "serving rounds it to 2 digits": (np.round(X, 2), X),
    "the table rounds it to 1 digits": (X, np.round(X, 1)),
    "serving cuts it off after 0 digits": (np.trunc(X), X),
    "in serving it is the logarithm": (np.log(X), X),
    "in serving it is the logarithm of it and 1": (np.log1p(X), X),
    "in the table it is the square root": (X, np.sqrt(X)),
    "serving has 0.0 where it is missing in the table": (np.zeros(300), np.full(300, np.nan)),
    "the table has -1.0 where it is missing in serving": (np.full(300, np.nan), np.full(300, -1.0)),
    "it is missing in serving, and in the table it is not": (np.full(300, np.nan), X),
    "serving always has 42.0": (np.full(300, 42.0), X),
}
TIMES = {
    "in serving it is 5 hours later: a time zone": (T + 5 * HOUR, T),
    "in serving it is 5.5 hours earlier: a time zone": (T - 11 * HOUR // 2, T),
    "in serving it is +1 and +2 hours off: a time zone with daylight saving": (T + HOUR * (1 + SUMMER), T),
    "in serving it is 1 days later": (T + 24 * HOUR, T),
    "in serving it is 3.5 seconds earlier": (T - 3_500_000, T),
    "serving cuts it off at the second": (T // 1_000_000 * 1_000_000, T),
    "serving cuts it off at the day": (T // (24 * HOUR) * (24 * HOUR), T),
    "serving sends seconds for microseconds": (T // 1_000_000, T),
    "the table has milliseconds for microseconds": (T, T // 1000),
    "it is missing in serving, and in the table it is not": (np.full(300, MISSING_TIME), T),
}
TEXTS = {
    "only white space differs": (texts(str.strip), texts(lambda v: f" {v}  ")),
    "only upper and lower case differ": (texts(str.upper), WORDS),
    "case and white space differ": (texts(lambda v: v.strip().upper()), texts(lambda v: f" {v}")),
    'numbers are written in two ways ("2" and "2.0")': (texts(lambda v: f"{len(v)}.0"), texts(lambda v: str(len(v)))),
    "leading zeros are lost": (texts(lambda v: str(len(v))), texts(lambda v: f"00{len(v)}")),
    "UTF-8 was read as Latin-1 on one side": (texts(lambda v: f"é{v}".encode().decode("latin-1")), texts("é{}".format)),
    "accents are written in two ways (Unicode normal forms)": (texts("e\u0301{}".format), texts("\u00e9{}".format)),
    "serving cuts it short": (texts(lambda v: v[:1]), WORDS),
    "serving has another code for each value: ": (texts(CODES.get, CITIES), CITIES),
    "serving has 'unknown' where it is missing in the table": (
        np.array(["unknown"] * 300, dtype=object),
        np.array([""] * 300, dtype=object),
    ),
}


@pytest.mark.parametrize(
    ("kind", "says", "served", "source"),
    [
        (kind, says, *pair)
        for kind, causes in (("number", NUMBERS), ("time", TIMES), ("category", TEXTS))
        for says, pair in causes.items()
    ],
)
def test_a_known_way_of_parting_is_named(kind, says, served, source):
    cause = likely_cause(kind, served, source, lambda: source[:0])
    assert cause is not None
    assert cause.says.startswith(says)
    assert cause.share >= 0.9


def test_one_pair_in_ten_may_differ_for_another_reason():
    served = np.where(np.arange(300) % 12 == 0, X * 3.3, X * 1000)
    cause = likely_cause("number", served, X, lambda: X[:0])
    assert cause.says == "in serving it is multiplied by a thousand (such as kilo)"
    assert cause.share == pytest.approx(11 / 12, abs=0.01)
    served = np.where(np.arange(300) % 5 == 0, X * 3.3, X * 1000)
    assert likely_cause("number", served, X, lambda: X[:0]) is None


def test_a_value_that_comes_a_row_late_is_recognised():
    earlier = RNG.permutation(X)
    cause = likely_cause("number", earlier.copy(), X, lambda: earlier)
    assert cause.says == "serving has the value of the unit's row before: it is late"
    assert likely_cause("category", WORDS, CITIES, lambda: WORDS).says.endswith("it is late")


def test_what_has_no_one_cause_has_none():
    assert likely_cause("number", RNG.permutation(X), X, lambda: X[:0]) is None
    assert likely_cause("category", WORDS, RNG.permutation(CITIES), lambda: WORDS[:0]) is None
    assert likely_cause("time", T + RNG.integers(HOUR, 99 * HOUR, 300), T, lambda: T[:0]) is None


def test_a_handful_of_pairs_fits_anything():
    assert likely_cause("number", X[:4] + 1, X[:4], lambda: X[:0]) is None
