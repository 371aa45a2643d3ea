"""How an endpoint stands: what fired, since when, what was done about it, and the page that shows it."""

from __future__ import annotations

import pytest

from kaizen.cli.monitor.status import described
from kaizen.core.project import Project
from kaizen.core.records import Decision
from kaizen.loop import pipeline
from kaizen.loop.standing import gathered, standing
from kaizen.monitor.report import board
from tests.loop.conftest import END, made_up_project
from tests.loop.test_cycle import go_through

pytestmark = pytest.mark.xdist_group("standing")


def test_before_a_promotion_nothing_stands_and_after_it_nothing_was_said(project: Project) -> None:
    assert standing(project) == ()
    pipeline.learn(project)
    (found,) = standing(project)
    assert (found.revision, found.watched_to, found.fired) == (1, None, ())
    assert {each.says for each in found.watched} == {None}
    assert "nothing said yet" in board.html(*gathered(project)[0])


@pytest.fixture(scope="module")
def drifted(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project whose column x is another one from its first day on."""
    project = made_up_project(tmp_path_factory.mktemp("drifted"))
    pipeline.learn(project)
    go_through(project, range(8), shift=2.0)
    return project


def test_what_fired_is_shown_with_its_size_its_beginning_and_what_was_done(drifted: Project) -> None:
    (found,) = standing(drifted)
    fired = {each.subject: each for each in found.fired if each.question == "drift"}
    x = fired["x"]
    assert x.began <= END < x.since
    assert x.blames == ("x",)
    assert x.effect is not None
    assert x.matters is not None
    assert x.effect >= x.matters
    assert x.evidence is not None
    assert x.limit is not None
    assert x.evidence >= x.limit
    (asked,) = [each for each in drifted.records.find(Decision) if each.action == "retrain"]
    assert asked.id in {each.decision for each in x.done}
    assert "log was told" in {each.what for each in x.done}
    lines = list(described(x))
    assert lines[0].startswith(f"[{x.severity}] drift of x: ")
    assert "  to blame: x" in lines
    drift = next(each for each in found.watched if each.question == "drift")
    assert drift.how is not None
    assert "a day a block" in drift.how


def test_the_page_has_what_fired_first_with_its_distribution_and_needs_nothing_else(drifted: Project) -> None:
    (found,) = gathered(drifted)
    text = board.html(*found)
    assert text.index("drift: x") < text.index("What is watched")
    newest = text[text.index("The newest window") :]
    assert newest.index("</span>x</h3>") < newest.index("</span>kind</h3>")
    assert "<script" not in text
    assert "src=" not in text
