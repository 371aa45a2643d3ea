"""The protocol of TensorFlow Serving, which KServe v1 and Vertex AI share: ``{"instances": […]}`` and one handler.

{"instances": [{"a": 1, "b": "x"}, …]}                          {"predictions": [0.3, …]}
{"instances": [[1, "x"], …]}                                    the same, in the order of the signature
{"inputs": {"a": [1, …], "b": ["x", …]}}                        {"outputs": [0.3, …]}

Beside them may stand ``parameters`` (`unit` and `at` count) and TensorFlow Serving's ``signature_name``. A version is
that of a bundle that answers; a label is the role of an arm: ``/v1/models/NAME/labels/challenger:predict``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from kaizen.core.errors import RequestError
from kaizen.serve.calls import Call
from kaizen.serve.generation import Generation, LiveArm
from kaizen.serve.intake import Intake, Table, parameters_of, reply
from kaizen.serve.message import Handler, Request
from kaizen.serve.models import Models
from kaizen.serve.reader import Reader
from kaizen.serve.tabular import one_of, read_object, rows_of

FORMS: Final = ("instances", "inputs")
SIGNATURE: Final = "serving_default"
_DTYPES: Final = {"number": "DT_DOUBLE", "boolean": "DT_BOOL", "time": "DT_INT64"}


class Instances:
    """Answers the routes below ``/v1/models``, and those that Vertex AI chooses.

    Parameters
    ----------
    models
        The endpoints.
    intake
        Takes the rows.
    """

    def __init__(self, models: Models, intake: Intake) -> None:
        self._models = models
        self._intake = intake

    def models(self, request: Request) -> None:
        """GET /v1/models."""
        _send(request, {"models": [hosted.name for hosted in self._models]})

    def alive(self, request: Request) -> None:
        """GET /: the process lives, as KServe and Azure ML ask."""
        _send(request, {"status": "alive"})

    def ready(self, request: Request) -> None:
        """Vertex AI's health route: 200 once every model serves."""
        for hosted in self._models.settled():
            hosted.current()
        _send(request, {})

    def model(self, model: str, version: str | None = None, label: str | None = None) -> Handler:
        """GET /v1/models/{model}[/versions/{version}|/labels/{label}], as KServe and TensorFlow Serving tell it."""

        def handle(request: Request) -> None:
            generation, _ = self._models.serving(model)
            arm = _chosen(version, label)(generation)
            told = generation.arms if arm is None else (arm,)
            _send(request, {"name": model, "ready": True, "model_version_status": [_status(each) for each in told]})

        return handle

    def metadata(self, model: str, version: str | None = None, label: str | None = None) -> Handler:
        """GET /v1/models/{model}[/versions/{version}|/labels/{label}]/metadata."""

        def handle(request: Request) -> None:
            generation, _ = self._models.serving(model)
            _send(request, metadata(generation, _chosen(version, label)(generation) or generation.arms[0]))

        return handle

    def predict(self, model: str | None = None, version: str | None = None, label: str | None = None) -> Handler:
        """POST /v1/models/{model}[/versions/{version}|/labels/{label}]:predict; no model: the only one."""
        chosen = _chosen(version, label)
        return lambda request: self._intake.take(request, model, read, answer, chosen)

    def absent(self, model: str) -> Handler:
        """POST /v1/models/{model}:explain, and what else of the protocol is not served."""

        def handle(_: Request) -> None:
            what = f"this server has no explainer for model {model[:64]!r}"
            raise RequestError(what, status=501, fix="ask :predict")

        return handle


def read(body: bytes, reader: Reader) -> Table:
    """Return the table of a body."""
    told = read_object(body, FORMS)
    key = one_of(told, FORMS)
    if told.get("signature_name") not in (None, "", SIGNATURE):
        raise RequestError("there is no such signature", where="signature_name", fix=f"known: {SIGNATURE}")
    return Table(rows_of(told[key], reader, key), key, parameters_of(told.get("parameters"), "parameters"))


def answer(call: Call, table: Table) -> None:
    """Send the answers, under the member that goes with the form of the request."""
    reply(call, msgspec.json.encode({"outputs" if table.key == "inputs" else "predictions": call.outputs}))


def metadata(generation: Generation, arm: LiveArm) -> dict[str, Any]:
    """Return what TensorFlow Serving tells of a model: its signature as one tensor a column."""
    columns = generation.reader.columns
    inputs = {column.name: _tensor(column.name, _DTYPES.get(column.type, "DT_STRING")) for column in columns}
    signature = {
        "inputs": inputs,
        "outputs": {generation.output: _tensor(generation.output, "DT_DOUBLE")},
        "method_name": "tensorflow/serving/predict",
    }
    spec = {"name": generation.endpoint.name, "signature_name": "", "version": str(arm.bundle.version)}
    return {"model_spec": spec, "metadata": {"signature_def": {"signature_def": {SIGNATURE: signature}}}}


def _chosen(version: str | None, label: str | None) -> Callable[[Generation], LiveArm | None]:
    def chosen(generation: Generation) -> LiveArm | None:
        if version is not None:
            return generation.of_version(version)
        return None if label is None else generation.of_role(label)

    return chosen


def _status(arm: LiveArm) -> dict[str, Any]:
    status = {"error_code": "OK", "error_message": ""}
    return {"version": str(arm.bundle.version), "state": "AVAILABLE", "status": status}


def _tensor(name: str, dtype: str) -> dict[str, Any]:
    shape = {"dim": [{"size": "-1", "name": ""}], "unknown_rank": False}
    return {"dtype": dtype, "tensor_shape": shape, "name": name}


def _send(request: Request, body: dict[str, Any]) -> None:
    request.reply(msgspec.json.encode(body))
