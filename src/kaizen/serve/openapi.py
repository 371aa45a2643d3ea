"""``GET /openapi.json``, ``/v1/schema``, ``/docs``: the contract of the revision that answers, for machines and people.

The document lists the routes that this server resolves, asked of the table itself; what is said of each is below.
It depends on the revision alone: the same revision, the same bytes.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from kaizen.core.version import __version__
from kaizen.serve.docs import locked_page, page
from kaizen.serve.generation import Generation
from kaizen.serve.message import Handler, Request
from kaizen.serve.models import Models
from kaizen.serve.oip_extensions import UNSUPPORTED
from kaizen.serve.openapi_platforms import ANSWERS, BODIES, MORE, NAMED_ONLY, UNLISTED, platform_schemas
from kaizen.serve.schema import DIALECT, MOMENT, row_schema
from kaizen.serve.scopes import GIVEN, scope_of
from kaizen.serve.tensors import DATATYPES

Schema: TypeAlias = dict[str, Any]

_ENCODER: Final = msgspec.json.Encoder()
_ID: Final[Schema] = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
_TEXT: Final[Schema] = {"type": "string"}
_WHOLE: Final[Schema] = {"type": "integer", "minimum": 0}
_MOMENT_OR_NOW: Final[Schema] = {**MOMENT, "anyOf": [*MOMENT["anyOf"], {"type": "null"}]}


class Contract:
    """Answers what the server says of itself.

    Parameters
    ----------
    models
        The endpoints.
    listed
        Gives method, path and name of every route.
    is_locked
        Whether callers are asked who they are.
    """

    def __init__(
        self, models: Models, listed: Callable[[], Sequence[tuple[str, str, str]]], *, is_locked: bool = False
    ) -> None:
        self._models = models
        self._listed = listed
        self._is_locked = is_locked
        self._kept: tuple[weakref.ref[Generation], int, bytes] | None = None

    def openapi(self, model: str | None = None) -> Handler:
        """GET /openapi.json, /openapi/{model}."""

        def handle(request: Request) -> None:
            generation, models = self._models.serving(model)[0], len(self._models)
            known = weakref.ref(generation), models  # weakly, so that a model that was let go is gone
            if self._kept is None or self._kept[:2] != known:
                routes = _concerning(generation.endpoint.name, self._listed(), is_only=models == 1)
                self._kept = *known, _ENCODER.encode(document(generation, routes, is_locked=self._is_locked))
            request.reply(self._kept[2])

        return handle

    def schema(self, model: str | None = None) -> Handler:
        """GET /v1/schema[/{model}]."""

        def handle(request: Request) -> None:
            body = _ENCODER.encode({"$schema": DIALECT, **row_schema(self._models.serving(model)[0])})
            request.reply(body, content_type=b"application/schema+json")

        return handle

    def docs(self, model: str | None = None) -> Handler:
        """GET /docs[/{model}]."""

        def handle(request: Request) -> None:
            if self._is_locked:
                html, policy = locked_page(model)
            else:
                html, policy = page(self._models.serving(model)[0], is_named=model is not None)
            extra = b"content-security-policy: %b\r\nx-content-type-options: nosniff\r\n" % policy
            request.reply(html, content_type=b"text/html; charset=utf-8", extra=extra)

        return handle


def _concerning(name: str, routes: Sequence[tuple[str, str, str]], *, is_only: bool) -> list[tuple[str, str, str]]:
    """Return the routes that one model's callers need: of two ways to ask the same, the one that fits."""
    bare = {route for _, path, route in routes if "{model}" not in path}
    named = {route for _, path, route in routes if "{model}" in path}
    return [
        (method, path.replace("{model}", name), route)
        for method, path, route in routes
        if (route not in (bare & named) or ("{model}" in path) != is_only)
        and route not in (UNSUPPORTED, *UNLISTED)
        and (is_only or route not in NAMED_ONLY)
    ]


def document(generation: Generation, routes: Sequence[tuple[str, str, str]], *, is_locked: bool = False) -> Schema:
    """Return the OpenAPI 3.1 document of these routes (method, path, name)."""
    versions = [str(arm.bundle.version) for arm in generation.arms]
    paths: dict[str, Schema] = {}
    for method, path, name in routes:
        operation = _operation(name, path) | (_locked(name) if is_locked else {})
        if "{version}" in path:
            wanted = {"type": "string", "enum": versions}
            operation["parameters"] = [{"name": "version", "in": "path", "required": True, "schema": wanted}]
            operation["operationId"] += "_version"
        if "{label}" in path:
            wanted = {"type": "string", "enum": [arm.arm.role for arm in generation.arms]}
            operation["parameters"] = [{"name": "label", "in": "path", "required": True, "schema": wanted}]
            operation["operationId"] += "_label"
        paths.setdefault(path, {})[method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "jsonSchemaDialect": DIALECT,
        "info": {
            "title": generation.endpoint.name,
            "version": str(generation.endpoint.revision),
            "summary": f"Revision {generation.endpoint.revision}, bundle {generation.arms[0].bundle.id}",
            "description": f"Served by kaizen {__version__}. `GET /docs` shows the columns and tries a prediction.",
        },
        "servers": [{"url": "/"}],
        "security": [],
        "paths": paths,
        "components": {"schemas": _schemas(generation)} | ({"securitySchemes": _SCHEMES} if is_locked else {}),
    }


def _locked(name: str) -> Schema:
    """Return what a caller of a route has to show: the scope that it needs, by either way."""
    scope = scope_of(name)
    needed = [scope] if scope in GIVEN else []
    return {"security": [] if scope == "open" else [{"bearer": needed}, {"key": needed}]}


def _operation(name: str, path: str) -> Schema:
    summary, tag, answer = (_ANSWERS | ANSWERS).get(name, (name, "other", _json({})))
    responses: Schema = {"200": {"description": "The answer.", "content": answer}}
    operation: Schema = {"operationId": name, "summary": summary, "tags": [tag], "responses": responses}
    if name in _BODIES or name in BODIES:
        content = _BODIES.get(name) or BODIES[name]
        operation["requestBody"] = {"required": name not in _MAY_BE_EMPTY, "content": content}
        responses["400"] = _error("The request is not what the signature says.")
    if name in ("load", "unload"):
        responses["200"] = {"description": "It is done."}
        responses["409"] = _error("What serves is not changed by request here, or it is being loaded.")
        responses["404"] = _error("The repository has no such model.")
    if name in ("predict", "infer"):
        responses["422"] = _error(
            "The model cannot answer one of the rows, or a row breaks a declared rule, where those refuse."
        )
    if "{version}" in path:
        responses["404"] = _error("There is no such version.")
    if name == "health":
        responses["503"] = {"description": "It starts or stops.", "content": _json(_ref("Health"))}
    elif name not in ("live", "server", "models", "metrics", "stats", "index", "load", "unload"):
        responses["503"] = _error("Nothing serves yet, too much waits, or the log cannot be written.")
        if name in ("predict", "infer"):
            responses["504"] = _error("Its time was over before it was scored.")
    responses |= MORE.get(name, {})
    responses.setdefault("default", _error("Refused."))
    return operation


_SCHEMES: Final[Schema] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or a token (JWT)."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _error(says: str) -> Schema:
    return {"description": says, "content": _json(_ref("Error"))}


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
    """Return an object with these members and no other."""
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": list(required),
        "additionalProperties": False,
    }


_ANSWERS: Final[dict[str, tuple[str, str, Schema]]] = {
    "predict": ("Answer plain rows", "rows", _json(_ref("Predictions"))),
    "feedback": ("Take what turned out to be true", "rows", _json(_ref("Accepted"))),
    "schema": ("The JSON Schema of one row", "rows", {"application/schema+json": {"schema": {"type": "object"}}}),
    "openapi": ("This document", "server", _json({"type": "object"})),
    "docs": ("A page to read the columns on and to try a prediction", "server", {"text/html": {"schema": _TEXT}}),
    "health": ("Status, revision and bundles", "server", _json(_ref("Health"))),
    "metrics": ("Every figure, as Prometheus reads them", "server", {"text/plain": {"schema": _TEXT}}),
    "server": ("The server's metadata", "open inference", _json(_ref("Server"))),
    "live": ("Whether the process lives", "open inference", _json(_ref("Live"))),
    "ready": ("Whether predictions are answered", "open inference", _json(_ref("Ready"))),
    "models": ("The models", "open inference", _json(_object({"models": {"type": "array", "items": _TEXT}}))),
    "model": ("The model's metadata", "open inference", _json(_ref("Model"))),
    "model_ready": ("Whether the model answers", "open inference", _json(_ref("ModelReady"))),
    "infer": ("Answer tensors", "open inference", _json(_ref("Inferred"))),
    "stats": ("The figures of every model", "open inference", _json(_ref("Statistics"))),
    "model_stats": ("The model's figures", "open inference", _json(_ref("Statistics"))),
    "config": ("The model's configuration", "open inference", _json(_ref("Configuration"))),
    "index": ("Which models there are", "open inference", _json({"type": "array", "items": _ref("Indexed")})),
    "load": ("Load a model, or load it again", "open inference", {}),
    "unload": ("Let go of a model", "open inference", {}),
}
_MAY_BE_EMPTY: Final = frozenset({"index", "load", "unload"})
_BODIES: Final[Mapping[str, Schema]] = {
    "predict": _json(_ref("Predict")),
    "feedback": {
        **_json({"anyOf": [_ref("Label"), _ref("Labels"), _ref("GroundTruth")]}),
        "application/x-ndjson": {"schema": {"type": "string", "description": "One label a line."}},
    },
    "infer": _json(_ref("Infer")),
    "index": _json({"type": "object", "properties": {"ready": {"type": "boolean"}}}),
    "load": _json(_object({}, {"parameters": _object({})})),
    "unload": _json(_object({}, {"parameters": _object({}, {"unload_dependents": {"type": "boolean"}})})),
}


def _schemas(generation: Generation) -> Schema:
    nullable = {"type": ["string", "null"]}
    examples = row_schema(generation).get("examples", [])
    ids = {"type": "array", "items": _ID, "uniqueItems": True}
    rows = {"type": "array", "minItems": 1, "items": _ref("Row")}
    value: Schema = {"type": "number"}
    if generation.output == "probability":
        value |= {"minimum": 0, "maximum": 1}
    answer = _object({"id": _ID, generation.output: value, "bundle": _TEXT, "arm": _TEXT})
    asked = _object(
        {"rows": rows},
        {
            "unit": {
                "description": "Whom the rows are about: a text, or a list with one for each row.",
                "anyOf": [nullable, {"type": "array", "items": nullable}],
            },
            "ids": {"description": "One a row. A repeated id counts once.", "anyOf": [ids, {"type": "null"}]},
            "at": {**_MOMENT_OR_NOW, "title": "The event time of rows without one of their own"},
            "id": {**nullable, "description": "Your own request id."},
        },
    )
    return {
        "Row": row_schema(generation),
        "Predict": asked | ({"examples": [{"rows": examples[:1]}]} if examples else {}),
        "Answer": answer,
        "Predictions": _object(
            {
                "id": _TEXT,
                "endpoint": _TEXT,
                "revision": _WHOLE,
                "predictions": {"type": "array", "items": _ref("Answer")},
            }
        ),
        "Label": _object(
            {"id": _ID, "value": {"type": ["boolean", "number"]}},
            {"at": {**_MOMENT_OR_NOW, "title": "When it became known; without it, now"}},
        ),
        "Labels": _object({"labels": {"type": "array", "items": _ref("Label")}}),
        "Accepted": _object({"accepted": _WHOLE}),
        "Error": _object({"error": {"type": "string", "description": "The path, what was expected, what was found."}}),
        "Health": _health(),
        **_open_inference(generation),
        **platform_schemas(generation),
    }


def _health() -> Schema:
    return _object(
        {
            "status": {"enum": ["ok", "degraded", "starting", "draining"]},
            "endpoint": _TEXT,
            "revision": {"type": ["integer", "null"]},
            "bundles": {"type": "object", "additionalProperties": _TEXT},
            "shadow_pending": _WHOLE,
            "shadow_dropped": _WHOLE,
            "version": _TEXT,
        },
        {"problem": _TEXT},
    )


def _open_inference(generation: Generation) -> Schema:
    yes = {"type": "boolean"}
    free = {"type": "object"}
    told = _object({"name": _TEXT, "datatype": _TEXT, "shape": {"type": "array", "items": {"type": "integer"}}})
    names = [column.name for column in generation.reader.columns] + list(generation.matrix or ())[:1]
    tensor = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "enum": names},
            "datatype": {"type": "string", "examples": sorted(set(DATATYPES.values()))},
            "shape": {"type": "array", "items": _WHOLE, "minItems": 1, "maxItems": 2},
            "data": {"type": "array"},
            "parameters": free,
        },
        "required": ["name", "datatype", "shape"],
    }
    wanted = {"type": "object", "properties": {"name": _TEXT, "parameters": free}, "required": ["name"]}
    many = {"type": "array", "items": told}
    answered = {"type": "array", "items": _TEXT}
    return {
        "Server": _object({"name": _TEXT, "version": _TEXT, "extensions": answered}),
        "Live": _object({"live": yes}),
        "Ready": _object({"ready": yes, "live": yes}),
        "ModelReady": _object({"name": _TEXT, "ready": yes}),
        "Model": _object(
            {
                "name": _TEXT,
                "versions": answered,
                "platform": _TEXT,
                "inputs": many,
                "outputs": many,
                "properties": {"type": "object", "additionalProperties": _TEXT},
            }
        ),
        **_extensions(),
        "Infer": {
            "type": "object",
            "properties": {
                "inputs": {"type": "array", "minItems": 1, "items": tensor},
                "id": {"type": ["string", "null"]},
                "outputs": {"type": ["array", "null"], "items": wanted},
                "parameters": free,
            },
            "required": ["inputs"],
        },
        "Inferred": {
            "type": "object",
            "properties": {"model_name": _TEXT, "model_version": _TEXT, "id": _TEXT, "outputs": {"type": "array"}},
            "required": ["model_name", "outputs"],
        },
    }


def _extensions() -> Schema:
    duration = _object({"count": _WHOLE, "ns": _WHOLE})
    computed = {f"compute_{stage}": duration for stage in ("input", "infer", "output")}
    ends = dict.fromkeys(("success", "fail", "queue", "cache_hit", "cache_miss"), duration)
    sizes = {"type": "array", "items": _object({"batch_size": _WHOLE, **computed})}
    figures = _object(
        {
            "name": _TEXT,
            "version": _TEXT,
            "last_inference": {**_WHOLE, "description": "Milliseconds since 1970."},
            "inference_count": {**_WHOLE, "description": "Rows."},
            "execution_count": {**_WHOLE, "description": "Batches."},
            "inference_stats": _object(ends | computed),
            "batch_stats": sizes,
        }
    )
    state = {"enum": ["READY", "UNAVAILABLE", "LOADING"]}
    whole = {"type": "array", "items": {"type": "integer"}}
    tensor = _object({"name": _TEXT, "data_type": _TEXT, "dims": whole}, {"optional": {"type": "boolean"}})
    tensors = {"type": "array", "items": tensor}
    return {
        "Statistics": _object({"model_stats": {"type": "array", "items": figures}}),
        "Indexed": _object({"name": _TEXT, "version": _TEXT, "state": state, "reason": _TEXT}),
        "Configuration": _object(
            {
                "name": _TEXT,
                "platform": _TEXT,
                "backend": _TEXT,
                "version_policy": {"type": "object"},
                "max_batch_size": _WHOLE,
                "input": tensors,
                "output": tensors,
                "parameters": {"type": "object"},
            }
        ),
    }
