"""Models that come and go by request: loaded from a path of this machine, and let go with their memory.

load ──▶ its own thread: may this path be read? is there room? load_path ──▶ Models.add: warmed, serves ──▶ done
unload ──▶ Models.remove ──▶ when nobody holds the model any more ──▶ done

Off unless a server is given `load_path`: whoever may load by request chooses what the process reads.
"""

from __future__ import annotations

import gc
import logging
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeAlias

from kaizen.core.errors import KaizenError, RequestError, nearest
from kaizen.serve.models import EndpointSource, Hosted, Models

logger = logging.getLogger("kaizen.serve")

LoadPath: TypeAlias = "Callable[[str, Path], EndpointSource]"
Done: TypeAlias = "Callable[[RequestError | None], None]"

_FORBIDDEN: Final = tuple(map(Path, ("/dev", "/proc", "/sys")))
_PEAK: Final = 7  # times the bytes of its files that a model needs while it loads: 6.3 for a dense graph of 61 MiB
_GONE_S: Final = 10.0  # an unloading is answered by then, even if a request still holds the model
_MEMINFO: Final = Path("/proc/meminfo")
_GROUPS: Final = (  # limit, use, and what of it is cache, of a container's memory
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory.stat"),
    tuple(f"/sys/fs/cgroup/memory/memory.{name}" for name in ("limit_in_bytes", "usage_in_bytes", "stat")),
)


class PathLoader:
    """Loads and lets go of models; called on the loop, and calls back on it.

    Parameters
    ----------
    models
        Where they serve.
    load_path
        Returns a loaded model by the name that it is to have and its path; called in a thread of its own.
    soon_from_thread, later
        The loop's `call_soon_threadsafe` and `call_later`.
    """

    def __init__(
        self,
        models: Models,
        load_path: LoadPath,
        soon_from_thread: Callable[..., object],
        later: Callable[..., object],
    ) -> None:
        self._models = models
        self._load_path = load_path
        self._soon_from_thread = soon_from_thread
        self._later = later
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kaizen-load")
        self._waiting: dict[str, list[Done]] = {}  # who waits for a model that is being loaded
        self._paths: dict[str, Path] = {}  # of those that are loaded or being loaded

    @property
    def loaded(self) -> Mapping[str, Path]:
        """The models that were loaded by request and serve, by name, with their paths."""
        return {name: path for name, path in sorted(self._paths.items()) if name not in self._waiting}

    def load(self, name: str, path: Path, done: Done) -> None:
        """Load a model; `done` is called once it serves, or with why it does not. Raise a 409 if the name is taken.

        Who asks for the same while it is being loaded waits for that.
        """
        if name in self._waiting and self._paths[name] == path:
            self._waiting[name].append(done)
            return
        if name in self._paths or any(hosted.name == name for hosted in self._models):
            raise RequestError(f"model {name[:64]!r} is loaded already", status=409, fix="unload it first")
        self._paths[name] = path
        self._waiting[name] = [done]
        self._thread.submit(self._bring, name, path)

    def unload(self, name: str, done: Callable[[], None]) -> None:
        """Let go of a model; `done` is called when its memory is free. Raise a 404 if it was not loaded by request."""
        if name not in self.loaded:
            what = f"there is no model {name[:64]!r} that was loaded by request"
            raise RequestError(what, status=404, fix=nearest(name, self.loaded))
        del self._paths[name]
        once = _Once(done)
        self._when_gone(name, once)
        gc.collect()  # what serves a model refers to itself in circles
        self._later(_GONE_S, once)

    def close(self) -> None:
        """Wait for a load that is under way."""
        self._thread.shutdown(cancel_futures=True)

    # Inside

    def _when_gone(self, name: str, once: _Once) -> None:
        hosted = self._models.get(name)
        self._models.remove(name)
        if hosted.generation is None:
            once()
            return
        gone = weakref.finalize(hosted.generation.arms[0].model, self._soon_from_thread, once)
        gone.atexit = False

    def _bring(self, name: str, path: Path) -> None:
        try:
            _check(path)
            source = self._load_path(name, path)
        except RequestError as err:
            self._soon_from_thread(self._end, name, err)
        except Exception as err:  # whatever a foreign model does while it loads, it is no reason to stop
            self._soon_from_thread(self._end, name, _unfit(name, err))
        else:
            self._models.add(source, self._added)

    def _added(self, hosted: Hosted) -> None:
        self._soon_from_thread(self._settled, hosted)

    def _settled(self, hosted: Hosted) -> None:
        if hosted.generation is not None:
            self._end(hosted.name, None)
            return
        self._models.remove(hosted.name)
        problem = hosted.swap.problem
        status = 507 if "MemoryError" in problem else 400
        self._end(hosted.name, RequestError(f"model {hosted.name!r} does not serve: {problem}", status=status))

    def _end(self, name: str, error: RequestError | None) -> None:
        if error is not None:
            del self._paths[name]
        for done in self._waiting.pop(name):
            done(error)


class _Once:
    """Calls a function the first time that it is called."""

    def __init__(self, done: Callable[[], None]) -> None:
        self._done: Callable[[], None] | None = done

    def __call__(self) -> None:
        done, self._done = self._done, None
        if done is not None:
            done()


def _check(path: Path) -> None:
    """Raise a 400 if this path may not be read, and a 507 if what is there would not fit in memory."""
    real = path.resolve()
    if not path.is_absolute() or any(root in (each, *each.parents) for root in _FORBIDDEN for each in (path, real)):
        raise RequestError("models are not loaded from there", where=str(path)[:256], fix="name an absolute path")
    if not real.exists():
        raise RequestError("there is no such file or folder", where=str(path)[:256])
    files = [real] if real.is_file() else [each for each in real.rglob("*") if each.is_file()]
    needed, room = _PEAK * sum(each.stat().st_size for each in files), available_bytes()
    if needed > room:
        what = f"loading this model may need {needed >> 20} MiB, and {room >> 20} MiB are free"
        raise RequestError(what, status=507, fix="unload another first")


def _unfit(name: str, err: Exception) -> RequestError:
    if isinstance(err, MemoryError):
        return RequestError(f"there is not enough memory for model {name[:64]!r}", status=507, fix="unload another")
    if isinstance(err, KaizenError):
        return RequestError(err.what, where=err.where, fix=err.fix)
    logger.error("not loaded model=%s", name, exc_info=err)
    return RequestError(f"model {name[:64]!r} cannot be loaded: {type(err).__name__}; the server's log says more")


def available_bytes() -> int:
    """Return how much memory is free for this process, in bytes: of the machine and of its container."""
    free = [_container(*map(Path, group)) for group in _GROUPS if Path(group[0]).exists()]
    if _MEMINFO.exists():
        told = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        free.append(int(told["MemAvailable"].split()[0]) << 10)
    return min(free, default=1 << 62)


def _container(limit: Path, use: Path, stat: Path) -> int:
    told = limit.read_text().strip()
    if told == "max":
        return 1 << 62
    counts = dict(line.split() for line in stat.read_text().splitlines())
    cache = int(counts.get("total_inactive_file", counts.get("inactive_file", 0)))
    return max(0, int(told) - int(use.read_text()) + cache)
