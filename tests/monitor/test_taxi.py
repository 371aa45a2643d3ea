"""Real trips: a quiet half year pages nothing, a change in the law is found."""

import os
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import numpy as np
import pytest

from kaizen.core.records import Column
from kaizen.monitor.drift import assess
from kaizen.monitor.reference import count, fit
from kaizen.monitor.window import Window
from tests.monitor.days import stamp

FOLDER = Path(os.environ.get("KAIZEN_DATA", Path(__file__).parents[2].parent / "shared" / "data")) / "nyc_taxi"
pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no {FOLDER}: set KAIZEN_DATA to the folder of data sets")

CATEGORIES = ("vendor_id", "rate_code_id", "store_and_fwd_flag", "payment_type")
NUMBERS = (
    "passenger_count",
    "trip_distance",
    "fare_amount",
    "extra",
    "mta_tax",
    "tip_amount",
    "tolls_amount",
    "improvement_surcharge",
    "total_amount",
    "congestion_surcharge",
)
COLUMNS = [*(Column(n, "number") for n in NUMBERS), *(Column(n, "category") for n in CATEGORIES)]


def months(first, last):
    """Return the trips of these files as a frame, and their days."""
    fields = [f"coalesce(try_cast({n} as double), 'nan'::double) as {n}" for n in NUMBERS]
    fields += [f"coalesce({n}::varchar, '') as {n}" for n in CATEGORIES]
    files = [str(FOLDER / f"yellow_tripdata_sample_{m}.csv.gz") for m in NAMES[first:last]]
    found = duckdb.sql(
        f"select {', '.join(fields)}, date_diff('day', date '1970-01-01', pickup_datetime::date) as day "
        f"from read_csv({files}, union_by_name=true, all_varchar=true, strict_mode=false)"
    ).fetchnumpy()
    frame = {name: np.ma.getdata(values) for name, values in found.items()}
    return frame, frame.pop("day").astype(np.int64)


NAMES = [f"2018-{m:02}" for m in range(1, 13)] + [f"2019-{m:02}" for m in range(1, 7)]


@pytest.fixture(scope="module")
def judged():
    """Return the Findings of July 2018 to March 2019 against January to June 2018, by month."""
    frame, days = months(0, 6)
    reference = fit(COLUMNS, frame, None, blocks=days)
    incidents, found = (), {}
    for index in range(6, 15):
        frame, days = months(index, index + 1)
        year, month = map(int, NAMES[index].split("-"))
        start, end = datetime(year, month, 1, tzinfo=UTC), datetime(year, month, 28, tzinfo=UTC)
        window = Window(first_day=0, last_day=27, start=start, end=end, rows=0, counts={})
        window = window.add(count(reference, frame, None), len(days), end)
        found[NAMES[index]], incidents = assess(reference, window, incidents, level=0.01, stamp=stamp)
    return found


def drifted(findings):
    return {f.subject for f in findings if f.question == "drift" and f.verdict == "page"}


def test_the_quiet_half_year_pages_nothing(judged):
    for month in NAMES[6:12]:
        assert drifted(judged[month]) == set()
        assert judged[month][-1].verdict == "ok"


def test_the_surcharge_that_the_law_brought_is_found(judged):
    assert drifted(judged["2019-01"]) == {"congestion_surcharge"}
    assert {"extra", "total_amount"} <= drifted(judged["2019-02"])


def test_a_month_of_wrong_passenger_counts_is_resolved(judged):
    assert "passenger_count" in drifted(judged["2019-02"])
    resolved = {f.subject for f in judged["2019-03"] if f.verdict == "resolved"}
    assert resolved == {"passenger_count"}
