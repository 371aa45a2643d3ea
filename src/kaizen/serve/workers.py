"""The supervisor of several workers: starts them, starts them again, lets them swap together, ends them together.

    supervisor ──fork──► worker 0 … N-1      each composes its own server, as one process alone would
        │ ▲                 │ orders, reports: `accord`; one listening socket: `listen`; figures: `tally`
        └─┴─────────────────┘

It imports little and opens nothing but the port, so there is nothing that a fork could tear: no thread, no store,
no runtime. If it dies, its workers hear it at once and stop as they do on SIGTERM.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import shutil
import signal
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Final

import msgspec

from kaizen.serve.accord import Accord, AllOpen, Begun, Failed, Open, Order, Prepared, Report, Saw
from kaizen.serve.listen import bind, reserve
from kaizen.serve.seat import Seat
from kaizen.serve.tally import Tally

logger = logging.getLogger("kaizen.serve")

_TICK_S: Final = 0.25
_BACK_OFF_S: Final = 0.1  # before a worker is started again; doubles with each early end
_BACK_OFF_MOST_S: Final = 10.0
_EARLY_S: Final = 30.0
_END_S: Final = 45.0  # for workers to answer what was asked of them; a little more than they take themselves
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[Report] = msgspec.msgpack.Decoder(Report)


def supervise(
    workers: int,
    *,
    host: str,
    port: int,
    grpc_port: int | None = None,
    folder: Path | None = None,
    stop_with_parent: bool = False,
) -> Seat:
    """Return in each of so many worker processes with its seat; the process that calls this ends inside.

    Parameters
    ----------
    workers
        How many, at least one.
    host, port
        Where all of them listen; port 0 takes a free one.
    grpc_port
        Where all of them answer gRPC; None: nowhere.
    folder
        Where this server may make a folder of its own, in which workers share what they load; None: nowhere.
    stop_with_parent
        Stop when standard input ends.

    Raises
    ------
    KaizenError
        A port cannot be had.
    SystemExit
        In the supervisor, once all workers have ended: 0 if they ended well.
    """
    supervisor = _Supervisor(workers, host, port, grpc_port, stop_with_parent=stop_with_parent)
    own, alive = (None, -1) if folder is None else _own_folder_or_none(folder)
    seat = supervisor.run(own)
    if seat is not None:
        return seat
    if own is not None:
        shutil.rmtree(own, ignore_errors=True)
        os.close(alive)
    raise SystemExit(supervisor.code)


@dataclass
class _Worker:
    pid: int
    channel: Connection
    started: float
    is_open: bool = False
    early: int = 0  # how often in a row it ended soon after its start


class _Supervisor:
    def __init__(self, workers: int, host: str, port: int, grpc_port: int | None, *, stop_with_parent: bool) -> None:
        self.code = 0
        self._count = workers
        self._sockets = bind(host, port)
        self._grpc = None if grpc_port is None else reserve(host, grpc_port)
        self._tally = Tally(workers)
        self._accords: dict[str, Accord] = {}
        self._running: dict[int, _Worker] = {}
        self._due: dict[int, float] = {0: 0.0}  # workers to start, and when; the others once the first has begun
        self._early: dict[int, int] = {}
        self._has_begun = self._is_told = self._stopping = False
        self._is_asked_to_stop = False
        self._stop_by = 0.0
        self._watches_input = stop_with_parent
        self._wake_in, self._wake_out = os.pipe()
        self._folder: Path | None = None

    def run(self, folder: Path | None) -> Seat | None:
        """Return a seat in a worker, and None in the supervisor when all is over."""
        self._folder = folder
        self._catch_signals()
        seat: Seat | None = None
        while seat is None and (self._running or (self._due and not self._stopping)):
            self._wait()
            if self._is_asked_to_stop:
                self._stop()
            self._reap()
            for accord in self._accords.values():
                accord.tick()
            seat = self._start_due()
            if seat is None and self._stopping:
                self._end()
        return seat

    # Starting

    def _start_due(self) -> Seat | None:
        for worker, due in sorted(self._due.items()):
            if not self._stopping and time.monotonic() >= due:
                del self._due[worker]
                seat = self._start(worker)
                if seat is not None:
                    return seat
        return None

    def _start(self, worker: int) -> Seat | None:
        ours, theirs = Pipe()
        is_late = any(accord.committed is not None for accord in self._accords.values())
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # one that comes in between is the worker's to handle
        pid = os.fork()
        if pid == 0:
            ours.close()
            self._let_go()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
            port = None if self._grpc is None else int(self._grpc.getsockname()[1])
            return Seat(
                worker=worker,
                channel=theirs,
                tally=self._tally,
                sockets=self._sockets,
                grpc_port=port,
                folder=self._folder,
                is_late=is_late,
            )
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        theirs.close()
        self._running[worker] = _Worker(pid, ours, time.monotonic())
        for accord in self._accords.values():
            accord.joined(worker)
        return None

    def _let_go(self) -> None:
        """Give up, in a worker, what only the supervisor may hold: others must hear when it is gone."""
        signal.set_wakeup_fd(-1)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        os.close(self._wake_in)
        os.close(self._wake_out)
        for other in self._running.values():
            other.channel.close()
        if self._watches_input:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    # Waiting

    def _catch_signals(self) -> None:
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        signal.set_wakeup_fd(self._wake_out)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _ask_to_stop(self, *_: object) -> None:
        self._is_asked_to_stop = True  # and no more: what a signal interrupts may be half-done

    def _wait(self) -> None:
        """Wait until something happens, and hear what workers report."""
        due = min(self._due.values(), default=float("inf")) - time.monotonic()
        channels: dict[Any, int] = {each.channel: worker for worker, each in self._running.items()}
        watched = [self._wake_in, *channels, *([0] if self._watches_input else [])]
        readable, _, _ = select.select(watched, [], [], max(0.0, min(_TICK_S, due)))
        for each in readable:
            if each == self._wake_in:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake_in, 4096)
            elif each == 0:
                self._hear_parent()
            else:
                self._hear(channels[each])

    def _hear_parent(self) -> None:
        if not os.read(0, 4096):
            self._watches_input = False
            self._stop()

    def _hear(self, worker: int) -> None:
        channel = self._running[worker].channel
        try:
            while channel.poll():
                self._take(worker, _DECODER.decode(channel.recv_bytes()))
        except (EOFError, OSError):
            return  # it has ended, or is about to: `_reap` knows

    def _take(self, worker: int, report: Report) -> None:
        if isinstance(report, Begun):
            if not self._has_begun:
                self._has_begun = True
                self._due |= dict.fromkeys(range(1, self._count), 0.0)
        elif isinstance(report, Open):
            self._running[worker].is_open = True
            self._tell_if_ready()
        elif isinstance(report, Saw):
            self._accord(report.name).saw(report.endpoint)
        elif isinstance(report, Prepared):
            self._accord(report.name).prepared(worker, report.epoch)
        elif isinstance(report, Failed):
            self._accord(report.name).failed(worker, report.epoch, report.reason)

    def _accord(self, name: str) -> Accord:
        if name not in self._accords:
            self._accords[name] = accord = Accord(name, self._tell, time.monotonic)
            for worker in self._running:
                accord.joined(worker)
        return self._accords[name]

    def _tell(self, worker: int, order: Order) -> None:
        with contextlib.suppress(OSError):  # it has ended: `_reap` takes it out of every accord
            self._running[worker].channel.send_bytes(_ENCODER.encode(order))

    def _tell_if_ready(self) -> None:
        if not self._is_told and len(self._running) == self._count and all(w.is_open for w in self._running.values()):
            self._is_told = True
            self._tell(min(self._running), AllOpen())

    # Ending

    def _reap(self) -> None:
        for worker, each in tuple(self._running.items()):
            pid, status = os.waitpid(each.pid, os.WNOHANG)
            if pid:
                self._hear(worker)  # what it said before
                each.channel.close()
                del self._running[worker]
                self._tally.retire(worker)
                for accord in self._accords.values():
                    accord.left(worker)
                self._ended(worker, each, os.waitstatus_to_exitcode(status))

    def _ended(self, worker: int, each: _Worker, code: int) -> None:
        if not self._has_begun:  # what is to be served cannot be: it said why
            self.code = code if code > 0 else 1
            self._stop()
        elif self._stopping:
            self.code = self.code or (0 if code in (0, -signal.SIGTERM) else 1)
        else:
            lived_s = time.monotonic() - each.started
            early = self._early[worker] = self._early.get(worker, 0) + 1 if lived_s < _EARLY_S else 0
            again_s = min(_BACK_OFF_S * 2**early, _BACK_OFF_MOST_S)
            self._due[worker] = time.monotonic() + again_s
            logger.error("worker ended worker=%d pid=%d exit=%d again_s=%.1f", worker, each.pid, code, again_s)

    def _stop(self) -> None:
        """Begin to stop: the workers answer what was asked, and end."""
        if self._stopping:
            return
        self._stopping = True
        self._stop_by = time.monotonic() + _END_S
        for each in self._sockets:
            each.close()
        self._signal(signal.SIGTERM)

    def _end(self) -> None:
        if time.monotonic() > self._stop_by:
            self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        for each in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(each.pid, number)


def _own_folder_or_none(parent: Path) -> tuple[Path | None, int]:
    try:
        return _own_folder(parent)
    except OSError as err:  # a home that may not be written to, say: it is only memory that is lost by that
        logger.warning("weights not shared folder=%s reason=%s", parent, err.strerror or err)
        return None, -1


def _own_folder(parent: Path) -> tuple[Path, int]:
    """Make a folder that only this user may enter, for this server alone; sweep up those of dead ones.

    Its lock is returned too: workers inherit it, so it is held until the last process of the server ends.
    """
    parent.mkdir(parents=True, exist_ok=True)
    with (parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for old in parent.glob("server-*"):
            _sweep(old)
        folder = Path(tempfile.mkdtemp(prefix="server-", dir=parent))
        alive = os.open(folder / "alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(alive, fcntl.LOCK_EX)
    return folder, alive


def _sweep(old: Path) -> None:
    try:
        alive = os.open(old / "alive", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        shutil.rmtree(old, ignore_errors=True)
        return
    try:
        fcntl.flock(alive, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(old, ignore_errors=True)
    except BlockingIOError:
        return  # a server that runs
    finally:
        os.close(alive)
