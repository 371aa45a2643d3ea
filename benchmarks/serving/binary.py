"""Binary tensors: the same 64 and 256 rows as plain rows, as JSON tensors and as binary tensors, of one server.

The body of a binary request is made by `tritonclient`'s own rule: JSON with the sizes, then the columns, in
little-endian; BYTES as lengths and bytes. The answer to it is binary too, as tritonclient asks for by default.

Asked of two models: the 300 trees of the other claims, which take 8 us a row themselves, whatever the form; and a bare
ONNX graph of 64 numbers a row in one tensor, which takes next to nothing, so that the form is what is measured.
"""

from __future__ import annotations

import json
import struct
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from _report import arguments, failed, goal, machine, table
from _servers import BIN, Running, free_port
from numpy.typing import NDArray

from kaizen.graph.run import Session
from serving.stage import Asked, Runs, Stage, staged

BATCHES: Final = (64, 256)
CONNECTIONS: Final = 4
BOUND: Final = 1.3
WIDTH: Final = 64
_TYPES: Final = {"member": "FP64", "ordered_at": "INT64", "kind": "BYTES", "country": "BYTES", "payment": "BYTES"}


def main() -> None:
    """Measure and print."""
    with staged(quick=arguments(__doc__).quick) as stage:
        measure(stage)
    machine("onnxruntime")


def measure(stage: Stage) -> None:
    """Measure on this stage, and print."""
    path = f"/v2/models/{stage.project.name}/infer"
    with stage.kaizen() as kaizen:
        for batch in BATCHES:
            rows = stage.rows[:batch]
            binary, length = _binary(rows)
            every = [
                Asked(kaizen, json.dumps({"rows": rows}).encode(), name="plain rows"),
                Asked(kaizen, _json(rows), path, name="JSON tensors"),
                Asked(kaizen, binary, path, {"Inference-Header-Content-Length": str(length)}, name="binary tensors"),
            ]
            _check(kaizen, every, stage.model.predict_rows(rows), length)
            _print(every, stage.in_turn(every, connections=CONNECTIONS), batch, "300 trees")
    for batch in BATCHES:
        _measure_wide(stage, batch)


def _measure_wide(stage: Stage, batch: int) -> None:
    folder = stage.own("wide")
    values = np.random.default_rng(0).normal(size=(batch, WIDTH)).astype(np.float32)
    own = _write_wide(folder / "wide.onnx", values)
    told = {"name": "X", "shape": [batch, WIDTH], "datatype": "FP32"}
    rows = [{f"f{i}": float(value) for i, value in enumerate(row)} for row in values]
    head = {
        "inputs": [told | {"parameters": {"binary_data_size": values.nbytes}}],
        "parameters": {"binary_data_output": True},
    }
    text, path = json.dumps(head).encode(), "/v2/models/wide/infer"
    port = free_port()
    command = [str(BIN / "kaizen"), "serve", str(folder / "wide.onnx"), "--trust", "--log", str(folder / "log")]
    server = Running("kaizen", [*command, "--port", str(port)], port, folder=folder, env={})
    try:
        server.wait()
        length = {"Inference-Header-Content-Length": str(len(text))}
        every = [
            Asked(server, json.dumps({"rows": rows}).encode(), name="plain rows"),
            Asked(
                server, json.dumps({"inputs": [told | {"data": values.tolist()}]}).encode(), path, name="JSON tensors"
            ),
            Asked(server, text + values.tobytes(), path, length, name="binary tensors"),
        ]
        _check(server, every, own, len(text), "value")
        _print(every, stage.in_turn(every, connections=CONNECTIONS), batch, f"{WIDTH} numbers")
    finally:
        server.stop()


def _write_wide(path: Path, values: NDArray[np.float32]) -> list[float]:
    """Write a graph that adds up the numbers of a row, and return what it answers to these."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    axes = numpy_helper.from_array(np.array([1], np.int64), "axes")
    node = helper.make_node("ReduceSum", ["X", "axes"], ["y"], keepdims=1)
    given = helper.make_tensor_value_info("X", TensorProto.FLOAT, [None, WIDTH])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 1])
    graph = helper.make_graph([node], "wide", [given], [answer], initializer=[axes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(model, str(path))
    return [float(own) for own in Session(path).run({"X": values})[:, 0]]


def _columns(rows: list[dict[str, Any]]) -> dict[str, list[Any]]:
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    columns["ordered_at"] = [round(datetime.fromisoformat(at).timestamp() * 1e6) for at in columns["ordered_at"]]
    columns["member"] = [None if value is None else float(value) for value in columns["member"]]
    return columns


def _json(rows: list[dict[str, Any]]) -> bytes:
    inputs = [
        {"name": name, "shape": [len(rows)], "datatype": _TYPES.get(name, "FP64"), "data": data}
        for name, data in _columns(rows).items()
    ]
    return json.dumps({"inputs": inputs}).encode()


def _binary(rows: list[dict[str, Any]]) -> tuple[bytes, int]:
    """Return the body, and how long the JSON at its start is."""
    inputs, parts = [], []
    for name, data in _columns(rows).items():
        datatype = _TYPES.get(name, "FP64")
        if datatype == "BYTES":
            encoded = [(text or "").encode() for text in data]
            part = b"".join([struct.pack("<I", len(text)) + text for text in encoded])
        else:
            part = np.array(data, "<i8" if datatype == "INT64" else "<f8").tobytes()  # None becomes NaN
        size = {"binary_data_size": len(part)}
        inputs.append({"name": name, "shape": [len(rows)], "datatype": datatype, "parameters": size})
        parts.append(part)
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    return head + b"".join(parts), len(head)


def _check(kaizen: Running, every: list[Asked], own: list[float], length: int, output: str = "probability") -> None:
    """Print how many answers of the three forms differ from the model's own."""
    plain, tensors, binary = every
    answers = [
        [p[output] for p in json.loads(kaizen.ask(plain.path, plain.body)[1])["predictions"]],
        json.loads(kaizen.ask(tensors.path, tensors.body)[1])["outputs"][0]["data"],
    ]
    status, body = kaizen.ask(binary.path, binary.body, {"Inference-Header-Content-Length": str(length)})
    if status != 200:
        raise RuntimeError(f"binary tensors were answered {status}: {body[:200]!r}")
    end = len(body)
    while True:  # the head's length is in a header of the answer; its JSON ends where it parses
        end = body.rindex(b"}", 0, end)
        try:
            told = json.loads(body[: end + 1])
        except ValueError:
            continue
        break
    size = told["outputs"][0]["parameters"]["binary_data_size"]
    answers.append(np.frombuffer(body[end + 1 : end + 1 + size], "<f8").tolist())
    wrong = sum(ours != expected for form in answers for ours, expected in zip(form, own, strict=True))
    print(f"  answers to {len(own)} rows in three forms that differ from the model's own in any bit: {wrong}")


def _print(every: list[Asked], found: dict[str, Runs], batch: int, model: str) -> None:
    base = found["JSON tensors"].of("rate")
    shown = [
        [
            asked.name,
            batch,
            f"{len(asked.body):,}",
            f"{found[asked.name].of('rate') * batch:,.0f}",
            f"{found[asked.name].of('cpu_us') / batch:.2f}",
            f"{found[asked.name].of('p50_us') / 1e3:.2f}",
            f"{found[asked.name].of('rate') / base:.2f}",
            found[asked.name].errors,
        ]
        for asked in every
    ]
    table(("form", "rows", "bytes", "rows/s", "CPU us/row", "p50 ms", "of JSON tensors", "errors"), shown)
    if any(runs.errors for runs in found.values()):
        failed(f"binary times JSON tensors, {batch} rows, {model}", "some answers were errors")
        return
    for form in ("JSON tensors", "plain rows"):
        ratio = found["binary tensors"].of("rate") / found[form].of("rate")
        rates = [f"{found[name].of('rate') * batch:,.0f} rows/s" for name in ("binary tensors", form)]
        goal(
            f"binary times {form}, {batch} rows, {model}",
            ratio,
            BOUND,
            least=True,
            sides=f"{rates[0]}, {form} {rates[1]}",
        )


if __name__ == "__main__":
    main()
