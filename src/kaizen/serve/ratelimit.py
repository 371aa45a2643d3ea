"""How often one client may ask: a token bucket each, in constant time and bounded memory.

A bucket is one number, the moment at which it will be full again (the generic cell rate algorithm: ITU-T I.371
(2004), annex A). A request moves it one step on; it may not lie further ahead than the bucket is deep.

    now                      full again
     ├──────────┬─────┬─────┬─────┤
     │  tokens left   │  steps taken, not paid back yet
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from kaizen.core.durations import Rate
from kaizen.core.errors import RequestError

_CLIENTS: Final = 65_536
_HAIR: Final = 1e-9  # of the time span: sums of floats are not exact


class RateLimit:
    """The buckets of all clients; the one that has not asked for longest is forgotten first.

    Parameters
    ----------
    rate
        How many requests in which time; so many may come at once, if none came before.
    now
        Tells the time, in seconds.
    clients
        How many are remembered.
    """

    def __init__(self, rate: Rate, *, now: Callable[[], float] = time.monotonic, clients: int = _CLIENTS) -> None:
        span_s = rate.per.total_seconds()
        self._step_s = span_s / rate.count
        self._deep_s = span_s - self._step_s + span_s * _HAIR
        self._now = now
        self._most = clients
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, client: str) -> None:
        """Take a token out of a client's bucket; raise a 429 that says when to come again if there is none."""
        full_at = self.check(client)
        self._full_at[client] = full_at + self._step_s
        self._full_at.move_to_end(client)
        if len(self._full_at) > self._most:
            self._full_at.popitem(last=False)

    def check(self, client: str) -> float:
        """Raise as `take` does, and take nothing; return when the bucket is full, now at the earliest."""
        now = self._now()
        full_at = self._full_at.get(client, now)
        if full_at <= now:
            return now
        if full_at - now > self._deep_s:
            wait_s = math.ceil(full_at - now - self._deep_s)
            what, fix = "too many requests of this client", f"try again in {wait_s} s"
            raise RequestError(what, status=429, fix=fix, headers=b"retry-after: %d\r\n" % wait_s)
        return full_at


def peer_of(address: Any) -> str:
    """Return whom a socket's address stands for: the host; of IPv6 the network, for one caller has 2**64 addresses."""
    host = str(address[0]) if isinstance(address, tuple) and address else ""
    if ":" not in host:
        return f"ip:{host}"
    try:
        found = ip_address(host.partition("%")[0])
    except ValueError:
        return f"ip:{host}"
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return f"ip:{IPv6Address(int(found) >> 64 << 64)}/64"
    return f"ip:{getattr(found, 'ipv4_mapped', None) or found}"
