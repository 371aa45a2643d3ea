"""A project: opened by folder, with stores that are made when first used."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kaizen.core.clock import EventClock
from kaizen.core.errors import ProjectError
from kaizen.core.project import Project


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "kaizen.toml").write_text('[project]\nname = "p"\n[data]\nsource = "a.csv"\ntarget = "y"\n')
    return tmp_path


def test_opening_a_project_makes_nothing(folder):
    project = Project.open(folder)
    assert (project.name, project.folder, project.state) == ("p", folder.resolve(), folder.resolve() / ".kaizen")
    assert [each.name for each in folder.iterdir()] == ["kaizen.toml"]


def test_a_folder_without_one_is_an_error(tmp_path):
    with pytest.raises(ProjectError, match="no project here"):
        Project.open(tmp_path)


def test_a_project_tells_the_time_of_its_clock(folder):
    at = datetime(2013, 3, 1, tzinfo=UTC)
    assert Project.open(folder, clock=EventClock(at)).clock.now() == at
