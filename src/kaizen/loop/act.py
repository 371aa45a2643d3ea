"""What a proposal becomes: a Decision in the ledger and, where the arms change, the endpoint's next revision.

Only this file makes an Endpoint, and only together with the Decision that it follows from. Ids are derived from
the step, so an action that is repeated after a crash is the same action.
"""

from __future__ import annotations

from kaizen.bundle import keys, verify
from kaizen.core.errors import DecisionError
from kaizen.core.ids import derived
from kaizen.core.project import Project
from kaizen.core.records import Arm, Bundle, Decision, Endpoint, Record
from kaizen.loop import policy
from kaizen.loop.policy import Proposal


def act(
    project: Project,
    proposal: Proposal,
    endpoint: Endpoint | None,
    *,
    by: str,
    key: str,
    follows: tuple[str, ...] = (),
) -> list[Record]:
    """Return the records of an action, to be stored together.

    Parameters
    ----------
    endpoint
        The revision that the proposal was made for; None before the first.
    by
        Who decides: ``loop``, or a person's name.
    key
        What makes the action unique: the step that it belongs to.
    follows
        Earlier decisions that this one carries out or answers.
    """
    now = project.clock.now()
    revision = (endpoint.revision if endpoint else 0) + 1
    before = (endpoint.id,) if endpoint else ()
    about = (proposal.bundle,) if proposal.bundle else ()
    decision = Decision(
        id=derived(now, project.name, key, proposal.action),
        project=project.name,
        at=now,
        by=by,
        parents=(*follows, *proposal.findings, *about, *before),
        action=proposal.action,
        endpoint=project.name,
        reason=proposal.reason,
        findings=proposal.findings,
        bundle=proposal.bundle,
        revision=revision if proposal.arms is not None else None,
    )
    if proposal.arms is None:
        return [decision]
    return [decision, _revised(project, proposal.arms, decision, revision, before)]


def _revised(
    project: Project, arms: tuple[Arm, ...], decision: Decision, revision: int, before: tuple[str, ...]
) -> Endpoint:
    return Endpoint(
        id=f"{project.name}@{revision}",
        project=project.name,
        at=decision.at,
        by=decision.by,
        parents=(decision.id, *before, *(arm.bundle for arm in arms)),
        name=project.name,
        revision=revision,
        arms=arms,
        decision=decision.id,
    )


def first(bundle: str) -> Proposal:
    """Return the proposal that makes an endpoint's first bundle its champion."""
    return Proposal("promote", "the first bundle of this endpoint", (), bundle, (Arm(bundle, "champion", 1.0),))


def roll_back(project: Project, *, by: str, reason: str = "") -> Decision:
    """Put the displaced champion back, now; the ledger says who did it and why.

    Raises
    ------
    DecisionError
        There is no endpoint, or no earlier champion to go back to.
    SignatureError
        That champion is not what was signed any more; nothing is decided then.
    """
    endpoint = _endpoint(project)
    bundle = _displaced(project, endpoint)
    proposal = Proposal("roll back", reason or "asked for by hand", (), bundle, policy.rolled_back(endpoint, bundle))
    return _by_hand(project, proposal, endpoint, by)


def approve(project: Project, *, by: str, reason: str = "") -> Decision:
    """Promote the challenger, now; `DecisionError` if there is none."""
    endpoint = _endpoint(project)
    challenger = endpoint.arm("challenger")
    if challenger is None:
        raise DecisionError("there is no challenger to promote", where=endpoint.id, fix="kaizen loop trigger makes one")
    return promote(project, challenger.bundle, by=by, reason=reason or "approved by hand")


def promote(project: Project, bundle: str, *, by: str, reason: str = "") -> Decision:
    """Make a bundle the champion, now; the displaced one stays in shadow. `DecisionError` if it is champion already."""
    endpoint = project.endpoint()
    if endpoint is None:
        return _by_hand(project, first(bundle), None, by)
    if endpoint.champion.bundle == bundle:
        raise DecisionError("this bundle is the champion already", where=endpoint.id)
    arms = policy.promoted(endpoint, bundle)
    return _by_hand(project, Proposal("promote", reason or "promoted by hand", (), bundle, arms), endpoint, by)


def _by_hand(project: Project, proposal: Proposal, endpoint: Endpoint | None, by: str) -> Decision:
    assert proposal.bundle is not None, "by hand a bundle is named"
    # A revision that no server could load would leave the old one serving, and the ledger saying otherwise.
    verify.verify(project.records.get(Bundle, proposal.bundle), project.blobs, keys.trusted(project.keys))
    records = act(project, proposal, endpoint, by=by, key=f"by hand {endpoint.id if endpoint else 0}")
    project.records.put(records)
    decision = records[0]
    assert isinstance(decision, Decision)
    return decision


def _endpoint(project: Project) -> Endpoint:
    endpoint = project.endpoint()
    if endpoint is None:
        raise DecisionError("this project has no endpoint yet", where=str(project.folder), fix="kaizen learn")
    return endpoint


def _displaced(project: Project, endpoint: Endpoint) -> str:
    """Return the champion before this one: the one in shadow, else the last other champion in the ledger."""
    shadow = endpoint.arm("shadow")
    if shadow is not None:
        return shadow.bundle
    earlier = project.records.find(Endpoint, where={"name": endpoint.name}, newest_first=True)
    for revision in earlier:
        if revision.champion.bundle != endpoint.champion.bundle:
            return revision.champion.bundle
    raise DecisionError("no other bundle was ever champion here", where=endpoint.id, fix="kaizen loop decisions")
