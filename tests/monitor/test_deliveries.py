"""What is due to whom: everything once, what failed again, what is over to those who know of it."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from kaizen.core.alerting import AlertsSection, ChannelSection, RouteSection
from kaizen.core.records import Delivery, Part, Silence
from kaizen.monitor.alerts.deliveries import GIVE_UP_AFTER, LONGEST_WAIT, Known, due, retry_at, standing
from kaizen.testing.records import alert as example

START = datetime(2026, 3, 1, tzinfo=UTC)
BOTH = {name: ChannelSection(url="json://localhost") for name in ("team", "pager")}
ONE = {"team": BOTH["team"]}


class World:
    """Alerts, and deliveries that succeed or fail as they are told to."""

    def __init__(self, channels=ONE, **section):
        self.section = AlertsSection(channels=channels, **section)
        self.alerts, self.deliveries, self.silences, self.now = [], [], [], START
        self.broken = set()

    def alert(self, change, identity=None, *, key="p/drift", severity="critical", **more):
        identity = identity or f"{key} {len(self.alerts)}"
        before = next((a for a in reversed(self.alerts) if a.key == key), None)
        fresh = before is None or before.state == "resolved"
        self.alerts.append(
            msgspec.structs.replace(
                example(identity), at=self.now, key=key, change=change, severity=severity,
                state="resolved" if change == "resolved" else "open",
                episode=identity if fresh else before.episode,
                parts=(Part("x", "", "f", "over" if change == "resolved" else None),),
                labels={"endpoint": "p", "question": "drift", "severity": severity},
                **more,
            )
        )  # fmt: skip
        return identity

    @property
    def known(self):
        return Known(self.alerts, self.deliveries, self.silences, self.section, self.now)

    def look(self, **ahead):
        """Let time pass, deliver what is due, and return it as (alert, channel, reminder, attempt)."""
        self.now += timedelta(**ahead)
        wanted = due(self.known)
        for each in wanted:
            failed = each.channel in self.broken
            identity = f"d{len(self.deliveries)}"
            again = retry_at(self.now, each.attempt, each.first_try or self.now, identity) if failed else None
            self.deliveries.append(
                Delivery(
                    id=identity, project="p", at=self.now, by="t", alert=each.alert.id, channel=each.channel,
                    reminder=each.reminder, attempt=each.attempt, delivered=not failed,
                    says="down" if failed else "", retry_at=again,
                )
            )  # fmt: skip
        return [(each.alert.id, each.channel, each.reminder, each.attempt) for each in wanted]

    def silence(self, **hours):
        self.silences.append(
            Silence(
                id=f"s{len(self.silences)}", project="p", at=self.now, by="ada", match={"question": ("drift",)},
                until=self.now + timedelta(**hours), reason="r",
            )
        )  # fmt: skip


def test_an_alert_is_told_once_to_every_channel_and_so_is_its_end():
    world = World(BOTH)
    opened = world.alert("opened")
    assert world.look() == [(opened, "team", 0, 1), (opened, "pager", 0, 1)]
    assert world.look(days=300) == []
    over = world.alert("resolved")
    assert world.look() == [(over, "team", 0, 1), (over, "pager", 0, 1)]
    assert world.look(days=300) == []


def test_worse_is_told_and_better_is_not():
    world = World()
    world.alert("opened")
    world.look()
    world.alert("better")
    assert world.look(days=2) == []
    worse = world.alert("worse")
    assert world.look() == [(worse, "team", 0, 1)]
    world.alert("better")
    assert world.look(days=9) == []


def test_what_grows_day_by_day_is_told_once_in_a_cooldown_and_what_gets_more_severe_at_once():
    world = World(BOTH, cooldown="3d")
    world.broken = {"pager"}
    world.alert("opened", severity="warning")
    world.look()
    for _ in range(2):
        world.alert("worse", severity="warning")
        assert [each[1] for each in world.look(days=1)] == ["pager"]  # who was never told does not wait
    last = world.alert("worse", severity="warning")
    world.broken = set()
    assert world.look(hours=23) == [(last, "pager", 0, 1)]
    assert world.look(hours=1) == [(last, "team", 0, 1)]
    severe = world.alert("worse", severity="critical")
    assert world.look() == [(severe, "team", 0, 1), (severe, "pager", 0, 1)]


def test_what_is_over_before_anybody_was_told_is_told_to_nobody():
    world = World()
    world.broken = {"team"}
    opened = world.alert("opened")
    assert world.look() == [(opened, "team", 0, 1)]
    world.alert("resolved")
    world.broken = set()
    assert world.look(days=1) == []


def test_the_end_is_told_to_those_who_know_and_to_them_only():
    world = World(BOTH, routes=[RouteSection(match={"severity": "critical"}, to=["pager", "team"])])
    world.broken = {"team"}
    world.alert("opened")
    world.look()
    world.broken = set()
    over = world.alert("resolved")
    assert world.look() == [(over, "pager", 0, 1)]


def test_a_failed_try_is_repeated_after_longer_and_longer_until_it_arrives_and_others_do_not_wait_for_it():
    world = World(BOTH)
    world.broken = {"team"}
    opened = world.alert("opened")
    assert world.look() == [(opened, "team", 0, 1), (opened, "pager", 0, 1)]
    assert world.look(seconds=29) == []
    assert world.look(seconds=31) == [(opened, "team", 0, 2)]
    assert world.look(seconds=59) == []
    assert world.look(seconds=61) == [(opened, "team", 0, 3)]
    world.broken = set()
    assert world.look(minutes=4) == [(opened, "team", 0, 4)]
    assert world.look(days=9) == []


def test_after_three_days_it_is_given_up_and_shown_and_the_next_news_begins_anew():
    world = World()
    world.broken = {"team"}
    world.alert("opened")
    tries = 0
    for _ in range(7 * 24 * 60):
        tries += len(world.look(minutes=1))
    assert 15 <= tries <= 35
    assert world.deliveries[-1].at - world.deliveries[0].at <= GIVE_UP_AFTER
    (shown,) = standing(world.known)
    (trouble,) = shown.trouble
    assert (trouble.channel, trouble.says, trouble.attempts, trouble.retry_at) == ("team", "down", tries, None)
    world.broken = set()
    assert world.look() == []
    worse = world.alert("worse")
    assert world.look() == [(worse, "team", 0, 1)]
    assert standing(world.known)[0].trouble == ()


@pytest.mark.parametrize("attempt", [1, 2, 9, 10, 1000, 10**9])
def test_the_wait_is_at_least_half_of_what_it_may_be_and_the_same_for_a_seed(attempt):
    longest = min(timedelta(minutes=2 ** min(attempt - 1, 20)), LONGEST_WAIT)
    waits = [retry_at(START, attempt, START, f"seed {n}") - START for n in range(200)]
    assert all(longest / 2 <= wait <= longest for wait in waits)
    assert max(waits) - min(waits) > longest / 3
    assert retry_at(START, attempt, START, "a") == retry_at(START, attempt, START, "a")


def test_a_reminder_comes_after_the_time_and_again_and_not_when_it_is_over():
    world = World(BOTH, repeat_after="2d")
    opened = world.alert("opened")
    world.look()
    assert world.look(hours=47) == []
    assert world.look(hours=1) == [(opened, "team", 1, 1), (opened, "pager", 1, 1)]
    assert world.look(hours=1) == []
    world.broken = {"team"}
    assert world.look(hours=47) == [(opened, "team", 2, 1), (opened, "pager", 2, 1)]
    better = world.alert("better")
    world.broken = set()
    assert world.look(hours=24) == [(better, "team", 1, 1)]
    assert world.look(hours=24) == [(better, "pager", 1, 1)]
    world.alert("resolved")
    assert len(world.look()) == 2
    assert world.look(days=30) == []


def test_what_is_silenced_is_told_when_the_silence_ends_if_it_is_open_then():
    world = World()
    world.silence(hours=2)
    opened = world.alert("opened")
    assert world.look() == []
    (shown,) = standing(world.known)
    assert (shown.silenced_until, shown.told, shown.waiting) == (START + timedelta(hours=2), {}, ("team",))
    assert world.look(minutes=119) == []
    assert world.look(minutes=1) == [(opened, "team", 0, 1)]


def test_what_is_over_when_the_silence_ends_is_told_to_nobody_who_does_not_know_of_it():
    world = World()
    world.silence(hours=2)
    world.alert("opened")
    world.look()
    world.alert("resolved")
    assert world.look(hours=3) == []


def test_an_end_that_falls_into_a_silence_is_told_afterwards_to_those_who_wait_for_it():
    world = World()
    world.alert("opened")
    world.look()
    world.silence(hours=2)
    over = world.alert("resolved")
    assert world.look() == []
    assert world.look(hours=2) == [(over, "team", 0, 1)]


def test_within_the_cooldown_it_waits_until_that_is_over_and_is_shown():
    world = World()
    opened = world.alert("opened", quiet_until=START + timedelta(days=1))
    assert world.look() == []
    (shown,) = standing(world.known)
    assert (shown.quiet_until, shown.waiting) == (START + timedelta(days=1), ("team",))
    assert world.look(days=1) == [(opened, "team", 0, 1)]


def test_who_never_heard_the_end_of_one_episode_hears_that_of_the_next():
    world = World()
    world.alert("opened")
    world.look()
    world.broken = {"team"}
    world.alert("resolved")
    world.look()
    world.alert("opened", quiet_until=world.now + timedelta(days=1))  # comes back at once, and is kept quiet
    world.broken = set()
    assert world.look(minutes=5) == []
    over = world.alert("resolved")
    assert world.look(minutes=5) == [(over, "team", 0, 1)]


def test_the_route_is_looked_up_when_it_is_told_and_a_channel_that_is_gone_is_left_out():
    world = World(BOTH)
    world.alert("opened")
    world.look()
    world.section = AlertsSection(channels=ONE)
    over = world.alert("resolved")
    assert world.look() == [(over, "team", 0, 1)]


def test_keys_are_told_apart_and_the_open_and_severe_stand_first():
    world = World()
    for severity in ("warning", "critical"):
        world.alert("opened", key=f"p/{severity}", severity=severity)
    world.alert("opened", key="p/over")
    world.alert("resolved", key="p/over")
    world.alert("opened", key="p/quality", severity="info")
    assert [told[0].split()[0] for told in world.look()] == ["p/warning", "p/critical"]
    assert [each.alert.key for each in standing(world.known)] == ["p/critical", "p/warning", "p/quality", "p/over"]


def test_a_store_of_years_is_looked_through_in_a_moment():
    world = World(BOTH)
    for number in range(300):
        key = f"p/{number % 50}"
        world.alert("opened" if number // 50 % 2 == 0 else "resolved", key=key)
        world.look(days=1)
    assert len(world.deliveries) == 600
    world.deliveries *= 20
    began = time.process_time()
    assert due(world.known) == []
    assert time.process_time() - began < 1
