"""The contract in days becomes limits of the detectors."""

import pytest

from kaizen.core.projectfile import MonitorSection
from kaizen.monitor.settings import settings_of


@pytest.mark.parametrize(("text", "window", "days"), [("1/30d", "7d", 7), ("1/30d", "10d", 14), ("2/30d", "1d", 7)])
def test_windows_are_whole_weeks(text, window, days):
    assert settings_of(MonitorSection(max_false_pages=text, window=window)).window_days == days


@pytest.mark.parametrize(("text", "pages_a_day"), [("1/30d", 1 / 30), ("2/30d", 2 / 30), ("1/365d", 1 / 365)])
def test_all_families_together_keep_the_contract(text, pages_a_day):
    settings = settings_of(MonitorSection(max_false_pages=text))
    assert sum(1 / settings.limit_of(family) for family in settings.shares) == pytest.approx(pages_a_day)


@pytest.mark.parametrize(("text", "days"), [("1/30d", 365), ("1/90d", 900)])
def test_bad_rows_that_page_are_part_of_the_contract(text, days):
    silent, loud = (settings_of(MonitorSection(max_false_pages=text, page_on_quality=on)) for on in (False, True))
    assert (silent.quality.pages, silent.quality.between_days) == (False, 365)
    assert (loud.quality.pages, loud.quality.between_days) == (True, pytest.approx(days))
    assert sum(silent.shares.values()) == pytest.approx(1)
    assert sum(loud.shares.values()) + loud.limit / days <= 1 + 1e-9


def test_patience_is_counted_in_days():
    assert settings_of(MonitorSection(quality_patience="36h")).quality.patience_days == 2


def test_a_page_a_minute_is_a_page_a_day():
    assert settings_of(MonitorSection(max_false_pages="1/1m")).limit == pytest.approx(1, abs=0.01)
