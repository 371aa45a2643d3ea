"""Real trips, day by day: what was odd in eighteen months of them, and that nobody is woken for it."""

import pytest

from kaizen.loop.backtest import backtest
from tests.monitor.test_taxi import FOLDER, REFERENCE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no {FOLDER}: set KAIZEN_DATA to the folder of data sets"),
]


@pytest.fixture(scope="module")
def told():
    """Return what was said of the rows of January 2018 to June 2019, against January to June 2018, by question."""
    found = backtest(REFERENCE, FOLDER / "yellow_tripdata_sample_20*.csv.gz").findings
    return [finding for finding in found if finding.question.startswith("quality")]


def test_nobody_is_paged(told):
    assert {finding.verdict for finding in told} == {"ok", "watch", "resolved"}


def test_absurd_amounts_are_told_as_single_rows(told):
    single = {f"{finding.start:%Y-%m-%d}": finding.says for finding in told if finding.question == "quality rows"}
    assert "total_amount 429,491 (1;" in single["2018-08-09"]
    assert "total_amount 3,004.8 (1;" in single["2019-01-28"]
    assert len(single) <= 10


def test_only_the_new_vendor_snow_and_holidays_open_an_incident(told):
    opened = [finding for finding in told if finding.question == "quality" and finding.verdict == "watch"]
    assert [finding.subject for finding in opened if finding.subject != "rows"] == ["vendor_id"]
    few = {f"{finding.start:%Y-%m-%d}" for finding in opened if finding.subject == "rows"}
    assert few == {"2018-03-07", "2018-03-21", "2018-07-04", "2018-11-22", "2018-12-24", "2019-05-25"}
