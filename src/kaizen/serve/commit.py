"""When logged is safe: at once, or when the disk has it, where one sync serves all that wait for it.

loop      append ─ after ─ append ─ after ───────────────────► answers 1, 2 ──► …
thread                └─ sync of 1 … (2 waits for the next) ─┘ └─ sync of 2 … ─┘
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Literal, TypeAlias

from kaizen.core.errors import KaizenError
from kaizen.core.ports import Log

logger = logging.getLogger("kaizen.serve")

FLUSH_S: Final = 1.0  # what a power cut may cost where answers do not wait for the disk
Durability: TypeAlias = Literal["os", "disk"]
Then: TypeAlias = "Callable[[KaizenError | None], None]"


class Commit:
    """Calls back when what was appended so far is as safe as was declared. Used on the loop's thread only.

    Parameters
    ----------
    log
        What is appended to.
    durability
        ``os``: `append` was enough, and the disk follows within `FLUSH_S`. ``disk``: a sync that began after it.
    later
        The loop's `call_later`.
    soon_from_thread
        The loop's `call_soon_threadsafe`.
    """

    def __init__(
        self,
        log: Log,
        durability: Durability,
        later: Callable[..., object],
        soon_from_thread: Callable[..., object],
    ) -> None:
        self._log = log
        self._waits = durability == "disk"
        self._later = later
        self._soon_from_thread = soon_from_thread
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kaizen-sync")
        self._waiting: list[Then] = []
        self._syncing = False
        self._flush_due = False
        self._closed = False
        self.syncs = 0
        self.failures = 0

    def after(self, then: Then) -> None:
        """Call `then` with None once what was appended is safe, or with the error that says that it is not."""
        if not self._waits:
            self.touch()
            then(None)
            return
        self._waiting.append(then)
        if not self._syncing:
            self._begin()

    def touch(self) -> None:
        """Note that something was appended for which nobody waits."""
        if not self._flush_due:
            self._flush_due = True
            self._later(FLUSH_S, self._flush)

    async def close(self) -> None:
        """Bring the rest to the disk and let go of the thread."""
        self._closed = True  # first: a flush may fall due while the disk is at it
        await asyncio.get_running_loop().run_in_executor(None, self._finish)

    def _finish(self) -> None:
        self._thread.shutdown()
        try:
            self._log.sync()
        except KaizenError as err:
            logger.error("not on the disk error=%s", err)  # noqa: TRY400 (a full disk needs no traceback)

    def _flush(self) -> None:
        self._flush_due = False
        if not self._syncing:
            self._begin()
        else:
            self.touch()  # the sync under way may have begun before the last append

    def _begin(self) -> None:
        if self._closed:
            return
        waiting, self._waiting = self._waiting, []
        self._syncing = True
        self._thread.submit(self._sync, waiting)

    def _sync(self, waiting: list[Then]) -> None:
        error: KaizenError | None = None
        try:
            self._log.sync()
        except KaizenError as err:
            error = err
        except Exception as err:  # whoever waits must hear of it
            error = KaizenError(f"the log could not be brought to the disk: {err!r}")
        self._soon_from_thread(self._synced, waiting, error)

    def _synced(self, waiting: list[Then], error: KaizenError | None) -> None:
        self.syncs += 1
        self._syncing = False
        if self._waiting:
            self._begin()  # the disk works while the answers are written
        if error is not None:
            self.failures += 1
            logger.error("not on the disk waiting=%d error=%s", len(waiting), error)
        for then in waiting:
            try:
                then(error)
            except Exception:  # the others wait too
                logger.exception("failed after a sync")
