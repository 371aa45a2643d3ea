"""What workers tell of themselves: added up as one server's, and never less than before."""

from __future__ import annotations

import os
import threading

from kaizen.serve.tally import Family, Snapshot, Tally, merged


def counter(value: float, name: str = "asked") -> Family:
    return Family(name, "Requests.", "counter", [(f"{name}_total", (("route", "predict"),), value)])


def gauge(value: float, name: str = "waiting") -> Family:
    return Family(name, "Requests.", "gauge", [(name, (), value)])


def total(tally: Tally, name: str = "asked") -> float:
    return sum(value for family in tally.figures() if family.name == name for *_, value in family.samples)


def test_figures_are_added_up_and_a_server_is_as_far_as_the_last_of_its_workers() -> None:
    told = [[counter(1), gauge(2), gauge(7, "kaizen_revision")], [counter(10), gauge(20), gauge(6, "kaizen_revision")]]
    assert merged(told) == [counter(11), gauge(22), gauge(6, "kaizen_revision")]


def test_a_worker_that_ends_leaves_what_it_counted_and_takes_what_it_had() -> None:
    tally = Tally(2)
    for restart in range(3):
        tally.write(0, Snapshot({"status": "ok"}, [counter(5), gauge(3)]))
        tally.write(1, Snapshot({"status": "ok"}, [counter(100), gauge(1)]))
        assert total(tally) == 105 + restart * 5
        assert total(tally, "waiting") == 4
        tally.retire(0)
        assert total(tally) == 105 + restart * 5
        assert total(tally, "waiting") == 1
        assert tally.read(0) is None
    tally.retire(0)  # it died before it told anything
    assert total(tally) == 115


def test_a_slot_that_is_being_written_is_read_as_it_was_before_or_after() -> None:
    tally, ended = Tally(2), threading.Event()
    page = os.fork()
    if page == 0:
        for number in range(200_000):
            tally.write(0, Snapshot({}, [counter(float(number), "n" * (1 + number % 40))]))
        os._exit(0)
    highest = -1.0
    while not ended.is_set():
        for family in tally.figures():
            value = family.samples[0][2]
            assert family.name == "n" * (1 + int(value) % 40)
            assert value >= highest
            highest = value
        if os.waitpid(page, os.WNOHANG)[0]:
            ended.set()
    assert highest > 0


def test_a_snapshot_that_is_too_long_leaves_the_slot_as_it_was() -> None:
    tally = Tally(1)
    tally.write(0, Snapshot({}, [counter(1)]))
    tally.write(0, Snapshot({"text": "x" * (2 << 20)}, [counter(2)]))
    assert total(tally) == 1


def test_connections_count_only_for_workers_that_take_any() -> None:
    tally = Tally(3)
    tally.write(0, Snapshot())
    tally.count(0, 4)
    tally.count(1, 2)
    assert tally.counts() == [4, None, None]
