"""What the OpenAPI document says of the routes of other platforms: see `openapi.py`, which puts it together."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from kaizen.serve.generation import Generation
from kaizen.serve.schema import row_schema

Schema: TypeAlias = dict[str, Any]

UNLISTED: Final = frozenset({"absent"})  # routes that only say what is not there
NAMED_ONLY: Final = frozenset({"invocations", "score", "vertex_predict"})  # that a server of several models refuses

_NUMBERS: Final[Schema] = {"type": "array", "items": {"type": "number"}}
_TEXT: Final[Schema] = {"type": "string"}


def _json(schema: Schema) -> Schema:
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def _described(says: str, content: Schema) -> Schema:
    return {"description": says, "content": content}


_PREDICTED: Final[Schema] = _json({"type": "object", "properties": {"predictions": _NUMBERS}})
_FILES: Final[Schema] = {"text/csv": {"schema": _TEXT}, "application/x-npy": {"schema": _TEXT}}
_PLAIN: Final[Schema] = {"text/plain": {"schema": _TEXT}}
_MLFLOW_ERRORS: Final[Schema] = {
    "400": _described("The request is not what the signature says.", _json(_ref("MlflowError"))),
    "415": _described("The content type is not read.", _PLAIN),
    "422": _described("The model cannot answer one of the rows.", _json(_ref("MlflowError"))),
    "503": _described("Nothing serves yet, or too much waits.", _json(_ref("MlflowError"))),
    "default": _described("Refused.", _json(_ref("MlflowError"))),
}
_AZURE_ERROR: Final[Schema] = _json(_ref("AzureError"))
MORE: Final[dict[str, Schema]] = {
    "invocations": _MLFLOW_ERRORS,
    "invoke": _MLFLOW_ERRORS,
    "score": {
        "400": _described("The request is not what the signature says.", _AZURE_ERROR),
        "503": _described("Nothing serves yet, or too much waits.", _AZURE_ERROR),
        "default": _described("Refused.", _AZURE_ERROR),
    },
    "ping": {"404": _described("A model does not serve yet.", _PLAIN)},
    "mlflow_health": {"404": _described("A model does not serve yet.", _PLAIN)},
}
ANSWERS: Final[dict[str, tuple[str, str, Schema]]] = {
    "invocations": ("Answer rows as MLflow and SageMaker ask", "mlflow, sagemaker", _PREDICTED | _FILES),
    "ping": ("Whether every model serves", "mlflow, sagemaker", _PLAIN),
    "mlflow_health": ("Whether every model serves", "mlflow, sagemaker", _PLAIN),
    "version": ("The server's version", "mlflow, sagemaker", _PLAIN),
    "alive": ("Whether the process lives", "kserve v1, tensorflow serving", _json({"type": "object"})),
    "v1_models": ("The models", "kserve v1, tensorflow serving", _json({"type": "object"})),
    "v1_model": ("Whether the model answers", "kserve v1, tensorflow serving", _json({"type": "object"})),
    "v1_metadata": ("The model's signature", "kserve v1, tensorflow serving", _json({"type": "object"})),
    "v1_predict": ("Answer instances", "kserve v1, tensorflow serving", _json(_ref("Predicted"))),
    "vertex_predict": ("Answer instances", "vertex ai", _json(_ref("Predicted"))),
    "vertex_health": ("Whether every model serves", "vertex ai", _json({"type": "object"})),
    "score": ("Answer rows", "azure ml", _json({"anyOf": [_NUMBERS, _ref("Predicted")]})),
    "score_options": ("What may be asked", "azure ml", _PLAIN),
    "swagger": ("This document", "azure ml", _json({"type": "object"})),
    "add_model": ("Load a model", "sagemaker, several models", _json(_ref("Loaded"))),
    "loaded": ("The models that were loaded", "sagemaker, several models", _json({"type": "object"})),
    "loaded_model": ("Whether a model is loaded", "sagemaker, several models", _json(_ref("Loaded"))),
    "remove_model": ("Let go of a model", "sagemaker, several models", _json({"type": "object"})),
    "invoke": ("Answer rows", "sagemaker, several models", _PREDICTED | _FILES),
}
_INVOKED: Final[Schema] = _json(_ref("Invocations")) | {
    "text/csv": {"schema": {"type": "string", "description": "With a line of names, or in the signature's order."}}
}
BODIES: Final[dict[str, Schema]] = {
    "invocations": _INVOKED,
    "invoke": _INVOKED,
    "v1_predict": _json(_ref("Instances")),
    "vertex_predict": _json(_ref("Instances")),
    "score": _json(_ref("Score")),
    "add_model": _json(_ref("Load")),
}


def platform_schemas(generation: Generation) -> Schema:
    """Return the schemas to which the above refers, for the signature of a generation."""
    row = row_schema(generation)
    columns = row["properties"]
    required = [columns[name] for name in row["required"]]
    matrix = {
        "type": "array",
        "description": f"In this order: {', '.join(row['required'])}",
        "prefixItems": required,
        "minItems": len(required),
        "maxItems": len(required),
    }
    data = {"type": "array", "minItems": 1, "items": {"anyOf": [_ref("Row"), matrix]}}
    by_column = {
        "type": "object",
        "properties": {name: {"type": "array", "minItems": 1, "items": each} for name, each in columns.items()},
        "required": row["required"],
        "additionalProperties": False,
    }
    table: Schema = {"anyOf": [data, by_column]}
    split = {
        "type": "object",
        "properties": {
            "columns": {"type": "array", "items": {"enum": list(columns)}},
            "data": {"type": "array", "minItems": 1, "items": matrix},
            "index": {"type": "array"},
        },
        "required": ["columns", "data"],
        "additionalProperties": False,
    }
    records = {"type": "array", "minItems": 1, "items": _ref("Row")}
    free = {"type": ["object", "null"]}
    forms = {"dataframe_split": split, "dataframe_records": records, "instances": table, "inputs": table}
    text = {"type": "string", "minLength": 1}
    error = {"type": "string", "description": "The path, what was expected, what was found."}
    return {
        "Invocations": _one_of(forms, {"params": free}),
        "Instances": _one_of({"instances": table, "inputs": table}, {"parameters": free}),
        "Score": _one_of({"input_data": {"anyOf": [split, *table["anyOf"]]}, "data": table, **forms}, {"params": free}),
        "Predicted": {"type": "object", "properties": {"predictions": _NUMBERS, "outputs": _NUMBERS}},
        "MlflowError": _object({"error_code": _TEXT, "message": error}),
        "AzureError": _object({"message": error}),
        "Load": {"type": "object", "properties": {"model_name": text, "url": text}, "required": ["model_name", "url"]},
        "Loaded": _object({"modelName": _TEXT, "modelUrl": _TEXT}),
        "GroundTruth": _ground_truth(),
    }


def _ground_truth() -> Schema:
    data = {"data": {"type": ["string", "number", "boolean"]}, "encoding": {"enum": ["CSV", "JSON"]}}
    identity = {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"}
    event = {"type": "object", "properties": {"eventId": identity, "inferenceId": identity}, "required": ["eventId"]}
    return {
        "type": "object",
        "description": "A label as SageMaker's Model Monitor has it; the data is one number, or true or false.",
        "properties": {
            "groundTruthData": {"type": "object", "properties": data, "required": ["data", "encoding"]},
            "eventMetadata": event,
            "eventVersion": _TEXT,
        },
        "required": ["groundTruthData", "eventMetadata"],
    }


def _one_of(forms: Schema, beside: Schema) -> Schema:
    """Return an object with exactly one of these members; unknown members are ignored, as these platforms do."""
    return {
        "type": "object",
        "properties": {**forms, **beside},
        "oneOf": [{"required": [form]} for form in forms],
    }


def _object(required: Schema) -> Schema:
    return {"type": "object", "properties": required, "required": list(required), "additionalProperties": False}
