"""Large bodies are read in a thread, so that the loop goes on answering the small ones."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Final, TypeVar

from kaizen.core.errors import RequestError
from kaizen.serve.message import Request

logger = logging.getLogger("kaizen.serve")

LARGE_BYTES: Final = 256 << 10
T = TypeVar("T")


class Aside:
    """Reads a body here if it is small and in the thread if it is large, and goes on with what it says.

    Parameters
    ----------
    thread
        An executor with one thread, not the one that scores.
    soon_from_thread
        The loop's `call_soon_threadsafe`.
    """

    def __init__(self, thread: Executor, soon_from_thread: Callable[..., object]) -> None:
        self._thread = thread
        self._soon_from_thread = soon_from_thread

    def run(self, request: Request, read: Callable[[], T], then: Callable[[T], None]) -> None:
        """Call `then` on the loop with what `read` returned; a `RequestError` of either is the answer."""
        if len(request.body) <= LARGE_BYTES:
            then(read())
            return
        self._thread.submit(self._read, request, read, then)

    def _read(self, request: Request, read: Callable[[], T], then: Callable[[T], None]) -> None:
        try:
            result = read()
        except Exception as err:
            self._soon_from_thread(_refuse, request, err)
        else:
            self._soon_from_thread(_go_on, request, then, result)


def _go_on(request: Request, then: Callable[[T], None], result: T) -> None:
    try:
        then(result)
    except Exception as err:  # a request that is never answered would be worse
        _refuse(request, err)


def _refuse(request: Request, err: Exception) -> None:
    if not isinstance(err, RequestError):
        logger.error("failed route=%s", request.head.route.name, exc_info=err)
        err = RequestError("an error inside the server; its log says more", status=500)
    request.refuse(err)
