"""The log as a notifier."""

from __future__ import annotations

import pytest
import structlog
from structlog.testing import capture_logs

from kaizen.adapters.notifier.log import LogNotifier
from kaizen.testing.notifier import NotifierConformance
from kaizen.testing.records import endpoint, finding


class TestLog(NotifierConformance):
    @pytest.fixture(autouse=True)
    def _captured(self):
        with capture_logs() as self.events:
            yield

    def notifier(self):
        return LogNotifier()

    def arrived(self):
        return [str(event) for event in self.events]


def test_a_page_is_one_event_with_the_evidence():
    with capture_logs() as events:
        LogNotifier().notify(finding("01ABC"), endpoint("flights", 3))
    (event,) = events
    assert (event["event"], event["log_level"]) == ("page", "error")
    assert (event["endpoint"], event["revision"], event["finding"]) == ("flights", 3, "01ABC")
    assert (event["evidence"], event["limit"], event["verdict"]) == (40.0, 20.0, "page")


def test_it_renders_with_structlogs_own_defaults(capsys):
    structlog.reset_defaults()
    LogNotifier().notify(finding("01ABC"), endpoint("flights", 3))
    assert "01ABC" in "".join(capsys.readouterr())
