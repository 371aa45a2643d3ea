"""All columns of a window at once: how they go together, which no column shows by itself."""

from __future__ import annotations

from kaizen.core.project import Project
from kaizen.core.records import Finding
from kaizen.loop import pipeline
from tests.loop.test_cycle import go_through


def together(project: Project) -> Finding:
    (found,) = project.records.find(Finding, where={"question": "joint drift"})
    return found


def test_a_window_like_the_reference_is_not_told_apart_from_it(project: Project) -> None:
    pipeline.learn(project)
    go_through(project, range(8))
    found = together(project)
    assert found.verdict == "ok"
    assert found.estimate is not None
    assert found.estimate < 0.6
    assert found.blames == ()


def test_columns_that_go_together_as_they_did_not_are_told_with_their_names(project: Project) -> None:
    pipeline.learn(project)
    go_through(project, range(8), tied=True)
    found = together(project)
    assert found.estimate is not None
    assert found.matters is not None
    assert found.estimate >= found.matters
    assert found.evidence is not None
    assert found.limit is not None
    assert found.evidence >= found.limit
    assert set(found.blames[:2]) == {"x", "kind"}
    drifted = {f.subject for f in project.records.find(Finding) if f.verdict == "page" and f.question == "drift"}
    assert not drifted & {"x", "kind"}
    assert found.verdict == ("ok" if drifted else "watch")
