"""The signed webhook, against a real server that takes, refuses, hangs and breaks off."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from kaizen.adapters.notifier.webhook import WebhookNotifier
from kaizen.core.clock import EventClock
from kaizen.core.errors import DeliveryError, ProjectError, UnreachableError
from kaizen.core.records import Alert, Finding
from kaizen.testing.notifier import SECRET, NotifierConformance, notice
from tests.adapters.notifier.receiver import Receiver, free_port
from tests.serve.authority import Authority

KEY = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = base64.b64encode(b"o" * 24).decode()


@pytest.fixture
def receiver():
    with Receiver().running() as running:
        yield running


class TestWebhook(NotifierConformance):
    @pytest.fixture(autouse=True)
    def _receiver(self, receiver):
        self.receiver = receiver

    def notifier(self):
        return WebhookNotifier(url=f"{self.receiver.url}/hook", secret=KEY)

    def arrived(self):
        return [str(msgspec.json.decode(request.body)) for request in self.receiver.requests]

    def broken(self):
        return WebhookNotifier(url=f"http://127.0.0.1:{free_port()}/{SECRET}?token={SECRET}", secret=KEY)


def test_receivers_verify_it_with_a_library_that_they_have(receiver):
    WebhookNotifier(url=receiver.url, secret=KEY).notify(notice("01ABC"))
    (request,) = receiver.requests
    assert request.headers["webhook-id"] == "01ABC"
    told = Webhook(KEY).verify(request.body, request.headers)
    assert (told["type"], told["data"]["dedup_key"]) == ("alert.opened", "p/drift")
    assert msgspec.convert(told["data"]["alert"], Alert) == notice("01ABC").alert
    assert msgspec.convert(told["data"]["findings"], tuple[Finding, ...]) == notice("01ABC").findings


def test_a_changed_body_another_key_and_an_old_or_early_moment_are_refused(receiver):
    WebhookNotifier(url=receiver.url, secret=KEY).notify(notice("01ABC"))
    (request,) = receiver.requests
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(KEY).verify(request.body.replace(b"critical", b"harmless"), request.headers)
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(OTHER).verify(request.body, request.headers)
    later = {**request.headers, "webhook-timestamp": str(int(time.time()) + 60)}
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(KEY).verify(request.body, later)
    for minutes, says in ((-6, "too old"), (6, "too new")):
        clock = EventClock(datetime.now(UTC) + timedelta(minutes=minutes))
        WebhookNotifier(url=receiver.url, secret=KEY, clock=clock).notify(notice("01ABC"))
        with pytest.raises(WebhookVerificationError, match=says):
            Webhook(KEY).verify(receiver.requests[-1].body, receiver.requests[-1].headers)


def test_a_body_stays_small_however_many_findings_there_are(receiver):
    many = msgspec.structs.replace(notice("1"), findings=notice("1").findings * 10_000)
    WebhookNotifier(url=receiver.url, secret=KEY).notify(many)
    assert len(msgspec.json.decode(receiver.requests[0].body)["data"]["findings"]) == 50
    assert len(receiver.requests[0].body) < 50_000


def test_a_try_again_has_the_same_id_and_a_moment_of_its_own(receiver):
    now = datetime.now(UTC)
    for seconds in (0, 60):
        clock = EventClock(now + timedelta(seconds=seconds))
        WebhookNotifier(url=receiver.url, secret=KEY, clock=clock).notify(notice("01ABC"))
    first, second = (request.headers for request in receiver.requests)
    assert first["webhook-id"] == second["webhook-id"]
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 60
    assert first["webhook-signature"] != second["webhook-signature"]


def test_two_secrets_sign_together_while_one_takes_the_place_of_the_other(receiver):
    WebhookNotifier(url=receiver.url, secret=f"{KEY}\n{OTHER}").notify(notice("01ABC"))
    (request,) = receiver.requests
    for key in (KEY, OTHER):
        assert Webhook(key).verify(request.body, request.headers)["type"] == "alert.opened"


@pytest.mark.parametrize("status", [400, 401, 404, 410, 429, 500, 503])
def test_all_but_a_2xx_is_a_refusal_that_says_what_the_other_side_says(receiver, status):
    receiver.answer, receiver.says = status, b"try\nthe \x1b[31mother door\x00"
    with pytest.raises(DeliveryError, match=rf"it answered {status} .*: try the \[31mother door$"):
        WebhookNotifier(url=receiver.url, secret=KEY).notify(notice("1"))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receiver, status):
    with Receiver().running() as other:
        receiver.answer, receiver.headers = status, {"Location": f"{other.url}/elsewhere"}
        with pytest.raises(DeliveryError, match=f"{status}, a redirect, which is not followed"):
            WebhookNotifier(url=receiver.url, secret=KEY).notify(notice("1"))
        assert (len(receiver.requests), other.requests) == (1, [])


@pytest.mark.parametrize("answer", ["hang", "close"])
def test_silence_and_half_an_answer_are_no_delivery(receiver, answer):
    receiver.answer = answer
    started = time.monotonic()
    with pytest.raises(UnreachableError, match="no answer: "):
        WebhookNotifier(url=receiver.url, secret=KEY, timeout_s=0.3).notify(notice("1"))
    assert time.monotonic() - started < 5
    assert len(receiver.requests) == 1


def test_a_refusal_that_quotes_the_address_and_the_key_is_shown_without_them(receiver):
    receiver.answer, receiver.says = 404, f"no hook {SECRET} or t0ken=a%2Fb or a/bcdef; {KEY} {KEY[6:]}".encode()
    address = f"{receiver.url}/hooks/{SECRET}?t0ken=a%2Fbcdef"
    with pytest.raises(DeliveryError) as caught:
        WebhookNotifier(url=address, secret=KEY).notify(notice("1"))
    for secret in (SECRET, "bcdef", KEY, KEY[6:]):
        assert secret not in str(caught.value)


def test_a_certificate_of_nobody_is_refused_and_of_a_known_authority_taken(tmp_path, monkeypatch):
    authority = Authority(tmp_path)
    certificate = tuple(map(str, authority.issue("hook")))
    with Receiver(certificate).running() as receiver:
        with pytest.raises(UnreachableError, match="certificate verify failed"):
            WebhookNotifier(url=receiver.url, secret=KEY).notify(notice("1"))
        assert receiver.requests == []
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
        WebhookNotifier(url=receiver.url, secret=KEY).notify(notice("1"))
        assert len(receiver.requests) == 1


@pytest.mark.parametrize(
    ("url", "secret", "says"),
    [
        ("ftp://example.org", KEY, "starts with https"),
        ("https://", KEY, "starts with https"),
        ("https://example.org:99999/", KEY, "starts with https"),
        ("https://ada:pa55word@example.org/", KEY, "no user and no password"),
        ("https://example.org", None, "needs a secret"),
        ("https://example.org", "whsec_c2hvcnQ=", "24 to 64 bytes"),
        ("https://example.org", "not base64 at all!!!!!!!!!!!!!!!!!!!!!!!!!!", "24 to 64 bytes"),
        ("https://example.org", base64.b64encode(b"x" * 65).decode(), "24 to 64 bytes"),
    ],
)
def test_what_can_never_work_is_refused_at_once_and_not_quoted(url, secret, says):
    with pytest.raises(ProjectError, match=says) as caught:
        WebhookNotifier(url=url, secret=secret)
    assert "pa55word" not in str(caught.value)
    assert not secret or secret not in str(caught.value)
