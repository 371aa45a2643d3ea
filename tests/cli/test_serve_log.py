"""`[serve.log]` through a real server: nothing in plain on the disk, hidden columns, and the same answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from subprocess import PIPE

import msgspec
import pytest

from kaizen.adapters.log.cipher import read_keys
from kaizen.adapters.log.segments import SegmentLog
from kaizen.core.errors import StoreError
from kaizen.core.project import Project
from kaizen.graph.frame import from_batch
from tests.cli.conftest import Run_, declare, get, post, served, until
from tests.cli.test_serve_files import serving

KEY = "5a" * 32
MARKER = "Ouagadougou"
ROW = {"age": 61, "city": MARKER, "seen_at": "2024-02-01T10:00:00Z"}


def hide(folder: Path, **keys: str) -> None:
    """Declare keys of [serve.log]."""
    declare(folder, **{f"serve.log__{key}": value for key, value in keys.items()})


def in_plain(folder: Path) -> list[str]:
    """Return the files of a project that have the marker in them."""
    return [p.name for p in folder.rglob("*") if p.is_file() and MARKER.encode() in p.read_bytes()]


def ask(url: str, **more: object) -> float:
    status, answer = post(f"{url}/v1/predict", {"rows": [ROW], "unit": MARKER, "id": MARKER, **more})
    assert status == 200, answer
    return float(answer["predictions"][0]["probability"])


def killed_while_answering(folder: Path, name: str) -> None:
    """Serve, answer 20 times, and be killed with whatever was being written."""
    command = [sys.executable, "-m", "kaizen.cli", "serve", "--folder", str(folder), "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        try:
            url = msgspec.json.decode(process.stdout.readline())["url"]
            until(lambda: get(f"{url}/healthz")["status"] == "ok")
            for number in range(20):
                ask(url, ids=[f"{MARKER}-{name}-{number}"])
        finally:
            process.send_signal(signal.SIGKILL)


def test_nothing_that_was_asked_is_on_the_disk_in_plain(
    kaizen: Run_, learned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor after the server was killed, the tail repaired, and all of it compacted; and all of it is there."""
    monkeypatch.setenv("KAIZEN_TEST_LOG_KEY", KEY)
    hide(learned, encrypt='"env:KAIZEN_TEST_LOG_KEY"')
    for name in ("a", "b"):
        killed_while_answering(learned, name)
        assert in_plain(learned) == []
        newest = max((learned / ".kaizen" / "log").glob("*.log"))
        with newest.open("ab") as file:
            file.write(os.urandom(40))  # what a crash in the middle of a write leaves
    with served(learned) as url:
        ask(url, ids=[f"{MARKER}-c"])
        assert post(f"{url}/v1/feedback", {"id": f"{MARKER}-c", "value": True})[0] == 200
    said = kaizen("loop", "run", "--once", "--folder", learned)
    assert said.code == 0, said.err
    packed = list((learned / ".kaizen" / "log").glob("*.packed"))
    assert len(packed) >= 2
    assert in_plain(learned) == []
    ids = {identity for batch in Project.open(learned).log.predictions() for identity in batch.ids}
    assert ids == {f"{MARKER}-c", *(f"{MARKER}-{name}-{number}" for name in "ab" for number in range(20))}
    said = kaizen("loop", "explain", f"{MARKER}-c", "--folder", learned)
    assert said.code == 0, said.err
    assert "the truth: 1" in said.out


def test_without_encryption_the_same_search_finds_it(learned: Path) -> None:
    with served(learned) as url:
        ask(url)
    assert in_plain(learned) == ["00000001.log"]


def test_a_server_without_its_key_does_not_start_and_a_reader_says_why(
    kaizen: Run_, learned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (learned / "log.key").write_text(KEY)
    hide(learned, encrypt='"file:log.key"')
    with served(learned) as url:
        ask(url, ids=["one"])
    hide(learned, encrypt='"env:KAIZEN_TEST_NO_KEY"')
    for verb in (("serve", "--port", "0"), ("loop", "explain", "one")):
        said = kaizen(*verb, "--folder", learned)
        assert said.code == 1
        assert "the environment variable KAIZEN_TEST_NO_KEY" in said.err
        assert "openssl rand -hex 32" in said.err
    monkeypatch.setenv("KAIZEN_TEST_NO_KEY", "77" * 32)
    said = kaizen("loop", "explain", "one", "--folder", learned)
    assert said.code == 1
    assert "is encrypted with the key" in said.err
    with pytest.raises(StoreError, match="is encrypted with the key"):
        list(Project.open(learned).log.predictions())


def test_hidden_columns_are_not_logged_and_answered_as_ever(learned: Path) -> None:
    with served(learned) as url:
        before = ask(url), ask(url, rows=[{**ROW, "city": "Oslo"}])
    for path in (learned / ".kaizen" / "log").iterdir():
        path.unlink()
    declare(learned, data__unit='"city"')
    hide(learned, hash='["city"]', drop='["age"]')
    with served(learned) as url:
        after = ask(url), ask(url, rows=[{**ROW, "city": "Oslo"}])
        ask(url, unit=None, id="x")
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
            assert b"\nkaizen_log_rows_total 3.0\n" in answer.read()
    assert after == before
    first, second, third = Project.open(learned).log.predictions()
    assert [c.name for c in first.columns] == ["city.hash", "seen_at"]
    hashes = [from_batch(batch)["city.hash"][0] for batch in (first, second, third)]
    assert hashes[0] == hashes[2] != hashes[1]
    assert [len(each) for each in hashes] == [32, 32, 32]
    assert first.units == third.units == [hashes[0]]  # what the unit is joined by, given or from its column
    assert first.requests == [MARKER]  # an id of the caller's own is not a column: the page says so
    assert b"Oslo" not in (learned / ".kaizen" / "log" / "00000001.log").read_bytes()


def test_what_cannot_be_hidden_is_refused_before_anything_is_served(kaizen: Run_, learned: Path) -> None:
    for keys, says in (
        ({"drop": '["citi"]'}, ("there is no column 'citi'", "did you mean 'city'?", "serve.log.drop")),
        ({"drop": "[]", "hash": '["age"]'}, ("'age' is a number column", "put it in drop", "serve.log.hash")),
    ):
        hide(learned, **keys)
        said = kaizen("serve", "--port", "0", "--folder", learned)
        assert said.code == 1
        for each in says:
            assert each in said.err


def test_what_the_loop_loses_is_said_when_it_starts(learned: Path) -> None:
    hide(learned, drop='["paid", "city"]')
    with served(learned):
        pass
    said = (learned.parent / "serve.err").read_text()
    assert "The log hides what a model reads: city." in said


def test_files_that_are_served_in_a_project_are_logged_as_it_declares(
    kaizen: Run_, learned: Path, tmp_path: Path
) -> None:
    assert kaizen("bundle", "export", "1", tmp_path / "out", "--folder", learned).code == 0
    (learned / "log.key").write_text(KEY)
    hide(learned, encrypt='"file:log.key"', drop='["city"]')
    with serving(tmp_path / "out", "--log", tmp_path / "kept", "-C", learned) as said:
        ask(said["url"], ids=["one"])
    assert in_plain(tmp_path / "kept") == []
    (batch,) = SegmentLog(tmp_path / "kept", keys=read_keys("file:log.key", learned)).predictions()
    assert (batch.ids, [c.name for c in batch.columns]) == (["one"], ["age", "seen_at"])
    hide(learned, drop='["citi"]')
    refused = kaizen("serve", tmp_path / "out", "--log", tmp_path / "kept", "-C", learned, "--port", "0")
    assert refused.code == 1
    assert "there is no column 'citi'" in refused.err
