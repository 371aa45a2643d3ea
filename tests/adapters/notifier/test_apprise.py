"""Apprise, against a real HTTP server and a real mail server on loopback."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from kaizen.adapters.notifier.apprise import AppriseNotifier
from kaizen.core import plugins
from kaizen.core.errors import DeliveryError, MissingExtraError, ProjectError
from kaizen.testing.notifier import SECRET, NotifierConformance, notice
from tests.adapters.notifier.receiver import Mailbox, Receiver, free_port


@pytest.fixture
def receiver():
    with Receiver().running() as running:
        yield running


@pytest.fixture
def mailbox():
    with Mailbox().running() as running:
        yield running


def mail_to(port: int, more: str = "") -> str:
    return f"mailto://127.0.0.1:{port}?from=kaizen@example.org&to=ada@example.org&mode=insecure{more}"


class TestJson(NotifierConformance):
    @pytest.fixture(autouse=True)
    def _receiver(self, receiver):
        self.receiver = receiver

    def notifier(self):
        return AppriseNotifier(url=f"json://127.0.0.1:{self.receiver.port}/alerts", secret=None)

    def arrived(self):
        return [str(json.loads(request.body)) for request in self.receiver.requests]

    def broken(self):
        return AppriseNotifier(
            url=f"json://ada:{SECRET}@127.0.0.1:{free_port()}/{SECRET}?+X-Token={SECRET}", secret=None
        )


class TestMail(NotifierConformance):
    @pytest.fixture(autouse=True)
    def _mailbox(self, mailbox, monkeypatch):
        self.mailbox = mailbox
        monkeypatch.setattr("apprise.plugins.email.NotifyEmail.request_rate_per_sec", 0)  # it rests for 5 s a mail

    def notifier(self):
        return AppriseNotifier(url=mail_to(self.mailbox.port), secret=None)

    def arrived(self):
        return [f"{subject}\n{text}" for subject, text in self.mailbox.mails]

    def broken(self):
        return AppriseNotifier(url=mail_to(free_port(), f"&user=ada&pass={SECRET}"), secret=None)


@pytest.mark.parametrize("event", ["opened", "resolved"])
def test_a_service_is_told_how_bad_it_is(receiver, event):
    AppriseNotifier(url=f"json://127.0.0.1:{receiver.port}", secret=None).notify(notice("1", event=event))
    told = json.loads(receiver.requests[0].body)
    assert told["type"] == {"opened": "failure", "resolved": "success"}[event]
    assert told["title"] == "[critical] p: drift in distance"


def test_a_refusal_says_why(receiver, mailbox):
    receiver.answer = 503
    with pytest.raises(DeliveryError, match="503"):
        AppriseNotifier(url=f"json://127.0.0.1:{receiver.port}", secret=None).notify(notice("1"))
    mailbox.refuses = True
    with pytest.raises(DeliveryError, match="ail"):
        AppriseNotifier(url=mail_to(mailbox.port), secret=None).notify(notice("1"))
    assert mailbox.mails == []


def test_one_that_hangs_is_given_up_within_its_time(receiver):
    receiver.answer = "hang"
    with pytest.raises(DeliveryError):
        AppriseNotifier(url=f"json://127.0.0.1:{receiver.port}/?rto=0.3", secret=None).notify(notice("1"))


def test_a_redirect_is_not_followed(receiver):
    with Receiver().running() as other:
        receiver.answer, receiver.headers = 307, {"Location": other.url}
        with pytest.raises(DeliveryError, match="307"):
            AppriseNotifier(url=f"json://127.0.0.1:{receiver.port}", secret=None).notify(notice("1"))
        assert other.requests == []


@pytest.mark.parametrize(
    "url", [f"nowhere://{SECRET}", f"https://example.org/{SECRET}", f"json://a.org/{SECRET}, json://b.org/{SECRET}"]
)
def test_what_is_no_address_of_one_service_is_refused_at_once_and_not_quoted(url, capfd):
    with pytest.raises(ProjectError, match="apprise cannot use this address") as caught:
        AppriseNotifier(url=url, secret=None)
    assert SECRET not in str(caught.value) + "".join(capfd.readouterr())


def test_a_secret_beside_the_address_is_refused():
    with pytest.raises(ProjectError, match="part of the address"):
        AppriseNotifier(url="json://localhost", secret="whsec_x")


def test_nothing_of_it_is_imported_before_one_is_made():
    code = (
        "import sys; from kaizen.core import plugins; plugins.load('notifier', 'apprise');"
        "print([m for m in ('apprise', 'requests', 'yaml') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_without_the_extra_its_install_line_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(MissingExtraError, match=r'pip install "kaizen-ml\[alerts\]"'):
        plugins.load("notifier", "apprise")(url="json://localhost", secret=None)
