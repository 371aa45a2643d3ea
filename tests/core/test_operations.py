"""What servers tell of themselves: figures that add up, in files that outlive crashes and do not grow."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from kaizen.core.clock import from_us, to_us
from kaizen.core.errors import StoreError
from kaizen.core.operations import Figures, since, total
from kaizen.core.operations_file import OperationsFile

NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)


def figures(at: datetime = NOON, seed: int = 0) -> Figures:
    rng = random.Random(seed)
    buckets = {rng.randrange(32): rng.randrange(1, 9) for _ in range(3)}
    return Figures(
        at=to_us(at),
        seconds=10.0,
        starts=rng.randrange(2),
        revisions={"orders": rng.randrange(1, 9)},
        requests={"predict": {200: rng.randrange(1, 99), 503: 1}, "read": {404: 2}},
        latency=buckets,
        waited=buckets,
        rows=rng.randrange(99),
        cpu_s=float(rng.randrange(8)),
        memory_peak=rng.randrange(1 << 30),
    )


def everything(file: OperationsFile) -> Figures:
    return total(file.read(NOON - timedelta(days=400), NOON + timedelta(days=400)).figures)


def test_a_total_does_not_depend_on_the_order_or_on_what_was_added_first() -> None:
    parts = [figures(seed=seed) for seed in range(12)]
    shuffled = random.Random(1).sample(parts, 12)
    assert total(shuffled) == total(parts) == total([total(parts[:5]), total(parts[5:])])


def test_what_came_since_is_what_is_added_to_the_total_before() -> None:
    before, more = figures(seed=1), figures(NOON + timedelta(seconds=10), seed=2)
    now = total([before, more])
    came = since(now, before)
    assert total([before, came]) == now
    assert came.requests == more.requests
    quiet = since(now, now)
    assert (quiet.requests, quiet.latency, quiet.rows, quiet.seconds) == ({}, {}, 0, 0.0)


def test_what_was_appended_is_read_in_order_of_time_even_if_the_clock_went_back(tmp_path: Path) -> None:
    file = OperationsFile(tmp_path / "operations")
    parts = [figures(NOON + timedelta(seconds=offset), seed=offset + 9) for offset in (0, 10, -9, 20)]
    for part in parts:
        file.append(part)
    told = file.read(NOON - timedelta(hours=1), NOON + timedelta(hours=1))
    assert told.figures == sorted(parts, key=lambda each: each.at)
    assert told.damaged == 0
    assert file.read(NOON, NOON + timedelta(seconds=10)).figures == [parts[1]]
    assert file.first() == NOON - timedelta(seconds=9)


def test_a_folder_that_is_not_there_is_empty_and_is_not_made(tmp_path: Path) -> None:
    file = OperationsFile(tmp_path / "operations")
    assert file.read(NOON, NOON) == ([], 0)
    assert (file.first(), file.fold(NOON)) == (None, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("cut", [1, 7, 60])
def test_a_torn_tail_is_skipped_and_cut_off_by_the_next_line(tmp_path: Path, cut: int) -> None:
    file = OperationsFile(tmp_path)
    file.append(figures(seed=1))
    file.append(figures(seed=2))
    path = tmp_path / "2026-03-05.lines"
    path.write_bytes(path.read_bytes()[:-cut])
    assert file.read(NOON - timedelta(1), NOON).figures == [figures(seed=1)]
    file.append(figures(seed=3))
    told = file.read(NOON - timedelta(1), NOON)
    assert told.figures == [figures(seed=1), figures(seed=3)]
    assert told.damaged == 0


def test_a_changed_byte_costs_its_line_and_no_other(tmp_path: Path) -> None:
    file = OperationsFile(tmp_path)
    for seed in range(3):
        file.append(figures(NOON + timedelta(seconds=seed), seed=seed))
    path = tmp_path / "2026-03-05.lines"
    data = bytearray(path.read_bytes())
    place = data.index(b'"rows":', data.index(b"\n")) + 7
    data[place] = ord("7") if data[place] != ord("7") else ord("8")
    path.write_bytes(bytes(data))
    told = file.read(NOON - timedelta(1), NOON + timedelta(1))
    assert [from_us(each.at) for each in told.figures] == [NOON, NOON + timedelta(seconds=2)]
    assert told.damaged == 1


def test_lines_of_a_newer_version_are_read_as_far_as_they_are_known(tmp_path: Path) -> None:
    import zlib

    data = msgspec.json.encode({"at": to_us(NOON), "rows": 3, "watts": 7})
    (tmp_path / "2026-03-05.lines").write_bytes(b"%b %08x\n" % (data, zlib.crc32(data)))
    assert OperationsFile(tmp_path).read(NOON - timedelta(1), NOON).figures == [Figures(at=to_us(NOON), rows=3)]


def test_folding_makes_days_short_and_keeps_every_count(tmp_path: Path) -> None:
    file = OperationsFile(tmp_path)
    now = NOON + timedelta(days=120)
    for days in (0, 100, 110, 117, 119, 120):  # two that are 100 days old or more, one of 20, 10, 3, 1, and today's
        for minute in range(0, 720, 2):
            for process in range(2):
                at = NOON + timedelta(days=days, minutes=minute - 720 + 1, seconds=process)
                file.append(figures(at, seed=minute + process))
    before = everything(file)
    assert file.fold(now) == 6
    assert everything(file) == before
    lines = [len(path.read_bytes().splitlines()) for path in sorted(tmp_path.glob("*.lines"))]
    assert lines == [1, 48, 48, 144, 144, 11 * 12 + 60]
    assert file.fold(now) == 0
    folded = file.read(now - timedelta(hours=1), now).figures
    assert len(folded) == 60  # the last hour stays as it was


def test_folding_today_waits_until_it_is_worth_it(tmp_path: Path) -> None:
    file = OperationsFile(tmp_path)
    for second in range(0, 3000, 10):
        file.append(figures(NOON - timedelta(minutes=90) + timedelta(seconds=second)))
    assert file.fold(NOON) == 0
    assert file.fold(NOON + timedelta(days=1)) == 1


def test_a_late_line_joins_a_day_that_was_folded(tmp_path: Path) -> None:
    file = OperationsFile(tmp_path)
    for second in range(0, 1000, 10):
        file.append(figures(NOON + timedelta(seconds=second)))
    assert file.fold(NOON + timedelta(days=5)) == 1
    file.append(figures(NOON + timedelta(seconds=1005)))
    assert file.fold(NOON + timedelta(days=6)) == 0  # a few more may stay
    for second in range(5, 1000, 10):
        file.append(figures(NOON + timedelta(seconds=second)))
    before = everything(file)
    assert file.fold(NOON + timedelta(days=6)) == 1
    assert everything(file) == before


def _append_for_ever(folder: Path, seed: int) -> None:
    file, rows = OperationsFile(folder), 0
    while True:
        rows += 1
        at = NOON + timedelta(seconds=rows)
        file.append(Figures(at=to_us(at), rows=1, requests={str(seed): {200: 1}}))
        with (folder / f"said-{seed}").open("ab") as said:
            said.write(b".")


def _fold_for_ever(folder: Path) -> None:
    while True:
        OperationsFile(folder).fold(NOON + timedelta(days=2))


def test_processes_killed_while_they_append_and_fold_lose_and_double_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for round_ in range(3):
        running = [context.Process(target=_append_for_ever, args=(tmp_path, 3 * round_ + i)) for i in range(3)]
        running.append(context.Process(target=_fold_for_ever, args=(tmp_path,)))
        for process in running:
            process.start()
        time.sleep(0.3)
        for process in running:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
    counted = everything(OperationsFile(tmp_path)).requests
    for said in tmp_path.glob("said-*"):
        told = counted[said.name.removeprefix("said-")][200]
        assert 0 <= told - len(said.read_bytes()) <= 1  # killed between the line and the note of it


def _append_until_full(folder: Path, results: multiprocessing.Queue[tuple[int, str]]) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    file, kept = OperationsFile(folder), 0
    try:
        while True:
            file.append(figures(seed=1))
            kept += 1
    except StoreError as err:
        results.put((kept, str(err)))


def test_a_full_disk_takes_whole_lines_or_none_and_says_so(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[tuple[int, str]] = context.Queue()
    process = context.Process(target=_append_until_full, args=(tmp_path, results))
    process.start()
    kept, says = results.get(timeout=20)
    process.join()
    told = OperationsFile(tmp_path).read(NOON - timedelta(1), NOON)
    assert (len(told.figures), told.damaged) == (kept, 0)
    assert kept > 2
    assert "the figures of this process were not kept" in says
    assert "free space on this disk" in says
