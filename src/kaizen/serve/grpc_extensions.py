"""What Triton adds to the protocol, over gRPC: the repository, statistics, configuration; and what is not there.

Each answer is made from the one that REST gives (`repository.py`, `oip_extensions.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from kaizen.core.errors import KaizenError
from kaizen.serve.grpc_inference import chosen
from kaizen.serve.models import Models
from kaizen.serve.oip import pinned
from kaizen.serve.oip_extensions import configuration, statistics, why_not
from kaizen.serve.repository import Catalogue
from kaizen.serve.scoring import Scoring

Answer: TypeAlias = "Callable[[Any], Any]"  # from a request's message to a response's, or an awaitable of it

_ABSENT: Final[Mapping[str, str]] = {
    **{
        f"{kind}SharedMemory{verb}": "memory"
        for kind in ("System", "Cuda")
        for verb in ("Status", "Register", "Unregister")
    },
    "TraceSetting": "trace",
    "LogSettings": "log",
}


class GrpcExtensions:
    """Answers these calls.

    Parameters
    ----------
    messages
        The class of each message by its name.
    models, scoring, catalogue
        What serves, its figures, and what may be loaded.
    """

    def __init__(self, messages: Mapping[str, Any], models: Models, scoring: Scoring, catalogue: Catalogue) -> None:
        self._messages = messages
        self._models = models
        self._scoring = scoring
        self._catalogue = catalogue

    def repository(self) -> dict[str, Answer]:
        """Return what answers each call of the repository, which two services have."""
        return {
            "RepositoryIndex": self._index,
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }

    def inference(self) -> dict[str, Answer]:
        """Return what answers the other calls."""
        return {"ModelStatistics": self._statistics, "ModelConfig": self._config}

    def _index(self, asked: Any) -> Any:
        models = self._catalogue.index(ready=asked.ready)
        return self._messages["RepositoryIndexResponse"](models=models)

    async def _load(self, asked: Any) -> Any:
        done: asyncio.Future[KaizenError | None] = asyncio.get_running_loop().create_future()

        def then(error: KaizenError | None) -> None:
            if not done.done():  # whoever asked may have gone
                done.set_result(error)

        self._catalogue.load(asked.model_name, chosen(asked.parameters), then)
        error = await done
        if error is not None:
            raise error
        return self._messages["RepositoryModelLoadResponse"]()

    def _unload(self, asked: Any) -> Any:
        self._catalogue.unload(asked.model_name, chosen(asked.parameters))
        return self._messages["RepositoryModelUnloadResponse"]()

    def _statistics(self, asked: Any) -> Any:
        told = statistics(self._models, self._scoring, asked.name or None, asked.version or None)
        return self._messages["ModelStatisticsResponse"](**told)

    def _config(self, asked: Any) -> Any:
        generation, _ = self._models.serving(asked.name)
        pinned(generation, asked.version or None)
        config = configuration(generation)
        parameters = config.pop("parameters")
        response = self._messages["ModelConfigResponse"](config=config)
        for name, value in parameters.items():
            response.config.parameters[name].string_value = value["string_value"]
        return response


def absent() -> dict[str, str]:
    """Return the calls that are not there, each with why."""
    return {name: why_not(what) for name, what in _ABSENT.items()}
