"""Which models there are and which of them are loaded; loading and unloading by request, where that is allowed.

    POST /v2/repository/models/{model}/load ─▶ Repository.source, in a thread ─▶ Models.bring ─▶ 200 once it serves
                                    /unload ─▶ Models.remove: what was asked is answered, then the model is gone

A project has no repository: what serves there is changed by decisions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from kaizen.core.errors import KaizenError, RequestError, nearest
from kaizen.serve.message import Handler, Request
from kaizen.serve.models import EndpointSource, Hosted, Models
from kaizen.serve.reader import explained

logger = logging.getLogger("kaizen.serve")

Then: TypeAlias = "Callable[[KaizenError | None], None]"
_CLOSED: Final = "models are not loaded or unloaded by request here"
_OPEN: Final = "kaizen serve PATH --allow-load; in a project what serves is changed by decisions: kaizen loop"


class Repository(Protocol):
    """The models that may be loaded by name."""

    def names(self) -> Sequence[str]:
        """Return the names of all, loaded or not."""
        ...

    def source(self, name: str) -> EndpointSource:
        """Return a model as it is now; called in a thread. Raise `KaizenError` if it cannot be had."""
        ...


class Catalogue:
    """The models of a server as the protocol's repository; called on the loop.

    Parameters
    ----------
    models
        What is loaded.
    repository
        What may be; None: nothing is loaded or unloaded by request.
    thread
        An executor with one thread, so that one model is read at a time.
    soon_from_thread
        The loop's `call_soon_threadsafe`.
    """

    def __init__(
        self,
        models: Models,
        repository: Repository | None,
        thread: Executor,
        soon_from_thread: Callable[..., object],
    ) -> None:
        self._models = models
        self._repository = repository
        self._thread = thread
        self._soon_from_thread = soon_from_thread
        self._failed: dict[str, str] = {}  # why those do not serve that were to be loaded
        self._loading: set[str] = set()

    @property
    def is_open(self) -> bool:
        """Whether models are loaded and unloaded by request."""
        return self._repository is not None

    def index(self, *, ready: bool = False) -> list[dict[str, str]]:
        """Return every version of every model and its state; only those that answer if `ready`."""
        told: list[dict[str, str]] = []
        loaded = {hosted.name: hosted for hosted in self._models}
        known = () if self._repository is None else self._repository.names()
        for name in dict.fromkeys([*loaded, *known]):
            hosted = loaded.get(name)
            if hosted is not None and hosted.generation is not None:
                versions = [str(arm.bundle.version) for arm in hosted.generation.arms]
                told += [_entry(name, version, "READY") for version in versions]
            elif name in self._loading:
                told.append(_entry(name, "", "LOADING"))
            else:
                told.append(_entry(name, "", "UNAVAILABLE", self._why(name, hosted)))
        return [entry for entry in told if entry["state"] == "READY"] if ready else told

    def load(self, name: str, parameters: Mapping[str, Any], then: Then) -> None:
        """Load a model, or load it again, and call `then` once it serves, or with what is wrong.

        Until then, and if it does not load, what had its name goes on.
        """
        repository = self._checked(name)
        if parameters:
            raise _refused(max(parameters, key=lambda name: name.startswith("file:")))
        self._loading.add(name)
        self._thread.submit(self._load, repository, name, then)

    def unload(self, name: str, parameters: Mapping[str, Any]) -> None:
        """Let go of a model; one that is not loaded is let go of already."""
        self._checked(name)
        if name in self._loading:
            raise RequestError("the model is being loaded", where=name, status=409, fix="try again when it serves")
        for parameter in parameters:
            if parameter != "unload_dependents":  # nothing depends on another
                raise _refused(parameter)
            if not isinstance(parameters[parameter], bool):
                raise RequestError("expected true or false", where=f"parameters.{parameter}")
        self._failed.pop(name, None)
        if any(hosted.name == name for hosted in self._models):
            self._models.remove(name)
            logger.info("unloaded endpoint=%s", name)

    def _why(self, name: str, hosted: Hosted | None) -> str:
        if hosted is None:
            return self._failed.get(name, "unloaded")
        return hosted.swap.problem or "no revision serves yet"

    def _checked(self, name: str) -> Repository:
        repository = self._repository
        if repository is None:
            raise RequestError(_CLOSED, status=409, fix=_OPEN)
        if name not in repository.names():
            what = f"there is no model {name[:64]!r} in the repository"
            raise RequestError(what, status=404, fix=nearest(name, repository.names()))
        return repository

    def _load(self, repository: Repository, name: str, then: Then) -> None:
        """Read the model; in the thread."""
        try:
            source = repository.source(name)
            self._models.bring(source, lambda hosted: self._tell(name, hosted.swap.problem, then))
        except Exception as err:  # whatever a file does when it is read, whoever asked is answered
            if not isinstance(err, KaizenError):
                logger.exception("not loaded endpoint=%s", name)
            told = str(err) if isinstance(err, KaizenError) else "an error inside the server; its log says more"
            self._tell(name, told, then)

    def _tell(self, name: str, problem: str, then: Then) -> None:
        self._soon_from_thread(self._done, name, problem, then)

    def _done(self, name: str, problem: str, then: Then) -> None:
        self._loading.discard(name)
        if not problem:
            self._failed.pop(name, None)
            then(None)
            return
        self._failed[name] = problem
        logger.error("not loaded endpoint=%s problem=%s", name, problem)
        then(RequestError(f"the model cannot be loaded: {problem}", where=name, status=400))


class RepositoryRoutes:
    """Answers the routes below ``/v2/repository``."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def index(self, request: Request) -> None:
        """POST /v2/repository/index; the body may be empty."""
        ready = _object(request).get("ready", False)
        if not isinstance(ready, bool):
            raise RequestError("expected true or false", where="ready")
        request.reply(msgspec.json.encode(self._catalogue.index(ready=ready)))

    def load(self, model: str) -> Handler:
        """POST /v2/repository/models/{model}/load."""

        def handle(request: Request) -> None:
            self._catalogue.load(model, _parameters(request), lambda error: _answer(request, error))

        return handle

    def unload(self, model: str) -> Handler:
        """POST /v2/repository/models/{model}/unload."""

        def handle(request: Request) -> None:
            self._catalogue.unload(model, _parameters(request))
            _answer(request, None)

        return handle


def _answer(request: Request, error: KaizenError | None) -> None:
    if error is None:
        request.reply(b"")
    else:
        request.refuse(error)


def _entry(name: str, version: str, state: str, reason: str = "") -> dict[str, str]:
    return {"name": name, "version": version, "state": state, "reason": reason}


def _refused(parameter: str) -> RequestError:
    where = f"parameters.{parameter[:64]}"
    if parameter.startswith("file:"):
        return RequestError("no model is taken by upload: a file proves nothing of where it comes from", where=where)
    if parameter == "config":
        return RequestError("a model's configuration is its signature, which is not changed here", where=where)
    return RequestError("unknown parameter", where=where)


def _object(request: Request) -> dict[str, Any]:
    if not request.body.strip():
        return {}
    try:
        return msgspec.json.decode(request.body, type=dict[str, Any])
    except (msgspec.MsgspecError, ValueError, RecursionError) as err:
        raise explained(err) from err


def _parameters(request: Request) -> dict[str, Any]:
    parameters = _object(request).get("parameters", {})
    if not isinstance(parameters, dict):
        raise RequestError("expected an object", where="parameters")
    return parameters
