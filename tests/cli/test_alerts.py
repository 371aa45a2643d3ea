"""`kaizen monitor alerts`, `silence`, `silences`: what stands, who was told, and what is not to be told."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from kaizen.core.project import Project
from kaizen.core.records import Alert, Delivery, Silence
from kaizen.loop import tell
from kaizen.testing.records import alert, finding
from tests.adapters.notifier.receiver import Receiver
from tests.cli.conftest import Run_

KEY = "whsec_" + base64.b64encode(b"k" * 32).decode()
TOML = """
[project]
name = "p"
[data]
source = "rows.csv"
target = "y"
[alerts.channels.hook]
url = "env:HOOK_URL"
secret = "env:HOOK_SECRET"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with a webhook and an open alert."""
    (tmp_path / "kaizen.toml").write_text(TOML)
    monkeypatch.setenv("HOOK_SECRET", KEY)
    monkeypatch.setenv("HOOK_URL", "http://127.0.0.1:9/t0pSecretToken")
    now = datetime.now(UTC)
    told = msgspec.structs.replace(alert("01A", findings=("f",)), at=now - timedelta(minutes=1))
    Project.open(tmp_path).records.put([finding("f"), told])
    return tmp_path


def test_an_empty_project_says_that_nothing_is_open(kaizen: Run_, tmp_path: Path) -> None:
    (tmp_path / "kaizen.toml").write_text(TOML)
    assert kaizen("monitor", "alerts", "--folder", tmp_path).out == "No alert is open.\n"
    assert kaizen("monitor", "alerts", "--folder", tmp_path, "--json").json() == {"open": [], "resolved": []}
    assert kaizen("monitor", "silences", "--folder", tmp_path).out == "Nothing is silenced.\n"
    assert kaizen("monitor", "silences", "--folder", tmp_path, "--json").json() == []


def test_who_was_told_and_what_failed_is_shown_and_no_secret(kaizen: Run_, folder: Path) -> None:
    waits = kaizen("monitor", "alerts", "--folder", folder).out.splitlines()
    assert waits[0] == "[critical] p: drift in distance"
    assert waits[1].startswith("  alert 01A, p/drift: open since ")
    assert waits[2:] == ["  told: nobody", "  to be told by kaizen loop run: hook"]
    tell.deliver(Project.open(folder))
    failed = kaizen("monitor", "alerts", "--folder", folder)
    assert "\n  hook: no answer: [Errno 111] Connection refused (1 try, next " in failed.out
    as_json = kaizen("monitor", "alerts", "--folder", folder, "--json")
    (shown,) = as_json.json()["open"]
    assert (shown["alert"]["id"], shown["told"], shown["waiting"]) == ("01A", {}, ["hook"])
    assert (shown["trouble"][0]["channel"], shown["trouble"][0]["attempts"]) == ("hook", 1)
    assert msgspec.convert(shown["alert"], Alert).key == "p/drift"
    assert "t0pSecretToken" not in failed.out + as_json.out


def test_what_was_given_up_and_what_leads_nowhere_is_said(kaizen: Run_, folder: Path) -> None:
    project = Project.open(folder)
    project.records.put(
        [
            Delivery(
                id="d", project="p", at=datetime.now(UTC), by="t", alert="01A", channel="hook", reminder=0,
                attempt=23, delivered=False, says="it answered 500",
            )
        ]
    )  # fmt: skip
    assert "  hook: it answered 500 (23 tries, given up)" in kaizen("monitor", "alerts", "--folder", folder).out
    quality = msgspec.structs.replace(alert("01Q"), key="p/quality", severity="info")
    project.records.put([quality])
    assert "  its route leads to no channel" in kaizen("monitor", "alerts", "--folder", folder).out


def test_what_is_over_is_shown_below_and_only_the_newest(kaizen: Run_, folder: Path) -> None:
    project = Project.open(folder)
    for number in range(3):
        over = msgspec.structs.replace(
            alert(f"02{number}"), key=f"p/{number}", state="resolved", change="resolved", title=f"[resolved] {number}",
            at=datetime(2026, 1, 1 + number, tzinfo=UTC),
        )  # fmt: skip
        project.records.put([over])
    lines = kaizen("monitor", "alerts", "--limit", 2, "--folder", folder).out.splitlines()
    assert [line for line in lines if line.startswith("[")] == [
        "[critical] p: drift in distance", "[resolved] 2", "[resolved] 1",
    ]  # fmt: skip


def test_a_silence_is_made_listed_and_ended(kaizen: Run_, folder: Path) -> None:
    made = kaizen(
        "monitor", "silence", "question=drift", "subject=wind*", "subject=dist*", "--for", "2h",
        "--reason", "moving house", "--folder", folder, "--json",
    ).json()  # fmt: skip
    assert made["match"] == {"question": ["drift"], "subject": ["wind*", "dist*"]}
    assert "  silenced until " in kaizen("monitor", "alerts", "--folder", folder).out
    listed = kaizen("monitor", "silences", "--folder", folder).out
    assert f"{made['id']}\tquestion=drift subject=wind* subject=dist*" in listed
    assert "moving house" in listed
    ended = kaizen("monitor", "silences", "--end", made["id"], "--folder", folder)
    assert ended.out == "question=drift subject=wind* subject=dist* is told again.\n"
    assert kaizen("monitor", "silences", "--folder", folder, "--json").json() == []
    assert len(Project.open(folder).records.find(Silence)) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("question:drift", "--for", "2h"), "'question:drift' is no match; write LABEL=PATTERN"),
        (("qestion=drift", "--for", "2h"), "did you mean 'question'?"),
        (("question=drift", "--for", "2 hours"), "is no duration"),
        (("question=drift", "--for", "0s"), "lasts for some time"),
        (("question=drift", "--for", "9999999999w"), "too long a duration"),
    ],
)
def test_a_silence_that_makes_no_sense_is_refused(
    arguments: tuple[str, ...], says: str, kaizen: Run_, folder: Path
) -> None:
    said = kaizen("monitor", "silence", *arguments, "--reason", "r", "--folder", folder)
    assert said.code == 1
    assert says in said.err
    assert Project.open(folder).records.find(Silence) == []


def test_an_unknown_silence_cannot_be_ended(kaizen: Run_, folder: Path) -> None:
    said = kaizen("monitor", "silences", "--end", "01X", "--folder", folder, "--json")
    assert (said.code, said.json()["error"]["code"]) == (1, "not_found")


def test_a_channel_is_tried_out(kaizen: Run_, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Receiver().running() as receiver:
        monkeypatch.setenv("HOOK_URL", receiver.url)
        said = kaizen("monitor", "alerts", "--test", "hook", "--folder", folder)
        assert (said.code, said.out, len(receiver.requests)) == (0, "hook took a test message.\n", 1)
        receiver.answer = 403
        refused = kaizen("monitor", "alerts", "--test", "hook", "--folder", folder, "--json")
        assert (refused.code, refused.json()["error"]["code"]) == (1, "delivery")
    unknown = kaizen("monitor", "alerts", "--test", "hok", "--folder", folder)
    assert "there is no channel 'hok'" in unknown.err
    assert "did you mean 'hook'?" in unknown.err


def test_doctor_looks_at_the_channels_and_shows_no_secret(
    kaizen: Run_, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = {check["name"]: check for check in msgspec.json.decode(kaizen("doctor", "--folder", folder, "--json").out)}
    assert checks["channel hook"]["state"] == "ok"
    monkeypatch.setenv("HOOK_SECRET", "t0pSecretToken")
    said = kaizen("doctor", "--folder", folder)
    assert "a webhook's secret is base64 of 24 to 64 bytes" in said.out
    assert "t0pSecretToken" not in said.out + said.err


def test_loop_run_tells_what_is_due_on_a_day_without_a_turn(
    kaizen: Run_, learned: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver().running() as receiver:
        monkeypatch.setenv("HOOK_SECRET", KEY)
        monkeypatch.setenv("HOOK_URL", receiver.url)
        with (learned / "kaizen.toml").open("a") as file:
            file.write(TOML[TOML.index("[alerts") :])
        Project.open(learned).records.put([finding("f"), alert("01A", findings=("f",))])
        for _ in range(2):
            said = kaizen("loop", "run", "--once", "--folder", learned)
            assert "Nothing is due" in said.out
        assert [request.headers["webhook-id"] for request in receiver.requests] == ["01A"]
