"""What Triton adds to the Open Inference Protocol: statistics and configuration; and what is not there, refused.

| route                                            | answers                                    |
|--------------------------------------------------|--------------------------------------------|
| ``GET /v2/models/stats``, ``…/{model}/stats``    | the figures of each version that answers   |
| ``GET /v2/models/{model}/config``                | the model's configuration in Triton's form |
| traces, log settings, shared memory              | 501, and where the same is to be had       |
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from kaizen.core.errors import RequestError
from kaizen.serve.generation import Generation
from kaizen.serve.message import Handler, Request
from kaizen.serve.models import Models
from kaizen.serve.oip import metadata, pinned
from kaizen.serve.scoring import Scoring
from kaizen.serve.stages import Stages
from kaizen.serve.statistics import told

_ONE: Final = "/v2/models/{model}"
_VERSION: Final = "/v2/models/{model}/versions/{version}"
_REGIONS: Final = ("/v2/systemsharedmemory", "/v2/cudasharedmemory")
_ABSENT: Final = {
    "trace": ("traces are not set by request", "GET /metrics has the time of each stage"),
    "log": ("the server's log is not set by request", ""),
    "memory": ("there is no shared memory", "send the data in the request"),
}
UNSUPPORTED: Final = "unsupported"  # the name of the routes that say what is not there


class Extensions:
    """Answers statistics and configurations.

    Parameters
    ----------
    models
        The endpoints.
    scoring
        Whose figures they are.
    """

    def __init__(self, models: Models, scoring: Scoring) -> None:
        self._models = models
        self._scoring = scoring

    def statistics(self, model: str | None = None, version: str | None = None) -> Handler:
        """GET /v2/models/stats, /v2/models/{model}[/versions/{version}]/stats."""
        return lambda request: _send(request, statistics(self._models, self._scoring, model, version))

    def configuration(self, model: str, version: str | None = None) -> Handler:
        """GET /v2/models/{model}[/versions/{version}]/config."""

        def handle(request: Request) -> None:
            generation, _ = self._models.serving(model)
            pinned(generation, version)
            _send(request, configuration(generation))

        return handle


def statistics(
    models: Models, scoring: Scoring, model: str | None = None, version: str | None = None
) -> dict[str, Any]:
    """Return the figures of every version that answers, of all models or of one; raise a 404 if it is not there."""
    if model is None:
        generations = [hosted.generation for hosted in models if hosted.generation is not None]
    else:
        generations = [models.serving(model)[0]]
    figures = []
    for generation in generations:
        chosen = pinned(generation, version)
        arms = generation.arms if chosen is None else (chosen,)
        names = [(generation.endpoint.name, str(arm.bundle.version)) for arm in arms]
        figures += [told(*name, scoring.stages.get(name) or Stages()) for name in names]
    return {"model_stats": figures}


def configuration(generation: Generation) -> dict[str, Any]:
    """Return a model's configuration in Triton's form.

    `max_batch_size` is 0 because the rows are a dimension of each tensor, as the metadata has it; batches are made
    all the same.
    """
    about = metadata(generation)
    optional = {column.name for column in generation.reader.columns[generation.reader.required :]}
    inputs = [_tensor(given) | ({"optional": True} if given["name"] in optional else {}) for given in about["inputs"]]
    return {
        "name": about["name"],
        "platform": about["platform"],
        "backend": "onnxruntime",
        "version_policy": {"specific": {"versions": [int(version) for version in about["versions"]]}},
        "max_batch_size": 0,
        "input": inputs,
        "output": [_tensor(given) for given in about["outputs"]],
        "parameters": {name: {"string_value": value} for name, value in about["properties"].items()},
    }


def unsupported() -> list[tuple[str, str, Handler]]:
    """Return method, path and handler of what Triton has and this server has not."""
    paths = [("GET", "/v2/trace/setting", "trace"), ("POST", "/v2/trace/setting", "trace")]
    paths += [(method, f"{_ONE}/trace/setting", "trace") for method in ("GET", "POST")]
    paths += [(method, "/v2/logging", "log") for method in ("GET", "POST")]
    for region in _REGIONS:
        paths += [("GET", f"{region}/status", "memory"), ("POST", f"{region}/unregister", "memory")]
        paths += [("GET", f"{region}/region/{{region}}/status", "memory")]
        paths += [("POST", f"{region}/region/{{region}}/{verb}", "memory") for verb in ("register", "unregister")]
    return [(method, path, _refusing(*_ABSENT[what])) for method, path, what in paths]


def why_not(what: str) -> str:
    """Return why something is not there: of "trace", "log" and "memory"."""
    return "; ".join(filter(None, _ABSENT[what]))


def _refusing(what: str, fix: str) -> Handler:
    def handle(_: Request) -> None:
        raise RequestError(what, status=501, fix=fix)

    return handle


def _tensor(given: dict[str, Any]) -> dict[str, Any]:
    datatype = "STRING" if given["datatype"] == "BYTES" else given["datatype"]
    return {"name": given["name"], "data_type": f"TYPE_{datatype}", "dims": given["shape"]}


def _send(request: Request, body: dict[str, Any]) -> None:
    request.reply(msgspec.json.encode(body))
