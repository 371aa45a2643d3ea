"""The accord: whatever is said in whatever order, no worker answers what another could not."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from kaizen.serve.accord import Abort, Accord, Commit, Order, Prepare
from tests.serve.small import endpoint


class Worker:
    """A worker as the accord sees it: obeys its orders one after the other, and does not load what it must not."""

    def __init__(self) -> None:
        self.orders: deque[Order] = deque()
        self.serves = 0
        self.held: tuple[int, int] | None = None  # epoch and revision

    def step(self, accord: Accord, number: int, *, loads: bool) -> None:
        order = self.orders.popleft()
        if isinstance(order, Prepare):
            self.held = (order.epoch, order.endpoint.revision) if loads else None
            if loads:
                accord.prepared(number, order.epoch)
            else:
                accord.failed(number, order.epoch, "no")
        elif isinstance(order, Commit) and self.held is not None and self.held[0] == order.epoch:
            self.serves, self.held = self.held[1], None
        elif isinstance(order, Abort):
            self.held = None


class World:
    """Workers, an accord and a clock."""

    def __init__(self, workers: int) -> None:
        self.now = 0.0
        self.workers: dict[int, Worker] = {}
        self.accord = Accord("small", lambda worker, order: self.workers[worker].orders.append(order), lambda: self.now)
        for number in range(workers):
            self.join(number)

    def join(self, number: int) -> None:
        self.workers[number] = Worker()
        self.accord.joined(number)

    def kill(self, number: int) -> None:
        del self.workers[number]
        self.accord.left(number)

    def settle(self, can_load: Callable[[int, int], bool] = lambda _number, _revision: True) -> None:
        while any(worker.orders for worker in self.workers.values()):
            for number, worker in self.workers.items():
                if worker.orders:
                    order = worker.orders[0]
                    revision = order.endpoint.revision if isinstance(order, Prepare) else 0
                    worker.step(self.accord, number, loads=can_load(number, revision))

    def serving(self) -> set[int]:
        return {worker.serves for worker in self.workers.values()}


def test_all_switch_once_the_last_is_warm_and_not_before() -> None:
    world = World(3)
    world.accord.saw(endpoint(1))
    world.workers[0].step(world.accord, 0, loads=True)
    world.workers[1].step(world.accord, 1, loads=True)
    assert all(isinstance(order, Prepare) for worker in world.workers.values() for order in worker.orders)
    world.settle()
    assert world.serving() == {1}


def test_one_that_fails_rolls_it_back_everywhere_and_it_is_tried_again() -> None:
    world = World(3)
    world.accord.saw(endpoint(1))
    world.settle()
    world.accord.saw(endpoint(2))
    world.settle(lambda number, revision: number != 1)
    assert world.serving() == {1}
    assert all(worker.held is None for worker in world.workers.values())
    world.accord.tick()
    assert not any(worker.orders for worker in world.workers.values())
    world.now += 3.1
    world.accord.tick()
    world.settle()
    assert world.serving() == {2}


def test_tries_come_further_apart_and_a_newer_revision_does_not_wait() -> None:
    world = World(2)
    world.accord.saw(endpoint(1))
    tries = []
    for _ in range(2000):
        if world.workers[0].orders:
            tries.append(world.now)
        world.settle(lambda number, revision: False)
        world.now += 0.25
        world.accord.tick()
    gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert gaps[0] < 4
    assert max(gaps) < 61
    assert gaps == sorted(gaps)
    world.accord.saw(endpoint(2))
    world.settle()
    assert world.serving() == {2}


def test_one_that_dies_while_it_loads_aborts_and_one_that_had_voted_does_not() -> None:
    for votes in (False, True):
        world = World(3)
        world.accord.saw(endpoint(1))
        world.settle()
        world.accord.saw(endpoint(2))
        if votes:
            world.workers[2].step(world.accord, 2, loads=True)
        world.kill(2)
        world.settle()
        assert world.serving() == ({2} if votes else {1})
        world.join(2)
        world.settle()
        world.now += 4
        world.accord.tick()
        world.settle()
        assert world.serving() == {2}


def test_one_that_starts_late_is_brought_to_what_serves_though_that_moves_on() -> None:
    world = World(2)
    world.accord.saw(endpoint(1))
    world.settle()
    world.join(2)
    world.accord.saw(endpoint(2))
    for number in (0, 1):
        while world.workers[number].orders:
            world.workers[number].step(world.accord, number, loads=True)
    assert world.accord.committed is not None
    assert world.accord.committed.revision == 2  # without the late one, which takes no requests yet
    world.settle()
    assert world.serving() == {2}


events = st.lists(
    st.one_of(
        st.tuples(st.just("step"), st.integers(0, 3), st.booleans()),
        st.tuples(st.just("saw"), st.integers(1, 6), st.just(True)),
        st.tuples(st.just("kill"), st.integers(0, 3), st.just(True)),
        st.tuples(st.just("join"), st.integers(0, 3), st.just(True)),
        st.tuples(st.just("wait"), st.integers(0, 3), st.just(True)),
    ),
    max_size=120,
)


@settings(max_examples=300, deadline=None)
@given(events)
def test_no_order_of_events_lets_one_answer_what_a_member_could_not(given_events: list[tuple[str, int, bool]]) -> None:
    world = World(3)
    for kind, number, loads in given_events:
        worker = world.workers.get(number)
        if kind == "step" and worker is not None and worker.orders:
            worker.step(world.accord, number, loads=loads)
        elif kind == "saw":
            world.accord.saw(endpoint(number))
        elif kind == "kill" and worker is not None:
            world.kill(number)
        elif kind == "join" and worker is None:
            world.join(number)
        elif kind == "wait":
            world.now += number
            world.accord.tick()
        committed = world.accord.committed
        newest = 0 if committed is None else committed.revision
        for each in world.workers.values():
            # Nobody is ahead of what was agreed, and whoever takes part has it, or has the order to switch to it.
            assert each.serves <= newest
            if each.serves and each.serves < newest:
                held = each.held is not None and any(
                    isinstance(order, Commit) and order.epoch == each.held[0] for order in each.orders
                )
                assert held or any(isinstance(order, Prepare) for order in each.orders)
    seen = max((number for kind, number, _ in given_events if kind == "saw"), default=0)
    for number in range(3):
        if number not in world.workers:
            world.join(number)
    for _ in range(300):
        world.settle()
        world.now += 1
        world.accord.tick()
    assert world.serving() == {seen}
