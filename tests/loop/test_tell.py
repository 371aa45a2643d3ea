"""Alerts on their way out, to real servers that take, refuse, hang and are killed: once, later, and in the end."""

from __future__ import annotations

import base64
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook
from structlog.testing import capture_logs

from kaizen.core.clock import EventClock
from kaizen.core.errors import DeliveryError, KaizenError, NotFoundError, UsageError
from kaizen.core.project import Project
from kaizen.core.records import Alert, Delivery, Silence
from kaizen.loop import cycle, lineage, pipeline, silences, tell
from kaizen.loop.tell import Limits
from kaizen.testing.records import alert, finding
from tests.adapters.notifier.receiver import Mailbox, Receiver, free_port
from tests.loop.conftest import END, TOML
from tests.loop.test_cycle import answer_a_day, go_through

KEY = "whsec_" + base64.b64encode(b"k" * 32).decode()
HOOK = '\n[alerts.channels.hook]\nurl = "env:HOOK_URL"\nsecret = "env:HOOK_SECRET"\n'
SLOW = Limits(start_s=1.0, wait_s=2.0)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver().running() as running:
        yield running


@pytest.fixture
def hooked(tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Project:
    """Return a project whose only channel is a webhook to the receiver."""
    monkeypatch.setenv("HOOK_URL", f"{receiver.url}/hook?token=t0pSecretToken")
    monkeypatch.setenv("HOOK_SECRET", KEY)
    return project_with(tmp_path, HOOK)


def project_with(folder: Path, more: str) -> Project:
    (folder / "kaizen.toml").write_text(TOML + more)
    return Project.open(folder, clock=EventClock(END))


def put(project: Project, identity: str, **more: object) -> Alert:
    """Store an alert with its finding."""
    told = msgspec.structs.replace(alert(identity, findings=(f"f-{identity}",)), **{"key": f"p/{identity}", **more})
    project.records.put([finding(f"f-{identity}"), told])
    return told


def advance(project: Project, **ahead: float) -> None:
    clock = project.clock
    assert isinstance(clock, EventClock)
    clock.advance(clock.now() + timedelta(**ahead))


def ids(receiver: Receiver) -> list[str]:
    return [request.headers["webhook-id"] for request in receiver.requests]


def test_what_is_delivered_is_delivered_once_and_verifies(hooked: Project, receiver: Receiver) -> None:
    told = put(hooked, "01A")
    (made,) = tell.deliver(hooked)
    assert (made.delivered, made.attempt, made.parents, made.retry_at) == (True, 1, ("01A",), None)
    for _ in range(3):
        advance(hooked, days=1)
        assert tell.deliver(hooked) == []
    (request,) = receiver.requests
    body = Webhook(KEY).verify(request.body, request.headers)
    assert msgspec.convert(body["data"]["alert"], Alert) == told
    assert [each["id"] for each in body["data"]["findings"]] == ["f-01A"]


def test_a_failed_delivery_is_shown_and_repeated_under_the_same_id(hooked: Project, receiver: Receiver) -> None:
    put(hooked, "01A")
    receiver.answer, receiver.says = 503, b"come back later"
    notes: list[str] = []
    with capture_logs() as events:
        (failed,) = tell.deliver(hooked, note=notes.append)
    assert notes == [
        "hook was not told of [critical] p: drift in distance: it answered 503 Service Unavailable: come back later"
    ]
    assert [(event["event"], event["channel"], event["attempt"]) for event in events] == [
        ("delivery failed", "hook", 1)
    ]
    (shown,) = tell.standing(hooked)
    assert (shown.told, shown.waiting) == ({}, ("hook",))
    assert (shown.trouble[0].says, shown.trouble[0].retry_at) == (failed.says, failed.retry_at)
    assert tell.deliver(hooked) == []
    receiver.answer = 204
    advance(hooked, minutes=1)
    (made,) = tell.deliver(hooked)
    assert (made.delivered, made.attempt) == (True, 2)
    assert ids(receiver) == ["01A", "01A"]
    (shown,) = tell.standing(hooked)
    assert (list(shown.told), shown.trouble, shown.waiting) == (["hook"], (), ())


@pytest.mark.parametrize("answer", ["hang", "drip", "close"])
def test_a_channel_that_hangs_holds_up_neither_the_others_nor_the_loop(
    answer: str, tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_URL", receiver.url)
    monkeypatch.setenv("HOOK_SECRET", KEY)
    receiver.answer = answer
    with Mailbox().running() as mailbox:
        mail = f"mailto://127.0.0.1:{mailbox.port}?from=kaizen@example.org&to=ada@example.org&mode=insecure"
        project = project_with(tmp_path, HOOK + f'[alerts.channels.mail]\nurl = "{mail}"\n')
        put(project, "01A")
        began = time.monotonic()
        made = {each.channel: each for each in tell.deliver(project, limits=SLOW)}
        assert time.monotonic() - began < 6
        assert made["mail"].delivered
        assert [subject for subject, _ in mailbox.mails] == ["[critical] p: drift in distance"]
        assert not made["hook"].delivered
        assert made["hook"].says.startswith("no answer")
        receiver.answer = 204
        advance(project, minutes=1)
        assert [(each.channel, each.delivered) for each in tell.deliver(project)] == [("hook", True)]


def test_what_arrives_when_nobody_waits_for_it_any_more_is_not_sent_again(hooked: Project, receiver: Receiver) -> None:
    put(hooked, "01A")
    receiver.answer = "late"
    (failed,) = tell.deliver(hooked, limits=Limits(start_s=0.1, wait_s=0.2))
    assert failed.says == "no answer within 0.2 s"
    receiver.let_go.set()
    until = time.monotonic() + 10
    while len(hooked.records.find(Delivery)) < 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert [each.delivered for each in hooked.records.find(Delivery)] == [False, True]
    advance(hooked, hours=1)
    assert tell.deliver(hooked) == []
    assert ids(receiver) == ["01A"]


def test_where_nobody_answers_the_rest_of_the_channel_waits_and_where_one_is_refused_it_does_not(
    hooked: Project, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for identity in ("01A", "01B", "01C"):
        put(hooked, identity)
    receiver.on_request = lambda request: setattr(
        receiver, "answer", 400 if request.headers["webhook-id"] == "01B" else 204
    )
    assert [each.delivered for each in tell.deliver(hooked)] == [True, False, True]
    put(hooked, "01D")
    put(hooked, "01E")
    monkeypatch.setenv("HOOK_URL", f"http://127.0.0.1:{free_port()}")
    advance(hooked, seconds=1)
    assert [(each.alert, each.delivered) for each in tell.deliver(hooked)] == [("01D", False)]
    assert [(each.alert, each.delivered) for each in tell.deliver(hooked)] == [("01E", False)]


def test_a_secret_that_is_not_there_is_a_failure_that_says_so_and_mends_itself(
    hooked: Project, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(hooked, "01A")
    monkeypatch.delenv("HOOK_SECRET")
    (failed,) = tell.deliver(hooked)
    assert failed.says.startswith("the environment variable HOOK_SECRET is not set, or empty")
    monkeypatch.setenv("HOOK_SECRET", KEY)
    advance(hooked, minutes=1)
    assert tell.deliver(hooked)[0].delivered


def test_an_adapter_that_breaks_is_a_failure_without_its_words(
    hooked: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise ZeroDivisionError("t0pSecretToken")

    monkeypatch.setattr("kaizen.adapters.notifier.webhook.WebhookNotifier.notify", breaks)
    put(hooked, "01A")
    (failed,) = tell.deliver(hooked)
    assert failed.says == "the notifier failed with ZeroDivisionError"


def test_no_secret_is_in_any_record_log_or_note_whatever_fails(
    hooked: Project, receiver: Receiver, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver.says = f"no such hook: /hook?token=t0pSecretToken {KEY}".encode()
    notes: list[str] = []
    for number, answer in enumerate((404, "close", 302, 204)):
        receiver.answer = answer
        put(hooked, f"01{number}")
        tell.deliver(hooked, note=notes.append)
        advance(hooked, hours=7)
    monkeypatch.setenv("HOOK_URL", f"http://127.0.0.1:{free_port()}/t0pSecretToken")
    put(hooked, "019")
    tell.deliver(hooked, note=notes.append)
    written = (hooked.state / "records.db").read_bytes() + (hooked.state / "records.db-wal").read_bytes()
    shown = msgspec.json.encode(tell.standing(hooked)) + json.dumps(notes).encode()
    said = "".join(capfd.readouterr()).encode()
    assert len(notes) >= 4
    assert len(hooked.records.find(Delivery)) >= 5
    for secret in (b"t0pSecretToken", KEY.encode(), KEY[6:].encode()):
        assert secret not in written + shown + said


def test_a_silence_holds_it_and_lets_it_out_at_its_end_or_when_it_is_ended(hooked: Project, receiver: Receiver) -> None:
    made = silences.silence(hooked, {"question": ("drift",)}, lasts=timedelta(hours=2), reason="moving house", by="ada")
    put(hooked, "01A")
    assert tell.deliver(hooked) == []
    assert tell.standing(hooked)[0].silenced_until == made.until
    advance(hooked, hours=2)
    assert [each.alert for each in tell.deliver(hooked)] == ["01A"]
    again = silences.silence(hooked, {"subject": ("dist*",)}, lasts=timedelta(days=2), reason="r", by="ada")
    put(hooked, "01B")
    assert tell.deliver(hooked) == []
    ended = silences.end(hooked, again.id[:20], by="grace")
    assert (ended.parents, ended.by) == ((again.id,), "grace")
    assert [each.alert for each in tell.deliver(hooked)] == ["01B"]
    assert silences.in_force(hooked) == ()
    assert ids(receiver) == ["01A", "01B"]
    assert len(hooked.records.find(Silence)) == 3


def test_a_silence_of_what_cannot_be_is_refused(hooked: Project) -> None:
    hour = timedelta(hours=1)
    for match, lasts, says in (
        ({"qestion": ("drift",)}, hour, "did you mean 'question'"),
        ({"severity": ("bad",)}, hour, "no severity fits 'bad'"),
        ({}, hour, "nothing says which alerts"),
        ({"question": ("drift",)}, timedelta(0), "lasts for some time"),
        ({"question": ("drift",)}, timedelta(days=366), "at most 365 days"),
    ):
        with pytest.raises(UsageError, match=says):
            silences.silence(hooked, match, lasts=lasts, reason="r", by="ada")
    with pytest.raises(NotFoundError, match="'01' fits 0 silences"):
        silences.end(hooked, "01", by="ada")
    assert hooked.records.find(Silence) == []


def test_a_trial_arrives_and_leaves_no_record(hooked: Project, receiver: Receiver) -> None:
    tell.trial(hooked, "hook")
    body = Webhook(KEY).verify(receiver.requests[0].body, receiver.requests[0].headers)
    assert (body["type"], body["data"]["title"]) == ("alert.test", "[test] made-up: this channel works")
    receiver.answer = 401
    with pytest.raises(DeliveryError, match="401"):
        tell.trial(hooked, "hook")
    assert hooked.records.find(Alert) == hooked.records.find(Delivery) == []


def test_an_alert_is_explained_by_its_findings_and_a_delivery_by_its_alert(hooked: Project) -> None:
    put(hooked, "01A")
    (made,) = tell.deliver(hooked)
    explained = list(lineage.lines(lineage.explain(hooked, made.id)))
    assert "to hook, try 1: delivered" in explained[0]
    assert any(line.strip().startswith("alert     01A") for line in explained)
    assert any(line.strip().startswith("finding   f-01A") for line in explained)


WORKER = """
import sys
from datetime import timedelta
from kaizen.core.clock import EventClock
from kaizen.core.project import Project
from kaizen.loop import tell
from tests.loop.conftest import END
clock = EventClock(END)
project = Project.open(sys.argv[1], clock=clock)
for _ in range(int(sys.argv[2])):
    tell.deliver(project)
    clock.advance(clock.now() + timedelta(hours=7))
"""


def start(project: Project, looks: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", WORKER, str(project.folder), str(looks)], cwd=Path.cwd())


def test_kill_9_between_sending_and_storing_repeats_that_one_message_under_its_id(
    hooked: Project, receiver: Receiver
) -> None:
    for identity in ("01A", "01B", "01C"):
        put(hooked, identity)
    running: list[subprocess.Popen[bytes]] = []

    def kill(_: object) -> None:
        if len(receiver.requests) == 2:
            os.kill(running[-1].pid, signal.SIGKILL)
            running[-1].wait()

    receiver.on_request = kill
    running.append(start(hooked, 1))
    assert running[-1].wait(timeout=30) == -signal.SIGKILL
    assert [each.alert for each in hooked.records.find(Delivery)] == ["01A"]
    running.append(start(hooked, 2))
    assert running[-1].wait(timeout=30) == 0
    assert ids(receiver) == ["01A", "01B", "01B", "01C"]
    assert [each.alert for each in hooked.records.find(Delivery)] == ["01A", "01B", "01C"]


@pytest.mark.slow
def test_kill_9_at_any_moment_loses_no_message_and_repeats_at_most_one_a_kill(
    hooked: Project, receiver: Receiver
) -> None:
    wanted = [f"01{number:03}" for number in range(400)]
    for identity in wanted:
        put(hooked, identity)
    chance, kills = random.Random(7), 0
    while len(hooked.records.find(Delivery)) < len(wanted):
        process = start(hooked, 1)
        before = len(receiver.requests)
        while process.poll() is None and len(receiver.requests) == before:
            time.sleep(0.001)
        time.sleep(chance.random() * 0.3)
        kills += process.poll() is None
        process.kill()
        process.wait()
    assert kills >= 3
    assert sorted(set(ids(receiver))) == wanted
    assert len(receiver.requests) - len(wanted) <= kills
    assert sorted(each.alert for each in hooked.records.find(Delivery)) == wanted


def test_a_drift_is_told_once_from_the_log_to_the_receiver_and_so_is_its_end(
    project: Project, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_URL", receiver.url)
    monkeypatch.setenv("HOOK_SECRET", KEY)
    text = (project.folder / "kaizen.toml").read_text().replace('["drift", "schedule 10d"]', '["schedule 90d"]')
    (project.folder / "kaizen.toml").write_text(text + HOOK)
    project = Project.open(project.folder, clock=project.clock)
    pipeline.learn(project)
    receiver.answer = 500  # the channel is down on the day that it happens
    days = iter(range(21))
    turns: list[cycle.Turn] = []
    while not project.records.find(Alert):
        turns += go_through(project, range((day := next(days)), day + 1), shift=2.0)
    (opened,) = project.records.find(Alert)
    assert turns[-1].alerts == (opened.id,)
    assert (opened.key, opened.change, opened.severity) == ("made-up/drift", "opened", "warning")
    assert {part.subject for part in opened.parts} == {"x", "prediction"}
    assert set(opened.findings) <= set(turns[-1].findings)
    assert [each.delivered for each in project.records.find(Delivery)] == [False]
    receiver.answer = 204
    turns += go_through(project, range(len(turns), len(turns) + 5), shift=2.0)
    assert ids(receiver) == [opened.id, opened.id]
    turns += go_through(project, range(len(turns), len(turns) + 14))
    over = project.records.find(Alert)[-1]
    assert (over.state, over.episode) == ("resolved", opened.id)
    assert ids(receiver)[2:] == [over.id]
    body = json.loads(receiver.requests[-1].body)
    assert (body["type"], body["data"]["dedup_key"]) == ("alert.resolved", "made-up/drift")
    before = project.records.find(Alert), project.records.find(Delivery)
    assert cycle.turn(project, turns[-1].day) == turns[-1]
    assert (project.records.find(Alert), project.records.find(Delivery)) == before


@pytest.mark.slow
def test_days_that_are_caught_up_with_are_told_as_they_stand_at_the_end(
    project: Project, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_URL", receiver.url)
    monkeypatch.setenv("HOOK_SECRET", KEY)
    text = (project.folder / "kaizen.toml").read_text().replace('["drift", "schedule 10d"]', '["schedule 90d"]')
    (project.folder / "kaizen.toml").write_text(text + HOOK)
    project = Project.open(project.folder, clock=project.clock)
    pipeline.learn(project)
    for number in range(16):
        answer_a_day(project, number, shift=2.0 if number < 7 else 0.0)
    advance(project, days=16)
    for day in cycle.due(project):
        cycle.turn(project, day)
    assert [each.change for each in project.records.find(Alert)] == ["opened", "resolved"]
    assert receiver.requests == []  # it came and went while nobody looked: that is on show, and wakes nobody
    assert [each.alert.state for each in tell.standing(project)] == ["resolved"]


def test_a_channel_that_no_longer_is_one_is_no_error_of_the_loop(hooked: Project, receiver: Receiver) -> None:
    put(hooked, "01A")
    tell.deliver(hooked)
    put(hooked, "01B", key="p/01A", state="resolved", change="resolved", episode="01A")
    (hooked.folder / "kaizen.toml").write_text(TOML)
    assert tell.deliver(Project.open(hooked.folder, clock=hooked.clock)) == []


def test_a_wrong_address_is_said_when_the_notifier_is_made(hooked: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK_URL", "ftp://example.org/t0pSecretToken")
    with pytest.raises(KaizenError, match="starts with https") as caught:
        hooked.notifier("hook")
    assert "t0pSecretToken" not in str(caught.value)
