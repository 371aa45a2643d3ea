"""Real trips, with the defaults: a quiet half year pages nothing, a change in the law is found.

Twice: each month held whole against January to June 2018, and the eighteen months as a stream of days.
"""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from kaizen.loop.backtest import backtest
from kaizen.loop.compare import compare

FOLDER = Path(os.environ.get("KAIZEN_DATA", Path(__file__).parents[2].parent / "shared" / "data")) / "nyc_taxi"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no {FOLDER}: set KAIZEN_DATA to the folder of data sets"),
    pytest.mark.xdist_group("taxi"),
]
REFERENCE = str(FOLDER / "yellow_tripdata_sample_2018-0[1-6].csv.gz")
LAW = datetime(2019, 2, 2, tzinfo=UTC)  # from which on the surcharge was paid; recorded from January 21 on


def month(name):
    """Return the comparison of a month with the reference, as `kaizen monitor compare` makes it."""
    return compare(REFERENCE, FOLDER / f"yellow_tripdata_sample_{name}.csv.gz", at=datetime(2019, 7, 1, tzinfo=UTC))


def paging(found):
    return {column.name for column in found.columns if column.page}


@pytest.mark.parametrize("name", [f"2018-{m:02}" for m in range(7, 13)])
def test_a_quiet_month_pages_nothing(name):
    found = month(name)
    assert not found.page
    assert paging(found) == set()
    assert len(found.columns) == 17


def test_the_surcharge_is_found_in_the_month_it_is_first_recorded():
    assert paging(month("2019-01")) == {"congestion_surcharge"}


def test_what_the_law_changed_is_found_and_a_month_of_wrong_passenger_counts():
    assert paging(month("2019-02")) - {"tip_amount"} == {
        "congestion_surcharge",
        "extra",
        "total_amount",
        "passenger_count",
    }
    assert paging(month("2019-03")) - {"tip_amount"} == {"congestion_surcharge", "extra", "total_amount"}


def test_single_absurd_amounts_and_rows_out_of_their_month_are_told_and_page_nobody():
    august, november = month("2018-08"), month("2018-11")
    assert not august.page
    told = {finding.subject: finding.says for finding in august.odd}
    assert "429490" in told["fare_amount"]
    assert "429491" in told["total_amount"]
    late = [finding for finding in november.odd if finding.subject == "pickup_datetime"]
    assert [finding.verdict for finding in late] == ["watch"]
    assert "3 rows lie outside 2018-11-01 to 2018-11-30" in late[0].says
    assert {finding.verdict for finding in (*august.odd, *november.odd)} == {"watch"}


@pytest.fixture(scope="module")
def stream():
    return backtest(REFERENCE, FOLDER / "yellow_tripdata_sample_20*.csv.gz")


def told(stream, verdict):
    return {finding.subject: finding for finding in stream.told if finding.verdict == verdict}


def test_the_stream_pages_nothing_before_the_law(stream):
    assert [f.subject for f in stream.told if f.at < datetime(2019, 1, 21, tzinfo=UTC)] == []


def test_the_stream_pages_each_change_once_and_soon(stream):
    pages = told(stream, "page")
    assert sorted(pages) == ["congestion_surcharge", "extra", "passenger_count", "tip_amount", "total_amount"]
    assert len([f for f in stream.told if f.verdict == "page"]) == 5
    delays = {name: (page.at - LAW).days for name, page in pages.items()}
    assert -12 <= delays["congestion_surcharge"] <= -9  # two to five days after the first was recorded
    assert max(delays[name] for name in ("extra", "total_amount", "passenger_count")) <= 14
    assert abs((pages["extra"].began - LAW).days) <= 3


def test_the_wrong_passenger_counts_are_over_in_march(stream):
    (over,) = told(stream, "resolved").values()
    assert over.subject == "passenger_count"
    assert datetime(2019, 3, 1, tzinfo=UTC) < over.at < datetime(2019, 4, 1, tzinfo=UTC)


def test_absurd_amounts_page_nobody_and_rows_out_of_their_month_are_late_events(stream):
    assert stream.late > 0
    assert {f.question for f in stream.told} == {"drift"}
