"""Who may ask for what, and how often; asked once for each request, before anything of its body is read.

    head ─▶ seen before, nothing changed? ──yes──▶ rate ─▶ handler
                    └──no──▶ key or token ─▶ scope ──┘
                                 │ 401        │ 403   │ 429

What was found out is kept on the head, which is kept by its bytes. It is worth nothing once the guard's epoch has
moved on (a key was revoked, the issuer changed its keys) or its time is over.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import TYPE_CHECKING, Any

from kaizen.core.errors import RequestError
from kaizen.serve.apikeys import PREFIX, ApiKeys
from kaizen.serve.message import Head
from kaizen.serve.ratelimit import RateLimit, peer_of
from kaizen.serve.scopes import Grant, forbidden, unauthorized

if TYPE_CHECKING:
    from kaizen.serve.tokens import Tokens  # which stand on an extra

_ASK = "send the header Authorization: Bearer KEY, or X-API-Key: KEY"


class Guard:
    """Lets a request through or refuses it. Not thread-safe: it belongs to the loop.

    Parameters
    ----------
    keys
        The API keys that are good, if any are taken.
    tokens
        Checks tokens (JWT), if any are taken. Without keys and tokens nobody is asked who he is.
    rate_limit
        How often one client may ask, if there is a limit.
    now
        Tells the time, in seconds since 1970.
    """

    def __init__(
        self,
        *,
        keys: ApiKeys | None = None,
        tokens: Tokens | None = None,
        rate_limit: RateLimit | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._tokens = tokens
        self._rate_limit = rate_limit
        self._now = now
        self._epoch = 0
        self.is_locked = keys is not None or tokens is not None

    def tick(self) -> None:
        """Look whether keys were added, revoked or changed; called once a second."""
        is_changed = self._keys is not None and self._keys.look()
        if self._tokens is not None and self._tokens.look():
            is_changed = True
        self._epoch += is_changed

    def peer(self, address: Any) -> str:
        """Return whom a socket's address stands for."""
        return peer_of(address)

    def admit(self, head: Head, peer: str) -> None:
        """Return if this may be asked, now; raise a 401, 403 or 429 if not."""
        grant = head.grant
        if grant is None or grant.epoch != self._epoch or grant.until <= self._now():
            grant = self.identify(head, peer)
        if self._rate_limit is not None and head.route.scope != "open":
            self._rate_limit.take(grant.client or peer)

    def identify(self, head: Head, peer: str) -> Grant:
        """Return what the caller may do, and keep it on the head; raise a 401 or 403."""
        head.grant = None
        scope = head.route.scope
        if scope == "open" or not self.is_locked:
            head.grant = Grant("", frozenset(), inf, self._epoch)
            return head.grant
        known = self._known(head, peer)
        if scope != "any" and scope not in known.scopes:
            raise forbidden(scope)
        head.grant = known._replace(epoch=self._epoch)
        return head.grant

    def _known(self, head: Head, peer: str) -> Grant:
        try:
            credential = _credential(head.headers)
            if self._tokens is None or credential.startswith(PREFIX):
                if self._keys is None:
                    raise unauthorized("a token is needed here, not a key", error="invalid_token")
                return self._keys.identify(credential)
            if self._rate_limit is not None:
                self._rate_limit.check(peer)  # a signature costs 100 us to check: not for one who was wrong too often
            return self._tokens.identify(credential)
        except RequestError as err:
            if self._rate_limit is not None and err.status == 401:
                self._rate_limit.take(peer)
            raise


def _credential(headers: dict[bytes, bytes]) -> bytes:
    """Return the key or token that came along; raise a 401 if none did."""
    key = headers.get(b"x-api-key")
    if key:
        return key
    kind, _, credential = headers.get(b"authorization", b"").partition(b" ")
    if kind.lower() != b"bearer" or not credential.strip():
        raise unauthorized("a key or a token is needed here", fix=_ASK)
    return credential.strip()
