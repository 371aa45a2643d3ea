"""A bucket for each client, on a clock that stands still unless it is told to go on."""

from __future__ import annotations

import pytest

from kaizen.core.durations import rate
from kaizen.core.errors import RequestError
from kaizen.serve.ratelimit import RateLimit, peer_of


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def taken(limit: RateLimit, client: str, most: int = 1000) -> int:
    """Return how many requests go through before the first that does not."""
    for count in range(most):
        try:
            limit.take(client)
        except RequestError:
            return count
    return most


@pytest.mark.parametrize("text", ["100/1s", "3/1s", "7/10s", "1/1m", "60/1h", "97/7ms"])
def test_a_full_bucket_lets_through_what_the_rate_says_and_no_more(text: str) -> None:
    clock, declared = Clock(), rate(text)
    limit = RateLimit(declared, now=clock)
    assert taken(limit, "a") == declared.count
    assert taken(limit, "b") == declared.count
    clock.now += declared.per.total_seconds() / declared.count * 1.001
    assert taken(limit, "a") == 1
    clock.now += declared.per.total_seconds() * 5
    assert taken(limit, "a") == declared.count


def test_in_the_long_run_the_rate_is_kept_to() -> None:
    clock = Clock()
    limit = RateLimit(rate("10/1s"), now=clock)
    through = 0
    for _ in range(10_000):
        clock.now += 0.01
        try:
            limit.take("a")
        except RequestError:
            continue
        through += 1
    assert 1000 <= through <= 1010


def test_who_comes_again_when_told_to_is_let_through() -> None:
    clock = Clock()
    limit = RateLimit(rate("2/10s"), now=clock)
    assert taken(limit, "a") == 2
    with pytest.raises(RequestError, match="too many requests of this client") as caught:
        limit.take("a")
    assert (caught.value.status, caught.value.headers) == (429, b"retry-after: 5\r\n")
    clock.now += 5
    limit.take("a")


def test_to_look_costs_nothing() -> None:
    limit = RateLimit(rate("1/1s"), now=Clock())
    for _ in range(5):
        limit.check("a")
    assert taken(limit, "a") == 1
    with pytest.raises(RequestError, match="too many"):
        limit.check("a")


def test_the_table_is_bounded_and_forgets_who_was_quiet_for_longest() -> None:
    clock = Clock()
    limit = RateLimit(rate("1/1h"), now=clock, clients=100)
    for number in range(100):
        limit.take(f"client {number}")
    assert taken(limit, "client 0") == 0
    clock.now += 3601
    limit.take("client 0")
    for number in range(100, 199):
        limit.take(f"client {number}")
    assert len(limit) == 100
    assert taken(limit, "client 0") == 0, "it asked after all the others that are forgotten"
    assert taken(limit, "client 1") == 1


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        (("10.0.0.7", 4711), "ip:10.0.0.7"),
        (("2001:db8:1:2:3:4:5:6", 4711, 0, 0), "ip:2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::1", 4711, 0, 0), "ip:2001:db8:1:2::/64"),
        (("::ffff:10.0.0.7", 4711, 0, 0), "ip:10.0.0.7"),
        (("fe80::1%eth0", 4711, 0, 2), "ip:fe80::/64"),
        (("::1",), "ip:::/64"),
        ("", "ip:"),
        (None, "ip:"),
    ],
)
def test_a_caller_is_its_address_and_of_ipv6_its_network(address: object, peer: str) -> None:
    assert peer_of(address) == peer
