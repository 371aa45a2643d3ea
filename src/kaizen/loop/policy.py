"""The policy: from what is known to what is done. Pure: the same situation gives the same proposals.

In this order, so that users are protected before anything is tried on them:

1. roll back    the displaced champion, still in shadow, proves better than the one that displaced it
2. promote      the challenger in shadow proves better than the champion
3. stop         a shadow proves worse, or its time is up without proof
4. retrain      a trigger fired, nobody is being tried, and cool-down and budget allow it
5. hold         a trigger fired and one of these does not, or bad data explains it; said once per trigger, not per day
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from kaizen.core.durations import duration, rate
from kaizen.core.projectfile import ProjectFile
from kaizen.core.records import Action, Arm, Decision, Endpoint, Verdict


class Compared(msgspec.Struct, frozen=True):
    """How a shadow stands against the champion."""

    bundle: str
    verdict: Verdict  # better | worse | undecided
    blocks: int
    finding: str


class Fired(msgspec.Struct, frozen=True):
    """A trigger that asks for a retraining, in words, and the findings behind it."""

    kind: str
    says: str
    findings: tuple[str, ...] = ()


class Held(msgspec.Struct, frozen=True):
    """A trigger that does not count, and why: what made it fire are bad data."""

    fired: Fired
    why: str


class Situation(msgspec.Struct, frozen=True):
    """All that the policy looks at."""

    now: datetime
    endpoint: Endpoint
    compared: tuple[Compared, ...]
    fired: tuple[Fired, ...]
    newly_fired: bool  # is one of these new today?
    decisions: tuple[Decision, ...]  # of this endpoint, oldest first
    held: tuple[Held, ...] = ()
    newly_held: bool = False


class Proposal(msgspec.Struct, frozen=True):
    """An action with its reason; `arms` is what the endpoint becomes, None where it stays."""

    action: Action
    reason: str
    findings: tuple[str, ...] = ()
    bundle: str | None = None
    arms: tuple[Arm, ...] | None = None


def decide(situation: Situation, file: ProjectFile) -> list[Proposal]:
    """Return what to do now, in order; at most one change of arms and one retraining."""
    proposals = [_arms_change(situation, file)]
    proposals.append(_retraining(situation, file, changed=proposals[0] is not None))
    return [proposal for proposal in proposals if proposal is not None]


def promoted(endpoint: Endpoint, bundle: str) -> tuple[Arm, ...]:
    """Return the arms after a promotion: the displaced champion stays in shadow, an older one leaves."""
    return (Arm(bundle, "champion", 1.0), Arm(endpoint.champion.bundle, "shadow", 0.0))


def rolled_back(endpoint: Endpoint, bundle: str) -> tuple[Arm, ...]:
    """Return the arms after a roll-back to `bundle`; a challenger stays, for it was compared with neither yet."""
    challenger = endpoint.arm("challenger")
    return (Arm(bundle, "champion", 1.0), *((challenger,) if challenger else ()))


def without(endpoint: Endpoint, bundle: str) -> tuple[Arm, ...]:
    """Return the arms after one left."""
    return tuple(arm for arm in endpoint.arms if arm.bundle != bundle)


def with_challenger(endpoint: Endpoint, bundle: str) -> tuple[Arm, ...]:
    """Return the arms with a challenger that is scored beside the champion."""
    return (*endpoint.arms, Arm(bundle, "challenger", 0.0))


def _arms_change(situation: Situation, file: ProjectFile) -> Proposal | None:
    endpoint = situation.endpoint
    shadow, challenger = endpoint.arm("shadow"), endpoint.arm("challenger")
    of = {compared.bundle: compared for compared in situation.compared}
    back = of.get(shadow.bundle) if shadow else None
    if back is not None and back.verdict == "better":
        return Proposal(
            "roll back",
            "the displaced champion proved better than the one that displaced it",
            (back.finding,),
            back.bundle,
            rolled_back(endpoint, back.bundle),
        )
    forward = of.get(challenger.bundle) if challenger else None
    if forward is not None and forward.verdict == "better":
        return _promotion(situation, forward, file)
    for compared, who in ((forward, "the challenger"), (back, "the displaced champion")):
        if compared is None:
            continue
        if compared.verdict == "worse":
            reason = f"{who} proved worse than the champion"
        elif compared.blocks >= file.experiment.max_blocks:
            reason = f"{who} proved neither better nor worse in {compared.blocks} blocks"
        else:
            continue
        return Proposal("stop", reason, (compared.finding,), compared.bundle, without(endpoint, compared.bundle))
    return None


def _promotion(situation: Situation, forward: Compared, file: ProjectFile) -> Proposal | None:
    reason = f"the challenger proved better than the champion over {forward.blocks} blocks"
    if file.loop.promote == "auto":
        arms = promoted(situation.endpoint, forward.bundle)
        return Proposal("promote", reason, (forward.finding,), forward.bundle, arms)
    asked = any(d.action == "hold" and d.bundle == forward.bundle for d in situation.decisions)
    if asked:
        return None
    return Proposal("hold", f"{reason}; waiting for `kaizen loop approve`", (forward.finding,), forward.bundle)


def _retraining(situation: Situation, file: ProjectFile, *, changed: bool) -> Proposal | None:
    if not situation.fired:
        return _held(situation) if situation.newly_held else None
    why = ", ".join(fired.says for fired in situation.fired)
    findings = tuple(dict.fromkeys(finding for fired in situation.fired for finding in fired.findings))
    obstacle = _obstacle(situation, file, changed=changed)
    if obstacle is None:
        return Proposal("retrain", f"asked for by {why}", findings)
    if situation.newly_fired:
        return Proposal("hold", f"asked for by {why}, but {obstacle}", findings)
    return None


def _held(situation: Situation) -> Proposal:
    asked = ", ".join(held.fired.says for held in situation.held)
    why = "; ".join(dict.fromkeys(held.why for held in situation.held))
    findings = tuple(finding for held in situation.held for finding in held.fired.findings)
    return Proposal("hold", f"asked for by {asked}, but {why}", findings)


def _obstacle(situation: Situation, file: ProjectFile, *, changed: bool) -> str | None:
    """Return what speaks against retraining now, or None."""
    retrainings = [decision.at for decision in situation.decisions if decision.action == "retrain"]
    cooldown, budget = duration(file.loop.cooldown), rate(file.loop.budget)
    recent = [at for at in retrainings if situation.now - at < budget.per]
    checks: list[tuple[bool, str]] = [
        (changed, "the arms change today"),
        (situation.endpoint.arm("challenger") is not None, "a challenger is being tried"),
        (bool(retrainings) and situation.now - retrainings[-1] < cooldown, f"the cool-down is {_days(cooldown)}"),
        (len(recent) >= budget.count, f"the budget is {budget.count} in {_days(budget.per)}"),
    ]
    return next((reason for holds, reason in checks if holds), None)


def _days(span: timedelta) -> str:
    days = span.total_seconds() / 86400
    return f"{days:g} day{'s' if days != 1 else ''}"
