"""Real trips, day by day: what was odd in a year of them, and that nobody is woken for it."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import duckdb
import pytest

from kaizen.core.projectfile import DataSection, ProjectFile, ProjectSection
from kaizen.data.profile import profile
from kaizen.data.rules import infer
from kaizen.monitor.day_rules import by_day
from kaizen.monitor.quality import QualitySettings, QualityState, assess_day
from kaizen.monitor.reference import fit
from kaizen.monitor.spells import Rows
from tests.monitor.days import stamp
from tests.monitor.test_taxi import COLUMNS, FOLDER, months

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"no {FOLDER}: set KAIZEN_DATA to the folder of data sets"),
]


@pytest.fixture(scope="module")
def told():
    """Return the Findings of July 2018 to March 2019, against January to June 2018, with their days."""
    frame, days = months(0, 6)
    sql = duckdb.connect()
    sql.register("frame", frame)
    texts = {column.name for column in COLUMNS if column.type == "category"}
    picked = ", ".join(f"nullif({name}, '') AS {name}" if name in texts else name for name in frame)
    sql.execute(f"CREATE TABLE rows AS SELECT {picked} FROM frame")
    file = ProjectFile(project=ProjectSection(name="taxi"), data=DataSection(source="x", target="none"))
    rules = by_day(infer(profile(sql, "rows", COLUMNS), file), frame, days)
    reference = fit(COLUMNS, frame, None, blocks=days)
    state, incidents, found = QualityState(), (), []
    frame, days = months(6, 15)
    epoch = date(1970, 1, 1)
    for day in range((date(2018, 7, 1) - epoch).days, (date(2019, 4, 1) - epoch).days):
        own = days == day
        start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
        today = Rows(
            day=day,
            start=start,
            end=start + timedelta(days=1),
            frame={name: values[own] for name, values in frame.items()},
            rows=int(own.sum()),
        )
        state, more, incidents = assess_day(
            rules, reference, state, today, incidents, settings=QualitySettings(), stamp=stamp
        )
        found += [(epoch + timedelta(days=day), finding) for finding in more]
    return found


def test_nobody_is_paged(told):
    assert {finding.verdict for _, finding in told} == {"ok", "watch", "resolved"}


def test_absurd_amounts_are_told_as_single_rows(told):
    single = {day.isoformat(): finding.says for day, finding in told if finding.question == "quality rows"}
    assert "total_amount 429,491 (1;" in single["2018-08-09"]
    assert "total_amount 3,004.8 (1;" in single["2019-01-28"]
    assert len(single) <= 6


def test_only_the_new_vendor_and_the_holidays_open_an_incident(told):
    opened = {(day.isoformat(), f.subject) for day, f in told if f.question == "quality" and f.verdict == "watch"}
    assert {subject for _, subject in opened} == {"vendor_id", "rows"}
    assert {day for day, subject in opened if subject == "rows"} == {"2018-11-22", "2018-12-24"}
