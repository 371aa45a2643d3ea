"""Alerts as signed webhooks, in the form of Standard Webhooks, so that receivers verify them with a library they have.

    POST url
    webhook-id         the same over all tries: who has seen it may drop it
    webhook-timestamp  seconds since 1970, of this try: who finds it old may drop it
    webhook-signature  v1,base64(HMAC-SHA256(secret, "id.timestamp.body")), one a secret, with spaces between

    {"type": "alert.opened", "timestamp": …, "data": {"dedup_key": …, "alert": {…}, "findings": […]}}

https://github.com/standard-webhooks/standard-webhooks, version 1.0.0.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import http.client
import urllib.error
import urllib.parse
import urllib.request
from email.message import Message
from typing import IO

import msgspec

from kaizen.core.clock import Clock, SystemClock
from kaizen.core.errors import DeliveryError, KaizenError, ProjectError, UnreachableError
from kaizen.core.ports import Notice
from kaizen.core.secret import redacted

TIMEOUT_S = 10.0
CARRIED = 50  # findings in one body, the worst; receivers take little more than 20 kB gladly
_PREFIX = "whsec_"
_WHERE = "the webhook"


class WebhookNotifier:
    """Posts one JSON body a message; anything but a 2xx is a failure, a redirect too. TLS is verified.

    Parameters
    ----------
    url
        Where to; http or https.
    secret
        What to sign with: ``whsec_`` and base64 of 24 to 64 bytes. Several, with white space between, sign together
        while one takes the place of another.
    timeout_s
        For the connection, and for each read of the answer.
    clock
        The wall clock: receivers refuse a timestamp that is not near theirs.
    """

    def __init__(
        self, *, url: str, secret: str | None, timeout_s: float = TIMEOUT_S, clock: Clock | None = None
    ) -> None:
        self._url = _checked(url)
        self._secret = secret or ""
        self._keys = [_key(each) for each in self._secret.split()]
        if not self._keys:
            raise ProjectError("a webhook needs a secret to sign with", where=_WHERE, fix=_MAKE)
        self._timeout_s = timeout_s
        self._clock = clock or SystemClock()
        self._opener = urllib.request.build_opener(_NoRedirect)

    def notify(self, notice: Notice) -> None:
        """Post the message."""
        body = _body(notice)
        moment = str(int(self._clock.now().timestamp()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "kaizen",
            "webhook-id": notice.id,
            "webhook-timestamp": moment,
            "webhook-signature": " ".join(_signature(key, notice.id, moment, body) for key in self._keys),
        }
        request = urllib.request.Request(self._url, data=body, headers=headers, method="POST")
        try:
            with self._opener.open(request, timeout=self._timeout_s):
                return
        except urllib.error.HTTPError as err:
            with err:
                raise self._refused(err) from None
        except (OSError, http.client.HTTPException, ValueError) as err:
            reason = err.reason if isinstance(err, urllib.error.URLError) else err
            raise UnreachableError(self._shown(f"no answer: {reason or type(reason).__name__}"), where=_WHERE) from None

    def _refused(self, err: urllib.error.HTTPError) -> KaizenError:
        if 300 <= err.code < 400:
            what = f"it answered {err.code}, a redirect, which is not followed"
            return DeliveryError(what, where=_WHERE, fix="write the address that it leads to")
        try:
            said = err.read(300).decode("utf-8", "replace")
        except (OSError, http.client.HTTPException):
            said = ""
        said = " ".join("".join(c if c.isprintable() else " " for c in said).split())
        return DeliveryError(self._shown(f"it answered {err.code} {err.reason}{said and ': '}{said}"), where=_WHERE)

    def _shown(self, text: str) -> str:
        return redacted(text, self._url, *self._secret.split())


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leaves a redirect as the failure that it is: a signed message goes where its owner sent it, nowhere else."""

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        """Follow nothing."""


def _checked(url: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_right = False
    if not is_right:
        raise ProjectError("a webhook's address starts with https:// or http:// and names a host", where=_WHERE)
    if parts.username is not None or parts.password is not None:
        raise ProjectError("a webhook's address holds no user and no password: it is signed", where=_WHERE)
    return url


def _key(secret: str) -> bytes:
    digits = secret.removeprefix(_PREFIX).rstrip("=")
    try:
        key = base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not 24 <= len(key) <= 64:
        raise ProjectError("a webhook's secret is base64 of 24 to 64 bytes", where=_WHERE, fix=_MAKE)
    return key


_MAKE = 'make one: echo "whsec_$(openssl rand -base64 32)"'


def _signature(key: bytes, identity: str, moment: str, body: bytes) -> str:
    signed = hmac.new(key, f"{identity}.{moment}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(signed).decode()


def _body(notice: Notice) -> bytes:
    alert = notice.alert
    data = {"dedup_key": alert.key, "title": notice.title, "alert": alert, "findings": notice.findings[:CARRIED]}
    return msgspec.json.encode({"type": f"alert.{notice.event}", "timestamp": alert.at, "data": data})
