"""Join graphs end to end: the output of one is the input of the next that has its name.

numbers, times, strings ─ features graph ─ features ─ model ─ raw ─ calibrator ─ probability
"""

from __future__ import annotations

import onnx
from onnx import compose, helper

from kaizen.core.errors import BundleError
from kaizen.graph.build import IR_VERSION


def chain(*graphs: bytes) -> bytes:
    """Return one graph that runs these in order; inner names get a prefix, so they never meet.

    An input that no earlier graph gives is an input of the whole; only the last graph's outputs leave it.

    Raises
    ------
    BundleError
        A graph gives nothing that a later one takes, two give the same name, or their operator sets differ.
    """
    models = [_prefixed(graph, f"g{at}/") for at, graph in enumerate(graphs)]
    _check_links(models)
    made: set[str] = set()
    inputs: dict[str, onnx.ValueInfoProto] = {}
    for model in models:
        for value in model.graph.input:
            if value.name not in made:
                inputs.setdefault(value.name, value)
        made.update(value.name for value in model.graph.output)
    graph = helper.make_graph(
        [node for model in models for node in model.graph.node],
        "kaizen",
        list(inputs.values()),
        list(models[-1].graph.output),
        initializer=[tensor for model in models for tensor in model.graph.initializer],
    )
    joined = helper.make_model(
        graph,
        functions=[function for model in models for function in model.functions],
        opset_imports=_opsets(models),
        ir_version=max(IR_VERSION, *(model.ir_version for model in models)),
        producer_name="kaizen",
    )
    try:
        onnx.checker.check_model(joined)
    except onnx.checker.ValidationError as err:
        raise BundleError(f"the graphs do not join: {err}") from err
    return bytes(joined.SerializeToString(deterministic=True))


def _prefixed(graph: bytes, prefix: str) -> onnx.ModelProto:
    model = onnx.load_model_from_string(graph)
    # Older graphs list their constants among the inputs too; as inputs they would leave the chain open.
    constants = {tensor.name for tensor in model.graph.initializer}
    for value in [value for value in model.graph.input if value.name in constants]:
        model.graph.input.remove(value)
    return compose.add_prefix(model, prefix, rename_inputs=False, rename_outputs=False)


def _check_links(models: list[onnx.ModelProto]) -> None:
    made: set[str] = set()
    taken: set[str] = set()
    for at, model in enumerate(models):
        wanted = {value.name for value in model.graph.input}
        given = {value.name for value in model.graph.output}
        if at and not wanted & made:
            raise BundleError(f"graph {at} takes {sorted(wanted)}, and the graphs before it give {sorted(made)}")
        taken |= wanted
        if given & taken:
            raise BundleError(f"graph {at} gives {sorted(given & taken)}, a name that is already taken")
        made |= given
        taken |= given


def _opsets(models: list[onnx.ModelProto]) -> list[onnx.OperatorSetIdProto]:
    versions: dict[str, int] = {}
    for model in models:
        for opset in model.opset_import:
            domain = "" if opset.domain == "ai.onnx" else opset.domain
            if versions.setdefault(domain, opset.version) != opset.version:
                raise BundleError(
                    f"operator set {domain or 'ai.onnx'} has version {opset.version} in one graph and "
                    f"{versions[domain]} in another",
                    fix="export the graphs with the same operator set",
                )
    return [helper.make_opsetid(domain, version) for domain, version in versions.items()]
