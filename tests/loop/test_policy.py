from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from kaizen.core.projectfile import ProjectFile, parse
from kaizen.core.records import Arm, Decision, Endpoint
from kaizen.loop.policy import Compared, Fired, Situation, decide, promoted, rolled_back

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def file(**loop: Any) -> ProjectFile:
    return parse({"project": {"name": "p"}, "data": {"source": "s", "target": "y"}, "loop": loop})


def endpoint(*arms: Arm) -> Endpoint:
    return Endpoint(
        id="p@3",
        project="p",
        at=NOW,
        by="loop",
        name="p",
        revision=3,
        arms=(Arm("A", "champion", 1.0), *arms),
        decision="d",
    )


def retrained(days_ago: float) -> Decision:
    at = NOW - timedelta(days=days_ago)
    return Decision(id=f"r{days_ago}", project="p", at=at, by="loop", action="retrain", endpoint="p", reason="")


def situation(**changes: Any) -> Situation:
    quiet = Situation(NOW, endpoint(), compared=(), fired=(), newly_fired=False, decisions=())
    return msgspec.structs.replace(quiet, **changes)


CHALLENGER, SHADOW = Arm("C", "challenger", 0.0), Arm("S", "shadow", 0.0)
DRIFT = (Fired("drift", "drift (x)", ("f1",)),)


def test_nothing_happens_when_nothing_is_known() -> None:
    assert decide(situation(), file()) == []


def test_a_better_challenger_is_promoted_and_the_displaced_champion_stays_in_shadow() -> None:
    found = decide(
        situation(endpoint=endpoint(CHALLENGER, SHADOW), compared=(Compared("C", "better", 12, "f"),)), file()
    )
    assert [(p.action, p.bundle, p.findings) for p in found] == [("promote", "C", ("f",))]
    assert found[0].arms == (Arm("C", "champion", 1.0), Arm("A", "shadow", 0.0))


def test_reversed_evidence_rolls_back_before_anything_else() -> None:
    compared = (Compared("C", "better", 12, "f"), Compared("S", "better", 11, "g"))
    found = decide(situation(endpoint=endpoint(CHALLENGER, SHADOW), compared=compared), file())
    assert [(p.action, p.bundle) for p in found] == [("roll back", "S")]
    assert found[0].arms == (Arm("S", "champion", 1.0), CHALLENGER)


@pytest.mark.parametrize(("verdict", "blocks"), [("worse", 10), ("undecided", 42)])
def test_a_challenger_that_is_worse_or_out_of_time_is_stopped(verdict: Any, blocks: int) -> None:
    found = decide(situation(endpoint=endpoint(CHALLENGER), compared=(Compared("C", verdict, blocks, "f"),)), file())
    assert [(p.action, p.bundle) for p in found] == [("stop", "C")]
    assert found[0].arms == (Arm("A", "champion", 1.0),)


def test_an_undecided_challenger_goes_on() -> None:
    compared = (Compared("C", "undecided", 20, "f"),)
    assert decide(situation(endpoint=endpoint(CHALLENGER), compared=compared), file()) == []


def test_approval_is_asked_for_once() -> None:
    seen = situation(endpoint=endpoint(CHALLENGER), compared=(Compared("C", "better", 12, "f"),))
    first = decide(seen, file(promote="approve"))
    assert [(p.action, p.arms) for p in first] == [("hold", None)]
    asked = Decision(id="h", project="p", at=NOW, by="loop", action="hold", endpoint="p", reason="", bundle="C")
    assert decide(msgspec.structs.replace(seen, decisions=(asked,)), file(promote="approve")) == []


def test_a_trigger_retrains() -> None:
    found = decide(situation(fired=DRIFT, newly_fired=True), file())
    assert [(p.action, p.reason, p.findings) for p in found] == [("retrain", "asked for by drift (x)", ("f1",))]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"decisions": (retrained(13),)}, "the cool-down is 14 days"),
        ({"decisions": (retrained(29), retrained(15))}, "the budget is 2 in 30 days"),
        ({"endpoint": endpoint(CHALLENGER)}, "a challenger is being tried"),
    ],
)
def test_what_forbids_a_retraining_is_said_once(changes: dict[str, Any], says: str) -> None:
    found = decide(situation(fired=DRIFT, newly_fired=True, **changes), file())
    assert [p.action for p in found] == ["hold"]
    assert says in found[0].reason
    assert decide(situation(fired=DRIFT, newly_fired=False, **changes), file()) == []


def test_cooldown_and_budget_end() -> None:
    found = decide(situation(fired=DRIFT, decisions=(retrained(31), retrained(14))), file())
    assert [p.action for p in found] == ["retrain"]


def test_an_endless_trigger_never_exceeds_the_budget() -> None:
    """A permanent harmless drift: however long it lasts, retrainings keep to the budget."""
    decisions: list[Decision] = []
    for day in range(365):
        now = NOW + timedelta(days=day)
        found = decide(situation(now=now, fired=DRIFT, newly_fired=day == 0, decisions=tuple(decisions)), file())
        decisions += [
            msgspec.structs.replace(retrained(0), at=now, id=str(day)) for p in found if p.action == "retrain"
        ]
    starts = [decision.at for decision in decisions]
    assert all(later - earlier >= timedelta(days=14) for earlier, later in itertools.pairwise(starts))
    assert all(sum(timedelta(0) <= at - start < timedelta(days=30) for at in starts) <= 2 for start in starts)
    assert len(starts) == 25


def test_arms_after_promotion_and_roll_back_have_one_champion() -> None:
    before = endpoint(CHALLENGER, SHADOW)
    for arms in (promoted(before, "C"), rolled_back(before, "S")):
        assert [arm.role for arm in arms].count("champion") == 1
        assert sum(arm.share for arm in arms) == 1.0
