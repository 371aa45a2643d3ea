"""Lines on their way: in order, moved away, onto a full disk, into a pipe that nobody reads."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kaizen.core.errors import KaizenError
from kaizen.serve.lines import Lines


def never(*_: object) -> None:
    """Stands for a loop whose timer has not gone off."""


def at_once(_: float, then: Callable[[], None]) -> None:
    then()


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_lines_are_appended_in_order_and_the_rest_when_it_stops(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"before\n")
    lines = Lines(path, never)
    told = [b"%d %b\n" % (number, b"x" * 80) for number in range(5_000)]
    for line in told:
        lines.write(line)
    lines.stop()
    assert path.read_bytes() == b"before\n" + b"".join(told)
    assert (lines.written, lines.dropped) == (5_000, 0)


def test_nothing_is_handed_over_before_the_timer_or_a_full_block(tmp_path: Path) -> None:
    timers: list[tuple[float, Callable[[], None]]] = []
    lines = Lines(tmp_path / "a.log", lambda delay_s, then: timers.append((delay_s, then)))
    lines.write(b"1\n")
    lines.write(b"2\n")
    assert [delay_s for delay_s, _ in timers] == [0.2]
    assert lines.written == 0
    timers[0][1]()
    wait_until(lambda: lines.written == 2)
    lines.write(b"x" * (64 << 10) + b"\n")
    wait_until(lambda: lines.written == 3)
    lines.stop()


def test_a_file_that_was_moved_away_is_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    lines = Lines(path, at_once)
    lines.write(b"1\n")
    wait_until(lambda: lines.written == 1)
    path.rename(tmp_path / "a.log.1")
    lines.write(b"2\n")
    wait_until(lambda: lines.written == 2)
    path.unlink()
    lines.write(b"3\n")
    lines.stop()
    assert (tmp_path / "a.log.1").read_bytes() == b"1\n"
    assert path.read_bytes() == b"3\n"


def test_a_folder_that_goes_drops_lines_until_it_is_back(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    lines = Lines(folder / "a.log", at_once)
    folder.rename(tmp_path / "gone")
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            lines.write(b"lost\n")
            wait_until(lambda number=number: lines.dropped == number + 1)
        folder.mkdir()
        lines.write(b"back\n")
        lines.stop()
    assert (folder / "a.log").read_bytes() == b"back\n"
    assert (folder / "a.log").stat().st_mode & 0o007 == 0
    assert (lines.written, lines.dropped) == (1, 3)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2  # once that it fails, once that it works again
    assert "No such file or directory" in said[0]
    assert "dropped=3" in said[1]


def test_on_a_full_disk_whole_lines_are_counted_and_a_torn_one_is_ended(tmp_path: Path) -> None:
    code = """
import resource, sys, time
from pathlib import Path
from kaizen.serve.lines import Lines
path = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (25, resource.RLIM_INFINITY))
lines = Lines(path, lambda *_: None)
def send(*told):
    before = lines.written + lines.dropped
    for line in told:
        lines.write(line)
    lines._flush()
    while lines.written + lines.dropped < before + len(told):
        time.sleep(0.002)
send(b"123456789\\n", b"123456789\\n", b"123456789\\n")
print(lines.written, lines.dropped)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
send(b"after\\n")
print(lines.written, lines.dropped)
lines.stop()
"""
    path = tmp_path / "a.log"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=30)
    assert done.stdout.split() == ["2", "1", "3", "1"], done.stderr
    assert path.read_bytes() == b"123456789\n123456789\n12345\nafter\n"


def test_a_pipe_that_nobody_reads_stops_nobody_and_what_does_not_fit_is_counted(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    lines = Lines(pipe, never)
    line = b"x" * 999 + b"\n"
    for _ in range(8_000):  # 8 MB: a pipe holds 64 KiB, and 4 MiB may wait
        lines.write(line)
    assert 2_000 < lines.dropped < 5_000
    lines.stop()
    os.set_blocking(reader, True)
    taken = os.read(reader, 1 << 20)
    assert taken.startswith(line)
    os.close(reader)


def test_a_pipe_whose_reader_goes_drops_lines(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    lines = Lines(pipe, at_once)
    lines.write(b"1\n")
    wait_until(lambda: lines.written == 1)
    os.close(reader)
    lines.write(b"2\n")
    wait_until(lambda: lines.dropped == 1)
    lines.stop()


def test_what_several_write_to_one_pipe_does_not_mix(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    code = """
import os, sys
from kaizen.serve.lines import Lines
lines = Lines(None, lambda *_: None)
for number in range(3000):
    lines.write(sys.argv[1].encode() * 100 + b"\\n")
lines.stop()
"""
    writers = [subprocess.Popen([sys.executable, "-c", code, name], stdout=writer) for name in "ab"]
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        told = stream.read().splitlines()
    assert [each.wait(30) for each in writers] == [0, 0]
    assert sorted(set(told)) == [b"a" * 100, b"b" * 100]
    assert len(told) == 6_000


def test_standard_output_that_does_not_block_is_waited_for() -> None:
    code = """
import os
from kaizen.serve.lines import Lines
os.set_blocking(1, False)
lines = Lines(None, lambda *_: None)
for number in range(4000):
    lines.write(b"%099d\\n" % number)
lines.stop()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        time.sleep(0.5)  # the pipe is full by now
        told = writer.stdout.read().splitlines()
    assert told == [b"%099d" % number for number in range(4_000)]


def test_a_path_that_cannot_be_opened_is_an_error_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(KaizenError, match="No such file or directory") as caught:
        Lines(tmp_path / "nowhere" / "a.log", never)
    assert "serve.telemetry.access_log" in caught.value.fix
