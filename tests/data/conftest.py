"""What the tests of data share: a project in a folder, a blob store, and the real data sets."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from kaizen.core.projectfile import DataSection, LearnSection, ProjectFile, ProjectSection


class FolderBlobs:
    """The blobs port in six lines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, data: bytes | Path) -> str:
        content = data.read_bytes() if isinstance(data, Path) else data
        key = hashlib.sha256(content).hexdigest()
        (self.folder / key).write_bytes(content)
        return key

    def path(self, key: str) -> Path:
        return self.folder / key


@pytest.fixture
def blobs(tmp_path):
    folder = tmp_path / "blobs"
    folder.mkdir()
    return FolderBlobs(folder)


@pytest.fixture
def declare():
    """Return a function that makes a declaration of a few words."""

    def make(source: str = "rows.csv", target: str = "y", *, task: str = "classification", group=None, **data):
        return ProjectFile(
            project=ProjectSection(name="test", task=task),
            data=DataSection(source=source, target=target, **data),
            learn=LearnSection(group=group),
        )

    return make


@pytest.fixture
def real():
    """Return a function that finds a real data set, or skips."""
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("KAIZEN_DATA", root.parent / "shared" / "data"))

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"the data set {path} is not here; KAIZEN_DATA names the folder of the data sets")
        return path

    return find
