"""The conformance suite of the log port: subclass it, say how to open a log, and pytest does the rest."""

from __future__ import annotations

import random
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest

from kaizen.core.clock import from_us
from kaizen.core.errors import StoreError
from kaizen.core.ports import Log
from kaizen.core.records import Column, LabelBatch, PredictionBatch, Role

Row: TypeAlias = tuple[Any, ...]

COLUMNS = (
    Column("distance", "number"),
    Column("Distance", "category"),
    Column("night", "boolean"),
    Column("at", "time"),
    Column("note", "text"),
)
OTHER_COLUMNS = (Column("distance", "text"), Column("id", "number"))
DAY_US = 86_400_000_000
_TEXTS = ["", "a", "it's", 'say "x"', "naïve 日本", "NULL", "nan", "2013-01-01", "tab\tline\n", "\0"]


def predictions(
    ids: Sequence[str],
    at: Sequence[int],
    *,
    columns: tuple[Column, ...] = COLUMNS,
    revision: int = 1,
    role: Role = "champion",
    seed: int = 0,
) -> PredictionBatch:
    """Return a batch with these ids and times, whose other values are drawn from a seed, odd ones included."""
    rng = random.Random(seed)
    rows = len(ids)
    types = [column.type for column in columns]
    numbers = rows * (types.count("number") + types.count("boolean"))
    times = rows * types.count("time")
    odd = [float("nan"), float("inf"), -0.0, 5e-324, 0.1 + 0.2, 1.7e308]
    return PredictionBatch(
        endpoint="flights",
        revision=revision,
        bundle="b" * 40,
        role=role,
        ids=list(ids),
        at=list(at),
        units=[rng.choice([None, "", "N1", "日本"]) for _ in ids],
        outputs=[rng.random() for _ in ids],
        propensity=[rng.choice([1.0, 0.5]) for _ in ids],
        latency_us=[rng.randrange(10**6) for _ in ids],
        requests=[rng.choice([None, "", "r"]) for _ in ids],
        columns=columns,
        numbers=struct.pack(f"<{numbers}d", *[rng.choice([*odd, rng.random()]) for _ in range(numbers)]),
        times=struct.pack(f"<{times}q", *[rng.choice([-(2**63), 2**62, 0, -1]) for _ in range(times)]),
        strings=[rng.choice(_TEXTS) for _ in range(rows * (types.count("category") + types.count("text")))],
    )


def shadow(batch: PredictionBatch) -> PredictionBatch:
    """Return a shadow's answers to the rows of a batch: the same ids and times, and no inputs."""
    return predictions(batch.ids, batch.at, columns=(), revision=batch.revision, role="shadow", seed=99)


def labels(ids: Sequence[str], at: Sequence[int]) -> LabelBatch:
    """Return labels of these ids that became known at these times."""
    return LabelBatch(ids=list(ids), values=[float(len(each) % 2) for each in ids], at=list(at))


def prediction_rows(batches: Iterable[PredictionBatch]) -> list[Row]:
    """Return what batches say, row by row, so that it does not matter where one ends and the next begins."""
    return [row for batch in batches for row in _rows(batch)]


def label_rows(batches: Iterable[LabelBatch]) -> list[Row]:
    """Return labels row by row."""
    return [row for batch in batches for row in zip(batch.ids, batch.values, batch.at, strict=True)]


def _rows(batch: PredictionBatch) -> Iterator[Row]:
    arm = (batch.endpoint, batch.revision, batch.bundle, batch.role, batch.columns)
    lists = (batch.ids, batch.at, batch.units, batch.outputs, batch.propensity, batch.latency_us, batch.requests)
    inputs = [_parts(values, len(batch.ids)) for values in (batch.numbers, batch.times, batch.strings)]
    for row in zip(*lists, *inputs, strict=True):
        yield (*arm, *row)


def _parts(values: Any, rows: int) -> list[Any]:
    width = len(values) // rows
    return [values[row * width : (row + 1) * width] for row in range(rows)]


class LogConformance:
    """What every log must do.

    A subclass says how to open one: two handles of one folder are two clients of one log, which is empty when the
    folder is. It should seal a segment every 4 KiB or so, that `compact` has something to do.

    >>> class TestMine(LogConformance):
    ...     def open(self, folder): ...
    """

    def open(self, folder: Path) -> Log:
        """Return a new handle to the log of this folder."""
        raise NotImplementedError

    @pytest.fixture
    def connect(self, tmp_path: Path) -> Iterator[Callable[[], Log]]:
        """Give what opens one handle more; all are closed in the end."""
        opened: list[Log] = []

        def one_more() -> Log:
            opened.append(self.open(tmp_path))
            return opened[-1]

        yield one_more
        for log in opened:
            log.close()

    @pytest.fixture
    def log(self, connect: Callable[[], Log]) -> Log:
        """Give a handle to an empty log."""
        return connect()

    def test_an_empty_log_has_nothing(self, log: Log) -> None:
        """Before the first batch there is nothing, not an error."""
        assert list(log.predictions()) == []
        assert list(log.labels()) == []
        assert log.compact() == 0

    def test_gives_back_batches_as_they_were(self, log: Log) -> None:
        """Each kind on its own, in the order appended, every value to the bit."""
        first, second = predictions(["a", "b"], [5, 3]), predictions(["c"], [4], columns=OTHER_COLUMNS, revision=2)
        for batch in (first, labels(["a"], [9]), shadow(first), second, labels(["b", "a"], [8, 10])):
            log.append(batch)
        assert prediction_rows(log.predictions()) == prediction_rows([first, shadow(first), second])
        assert label_rows(log.labels()) == [("a", 1.0, 9), ("b", 1.0, 8), ("a", 1.0, 10)]

    def test_cuts_to_the_range_of_event_time(self, log: Log) -> None:
        """The start belongs to the range and the end does not; inputs are cut with their rows."""
        batch = predictions([str(n) for n in range(10)], [n % 7 for n in range(10)])
        log.append(batch)
        log.append(labels(batch.ids, batch.at))
        whole = prediction_rows([batch])
        for start, end in ((2, 5), (0, 1), (6, 100), (3, 3), (-9, 0)):
            kept = [n for n in range(10) if start <= n % 7 < end]
            between = (from_us(start), from_us(end))
            assert prediction_rows(log.predictions(*between)) == [whole[n] for n in kept]
            assert [row[0] for row in label_rows(log.labels(*between))] == [str(n) for n in kept]
        assert prediction_rows(log.predictions(start=from_us(6))) == [whole[6]]
        assert prediction_rows(log.predictions(end=from_us(1))) == [whole[0], whole[7]]

    def test_others_read_what_was_appended_while_it_goes_on(self, connect: Callable[[], Log]) -> None:
        """When `append` returns, any handle finds the rows; a reader takes nothing from the one that appends."""
        writer, reader = connect(), connect()
        for number in range(60):
            writer.append(predictions([str(number)], [number]))
            writer.append(labels([str(number)], [number]))
            assert len(prediction_rows(reader.predictions())) == number + 1
            assert label_rows(reader.labels(from_us(number)))[0][0] == str(number)

    def test_sync_may_be_called_at_any_time_and_changes_nothing(self, connect: Callable[[], Log]) -> None:
        """Before the first batch, again, by who only reads, after `close`, and beside what appends."""
        log, reader = connect(), connect()
        log.sync()
        ended = threading.Event()

        def sync() -> None:
            while not ended.is_set():
                log.sync()

        with ThreadPoolExecutor(1) as thread:
            syncing = thread.submit(sync)
            days = _fill(log, 2)
            ended.set()
            syncing.result(timeout=60)
        before = _picture(reader, days)
        for handle in (log, log, reader):
            handle.sync()
        log.close()
        log.sync()
        assert _picture(reader, days) == before == _picture(connect(), days)

    def test_several_append_at_the_same_time(self, connect: Callable[[], Log]) -> None:
        """Nothing is lost or mixed up, each keeps its own order, and every scan says the same."""
        writers, reader = [connect() for _ in range(3)], connect()
        with ThreadPoolExecutor(len(writers)) as threads:
            appended = list(threads.map(_append_many, writers, range(len(writers))))
        found = (prediction_rows(reader.predictions()), label_rows(reader.labels()))
        for number, (own_predictions, own_labels) in enumerate(appended):
            assert [row for row in found[0] if row[5].startswith(f"{number}-")] == own_predictions
            assert [row for row in found[1] if row[0].startswith(f"{number}-")] == own_labels
        assert [len(rows) for rows in found] == [sum(len(own[kind]) for own in appended) for kind in (0, 1)]
        assert writers[1].compact() > 0
        again = connect()
        assert (prediction_rows(again.predictions()), label_rows(again.labels())) == found

    def test_who_comes_later_goes_on_where_any_of_them_stopped(self, connect: Callable[[], Log]) -> None:
        """Writers come and go, and what each appended stays, in whatever order they are closed."""
        first, second = connect(), connect()
        first.append(labels(["a"], [1]))
        second.append(labels(["b"], [2]))
        first.close()
        third = connect()
        third.append(labels(["c"], [3]))
        second.append(labels(["d"], [4]))
        found = [row[0] for row in label_rows(connect().labels())]
        assert sorted(found) == ["a", "b", "c", "d"]
        assert found.index("b") < found.index("d")
        assert found.index("a") < found.index("c")

    def test_goes_on_where_it_stopped(self, connect: Callable[[], Log]) -> None:
        """Opening again, many times, loses and repeats nothing."""
        expected = []
        for number in range(12):
            log = connect()
            batches = [predictions([f"{number}-{n}"], [n], revision=number % 3, seed=n) for n in range(4)]
            for batch in batches:
                log.append(batch)
            log.close()
            expected += prediction_rows(batches)
        assert prediction_rows(connect().predictions()) == expected

    def test_refuses_a_batch_whose_lists_do_not_fit(self, log: Log) -> None:
        """It could not be read again; the log stays as it was."""
        good = predictions(["a"], [1])
        log.append(good)
        with pytest.raises(StoreError, match="other lengths"):
            log.append(LabelBatch(ids=["a", "b"], values=[1.0], at=[1, 2]))
        with pytest.raises(StoreError, match="do not fit its columns"):
            log.append(msgspec.structs.replace(good, numbers=b""))
        assert prediction_rows(log.predictions()) == prediction_rows([good])
        assert list(log.labels()) == []

    def test_compaction_changes_nothing_that_a_scan_yields(self, connect: Callable[[], Log]) -> None:
        """Whole, by day, for handles old and new, while appending goes on, and when done again."""
        log, reader = connect(), connect()
        days = _fill(log, 4)
        before = _picture(reader, days)
        assert log.compact() > 0
        assert _picture(log, days) == before
        assert _picture(reader, days) == before
        assert _picture(connect(), days) == before
        assert log.compact() == 0
        log.append(predictions(["last"], [0]))
        assert prediction_rows(reader.predictions())[:-1] == before[0]

    def test_what_a_scan_has_begun_it_finishes_through_a_compaction(self, connect: Callable[[], Log]) -> None:
        """No row twice, none missing."""
        log = connect()
        _fill(log, 3)
        expected = prediction_rows(log.predictions())
        scan = connect().predictions()
        seen = [next(scan)]
        assert log.compact() > 0
        assert prediction_rows([*seen, *scan]) == expected


def _append_many(log: Log, writer: int) -> tuple[list[Row], list[Row]]:
    batches = [predictions([f"{writer}-{n}"], [n], revision=n % 3, seed=n) for n in range(80)]
    known = [labels([f"{writer}-{n}"], [n]) for n in range(80)]
    for batch, label in zip(batches, known, strict=True):
        log.append(batch)
        log.append(label)
    return prediction_rows(batches), label_rows(known)


def _fill(log: Log, days: int) -> list[tuple[datetime, datetime]]:
    rng = random.Random(days)
    for number in range(days * 30):
        at = [number * DAY_US // 30 + rng.randrange(DAY_US // 20) for _ in range(rng.randrange(1, 6))]
        ids = [f"{number}-{row}" for row in range(len(at))]
        columns = OTHER_COLUMNS if number % 40 > 30 else COLUMNS
        batch = predictions(ids, at, columns=columns, revision=number // 40, seed=number)
        log.append(batch)
        if number % 3 == 0:
            log.append(shadow(batch))
        log.append(labels(ids, [each + DAY_US for each in at]))
    return [(from_us(day * DAY_US), from_us((day + 1) * DAY_US)) for day in range(days + 2)]


def _picture(log: Log, days: Sequence[tuple[datetime, datetime]]) -> tuple[list[Row], ...]:
    by_day = [(prediction_rows(log.predictions(*day)), label_rows(log.labels(*day))) for day in days]
    return (
        prediction_rows(log.predictions()),
        label_rows(log.labels()),
        *[rows for day in by_day for rows in day],
    )
