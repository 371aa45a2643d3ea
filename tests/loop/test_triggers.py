from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from kaizen.core.projectfile import LoopSection
from kaizen.core.records import Finding
from kaizen.loop.triggers import Request, fired, standing

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SECTION = LoopSection(retrain_on=["drift", "performance", "schedule 7d", "rows 100"])


def finding(question: str, subject: str, verdict: Any) -> Finding:
    return Finding(
        id=f"{question} {subject} {verdict}",
        project="p",
        at=NOW,
        by="loop",
        question=question,
        subject=subject,
        method="m",
        estimate=None,
        low=None,
        high=None,
        evidence=None,
        limit=None,
        verdict=verdict,
        n=1,
    )


def test_a_page_asks_until_it_is_resolved() -> None:
    asked = standing((), [finding("drift", "x", "page"), finding("drift", "y", "page")], SECTION)
    assert [request.subject for request in asked] == ["x", "y"]
    assert standing(asked, [], SECTION) == asked
    left = standing(asked, [finding("drift", "x", "resolved")], SECTION)
    assert [request.subject for request in left] == ["y"]


def test_only_declared_triggers_ask() -> None:
    only = LoopSection(retrain_on=["performance"])
    assert standing((), [finding("drift", "x", "page")], only) == ()
    assert standing((), [finding("drift", "x", "watch"), finding("drift window", "x", "page")], SECTION) == ()


def test_what_fires_names_its_findings() -> None:
    requests = (Request("drift", "b", "f2"), Request("drift", "a", "f1"))
    found = fired(requests, SECTION, now=NOW, last_training=NOW, new_rows=0)
    assert [(each.kind, each.says, each.findings) for each in found] == [("drift", "drift (a, b)", ("f2", "f1"))]


def test_calendar_and_rows_fire_when_due() -> None:
    early = fired((), SECTION, now=NOW, last_training=NOW - timedelta(days=6.9), new_rows=99)
    due = fired((), SECTION, now=NOW, last_training=NOW - timedelta(days=7), new_rows=100)
    assert early == ()
    assert [each.kind for each in due] == ["schedule", "rows"]
