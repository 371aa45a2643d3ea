"""The log as a notifier."""

from __future__ import annotations

import pytest
import structlog
from structlog.testing import capture_logs

from kaizen.adapters.notifier.log import LogNotifier
from kaizen.testing.notifier import NotifierConformance, notice


class TestLog(NotifierConformance):
    @pytest.fixture(autouse=True)
    def _captured(self):
        with capture_logs() as self.events:
            yield

    def notifier(self):
        return LogNotifier(url="", secret=None)

    def arrived(self):
        return [str(event) for event in self.events]

    def broken(self):
        return None


def test_an_alert_is_one_event_with_the_evidence():
    with capture_logs() as events:
        LogNotifier(url="", secret=None).notify(notice("01ABC"))
    (event,) = events
    assert (event["event"], event["log_level"], event["change"]) == ("alert", "critical", "opened")
    assert (event["endpoint"], event["key"], event["alert"]) == ("p", "p/drift", "01ABC")
    (found,) = event["findings"]
    assert found == {
        "id": "finding-01ABC", "subject": "distance", "verdict": "page", "evidence": 40.0, "limit": 20.0
    }  # fmt: skip


def test_what_is_over_is_no_alarm():
    with capture_logs() as events:
        LogNotifier(url="", secret=None).notify(notice("01ABC", event="resolved"))
    assert events[0]["log_level"] == "info"


def test_it_renders_with_structlogs_own_defaults(capsys):
    structlog.reset_defaults()
    LogNotifier(url="", secret=None).notify(notice("01ABC"))
    assert "01ABC" in "".join(capsys.readouterr())
