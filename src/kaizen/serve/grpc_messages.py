"""The messages of Open Inference Protocol v2 over gRPC, made in a descriptor pool of our own.

A client's generated code registers the same names in the process-wide pool, where a second definition is an error;
here nothing is generated and nothing is registered there, so both live in one process. Names and numbers are those
of the protocol; a field reads ``name type number``, `*` is repeated, `%` is a map from text, `|` one of several.
What Triton adds has Triton's names and numbers (its `grpc_service.proto` and `model_config.proto`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_Messages = dict[str, Sequence[str]]

_INFERENCE: Final[_Messages] = {
    "ServerLiveRequest": (),
    "ServerLiveResponse": ("live bool 1",),
    "ServerReadyRequest": (),
    "ServerReadyResponse": ("ready bool 1",),
    "ModelReadyRequest": ("name string 1", "version string 2"),
    "ModelReadyResponse": ("ready bool 1",),
    "ServerMetadataRequest": (),
    "ServerMetadataResponse": ("name string 1", "version string 2", "extensions string* 3"),
    "ModelMetadataRequest": ("name string 1", "version string 2"),
    "TensorMetadata": ("name string 1", "datatype string 2", "shape int64* 3"),
    "ModelMetadataResponse": (
        "name string 1", "versions string* 2", "platform string 3", "inputs TensorMetadata* 4",
        "outputs TensorMetadata* 5", "properties string% 6",
    ),
    "InferParameter": (
        "bool_param bool| 1", "int64_param int64| 2", "string_param string| 3", "double_param double| 4",
        "uint64_param uint64| 5",
    ),
    "InferTensorContents": (
        "bool_contents bool* 1", "int_contents int32* 2", "int64_contents int64* 3", "uint_contents uint32* 4",
        "uint64_contents uint64* 5", "fp32_contents float* 6", "fp64_contents double* 7", "bytes_contents bytes* 8",
    ),
    "InferTensor": (
        "name string 1", "datatype string 2", "shape int64* 3", "parameters InferParameter% 4",
        "contents InferTensorContents 5",
    ),
    "InferRequestedOutput": ("name string 1", "parameters InferParameter% 2"),
    "ModelInferRequest": (
        "model_name string 1", "model_version string 2", "id string 3", "parameters InferParameter% 4",
        "inputs InferTensor* 5", "outputs InferRequestedOutput* 6", "raw_input_contents bytes* 7",
    ),
    "ModelInferResponse": (
        "model_name string 1", "model_version string 2", "id string 3", "parameters InferParameter% 4",
        "outputs InferTensor* 5", "raw_output_contents bytes* 6",
    ),
    "RepositoryIndexRequest": ("repository_name string 1", "ready bool 2"),
    "ModelIndex": ("name string 1", "version string 2", "state string 3", "reason string 4"),
    "RepositoryIndexResponse": ("models ModelIndex* 1",),
    "ModelRepositoryParameter": (
        "bool_param bool| 1", "int64_param int64| 2", "string_param string| 3", "bytes_param bytes| 4",
    ),
    "RepositoryModelLoadRequest": (
        "repository_name string 1", "model_name string 2", "parameters ModelRepositoryParameter% 3",
    ),
    "RepositoryModelLoadResponse": (),
    "RepositoryModelUnloadRequest": (
        "repository_name string 1", "model_name string 2", "parameters ModelRepositoryParameter% 3",
    ),
    "RepositoryModelUnloadResponse": (),
    "ModelStreamInferResponse": ("error_message string 1", "infer_response ModelInferResponse 2"),
}  # fmt: skip
_STATISTICS: Final[_Messages] = {
    "ModelStatisticsRequest": ("name string 1", "version string 2"),
    "StatisticDuration": ("count uint64 1", "ns uint64 2"),
    "InferStatistics": (
        "success StatisticDuration 1", "fail StatisticDuration 2", "queue StatisticDuration 3",
        "compute_input StatisticDuration 4", "compute_infer StatisticDuration 5", "compute_output StatisticDuration 6",
        "cache_hit StatisticDuration 7", "cache_miss StatisticDuration 8",
    ),
    "InferBatchStatistics": (
        "batch_size uint64 1", "compute_input StatisticDuration 2", "compute_infer StatisticDuration 3",
        "compute_output StatisticDuration 4",
    ),
    "ModelStatistics": (
        "name string 1", "version string 2", "last_inference uint64 3", "inference_count uint64 4",
        "execution_count uint64 5", "inference_stats InferStatistics 6", "batch_stats InferBatchStatistics* 7",
    ),
    "ModelStatisticsResponse": ("model_stats ModelStatistics* 1",),
}  # fmt: skip
_CONFIGURATION: Final[_Messages] = {
    "ModelConfigRequest": ("name string 1", "version string 2"),
    "Specific": ("versions int64* 1",),
    "ModelVersionPolicy": ("specific Specific 3",),
    "ModelInput": ("name string 1", "data_type DataType 2", "dims int64* 4", "optional bool 8"),
    "ModelOutput": ("name string 1", "data_type DataType 2", "dims int64* 3"),
    "ModelParameter": ("string_value string 1",),
    "ModelConfig": (
        "name string 1", "platform string 2", "version_policy ModelVersionPolicy 3", "max_batch_size int32 4",
        "input ModelInput* 5", "output ModelOutput* 6", "parameters ModelParameter% 14", "backend string 17",
    ),
    "ModelConfigResponse": ("config ModelConfig 1",),
}  # fmt: skip
_HEALTH: Final[_Messages] = {"HealthCheckRequest": ("service string 1",), "HealthCheckResponse": ("status State 1",)}
_ENUMS: Final[Mapping[str, Sequence[str]]] = {
    "State": ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"),
    "DataType": (
        "TYPE_INVALID", "TYPE_BOOL", "TYPE_UINT8", "TYPE_UINT16", "TYPE_UINT32", "TYPE_UINT64", "TYPE_INT8",
        "TYPE_INT16", "TYPE_INT32", "TYPE_INT64", "TYPE_FP16", "TYPE_FP32", "TYPE_FP64", "TYPE_STRING", "TYPE_BF16",
    ),
}  # fmt: skip

_SCALARS: Final[Mapping[str, int]] = {
    name: getattr(FieldDescriptorProto, f"TYPE_{name.upper()}")
    for name in ("bool", "int32", "int64", "uint32", "uint64", "float", "double", "string", "bytes")
}


def messages() -> dict[str, Any]:
    """Return the class of each message by its short name."""
    inference = FileDescriptorProto(name="kaizen/inference.proto", package="inference", syntax="proto3")
    health = FileDescriptorProto(name="kaizen/health.proto", package="grpc.health.v1", syntax="proto3")
    inference.enum_type.append(_enum("DataType"))
    health.enum_type.append(_enum("State"))
    pool = DescriptorPool()
    classes: dict[str, Any] = {}
    for file, described in ((inference, _INFERENCE | _STATISTICS | _CONFIGURATION), (health, _HEALTH)):
        for name, fields in described.items():
            _describe(file.message_type.add(name=name), fields, f".{file.package}")
        pool.AddSerializedFile(file.SerializeToString())
        for name in described:
            classes[name] = GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.{name}"))
    return classes


def _describe(message: DescriptorProto, fields: Sequence[str], package: str) -> None:
    for field in fields:
        name, kind, number = field.split()
        _add(message, name, kind, int(number), package)


def _add(message: DescriptorProto, name: str, kind: str, number: int, package: str) -> None:
    base = kind.rstrip("*%|")
    field = message.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
    if kind.endswith("%"):
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        _describe(entry, ("key string 1", f"value {base} 2"), package)
        base = f"{message.name}.{entry.name}"
    if kind.endswith(("*", "%")):
        field.label = FieldDescriptorProto.LABEL_REPEATED
    if kind.endswith("|"):
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0
    if base in _SCALARS:
        field.type = _SCALARS[base]
        return
    field.type = FieldDescriptorProto.TYPE_ENUM if base in _ENUMS else FieldDescriptorProto.TYPE_MESSAGE
    field.type_name = f"{package}.{base}"


def _enum(name: str) -> EnumDescriptorProto:
    enum = EnumDescriptorProto(name=name)
    for number, value in enumerate(_ENUMS[name]):
        enum.value.add(name=value, number=number)
    return enum
