"""`kaizen bundle`: what ships is proven, and what is not proven is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kaizen.core.project import Project
from kaizen.core.records import Bundle
from tests.cli.conftest import Run_, inventory, people

GRAPH = "graph.onnx"


def bundle_of(folder: Path, which: int = 0) -> Bundle:
    return Project.open(folder).records.find(Bundle)[which]


def blob_of(folder: Path, which: int = 0) -> Path:
    graph = next(file.blob for file in bundle_of(folder, which).files if file.path == GRAPH)
    return Project.open(folder).blobs.path(graph)


def test_list_show_and_verify_speak_of_the_same_bundle(kaizen: Run_, learned: Path) -> None:
    identity = bundle_of(learned).id
    assert f"1\t{identity[:12]}\tpeople\tclassification" in kaizen("bundle", "list", "--folder", learned).out
    shown = kaizen("bundle", "show", "1", "--folder", learned).out
    assert identity in shown
    assert "0 mismatches" in shown
    assert "age (number), city (category), seen_at (time)" in shown
    verified = kaizen("bundle", "verify", identity[:8], "--folder", learned, "--json").json()
    assert verified["verified"] is True
    assert GRAPH in verified["files"]


def test_what_is_exported_is_imported_elsewhere_only_if_its_key_is_trusted(
    kaizen: Run_, learned: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "people.csv").write_text(people())
    kaizen("init", other / "people.csv", "--target", "paid", "--time", "seen_at", "--folder", other)
    assert kaizen("bundle", "export", "1", tmp_path / "out", "--folder", learned).code == 0
    refused = kaizen("bundle", "import", tmp_path / "out", "--folder", other)
    assert refused.code == 1
    assert "unknown key" in refused.err
    assert "--trust KEY" in refused.err
    assert not any(inventory(other).values())
    key = bundle_of(learned).public_key
    taken = kaizen("bundle", "import", tmp_path / "out", "--trust", key, "--folder", other)
    assert "Next: kaizen loop promote 1" in taken.out
    assert kaizen("loop", "promote", "1", "--folder", other).code == 0
    assert bundle_of(other).id == bundle_of(learned).id


def test_an_export_that_was_changed_is_not_imported(kaizen: Run_, learned: Path, tmp_path: Path) -> None:
    kaizen("bundle", "export", "1", tmp_path / "out", "--folder", learned)
    path = tmp_path / "out" / GRAPH
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    before = inventory(learned)
    said = kaizen("bundle", "import", tmp_path / "out", "--folder", learned)
    assert said.code == 1
    assert "graph.onnx is corrupted" in said.err
    assert inventory(learned) == before


def test_an_export_does_not_write_over_a_folder(kaizen: Run_, learned: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    said = kaizen("bundle", "export", "1", tmp_path / "out", "--folder", learned)
    assert said.code == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]


def corrupt(folder: Path, which: int = 0) -> None:
    """Change one byte of a bundle's graph in the blob store."""
    path = blob_of(folder, which)
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def cut_short(folder: Path) -> None:
    """Lose the end of the graph."""
    path = blob_of(folder)
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:100])


def remove(folder: Path) -> None:
    """Lose the graph."""
    blob_of(folder).unlink()


def rewrite(folder: Path, **fields: str) -> None:
    """Change the record of the bundle behind the store's back, as a person with the database might."""
    import sqlite3

    with sqlite3.connect(folder / ".kaizen" / "records.db") as store:
        table, column, identity, body = next(_bundles(store))
        document = {**json.loads(body), **fields}
        form = type(body)
        text = json.dumps(document)
        store.execute(
            f"UPDATE {table} SET {column} = ? WHERE id = ?", (text.encode() if form is bytes else text, identity)
        )


def _bundles(store):
    tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        columns = [row[1] for row in store.execute(f"PRAGMA table_info({table})")]
        for column in columns:
            for row in store.execute(f"SELECT {column}, {'id' if 'id' in columns else column} FROM {table}"):
                text = row[0].decode("utf-8", "replace") if isinstance(row[0], bytes) else str(row[0])
                if text.startswith("{") and '"kind":"bundle"' in text:
                    yield table, column, row[1], row[0]


def unsign(folder: Path) -> None:
    """Take the signature away."""
    rewrite(folder, signature="")


def distrust(folder: Path) -> None:
    """Make the key that signed a stranger."""
    rewrite(folder, public_key="00" * 32)


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (corrupt, "graph.onnx is corrupted"),
        (cut_short, "graph.onnx is corrupted: 100 bytes"),
        (remove, "graph.onnx cannot be read"),
        (unsign, "the bundle is unsigned"),
        (distrust, "signed by an unknown key"),
    ],
)
def test_what_is_not_proven_is_neither_verified_nor_served(
    harm: Callable[[Path], None], says: str, kaizen: Run_, learned: Path
) -> None:
    harm(learned)
    for verb in (("bundle", "verify", "1"), ("bundle", "show", "1"), ("serve", "--port", "0")):
        said = kaizen(*verb, "--folder", learned)
        assert said.code == 1
        assert says in said.err
        assert "→" in said.err
    error = kaizen("bundle", "verify", "1", "--folder", learned, "--json").json()["error"]
    assert error["code"] == "signature"
    assert error["where"].startswith("bundle people")


def test_a_bundle_that_is_not_there_is_named(kaizen: Run_, learned: Path) -> None:
    for which in ("7", "zzz"):
        said = kaizen("bundle", "verify", which, "--folder", learned)
        assert said.code == 1
        assert f"there is no bundle '{which}'\n  → kaizen bundle list" in said.err
