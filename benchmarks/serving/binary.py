"""Binary tensors: the same 64 and 256 rows as plain rows, as JSON tensors and as binary tensors, of one server.

The body of a binary request is made by `tritonclient`'s own rule: JSON with the sizes, then the columns, in
little-endian; BYTES as lengths and bytes. The answer to it is binary too, as tritonclient asks for by default.
"""

from __future__ import annotations

import json
import struct
from datetime import datetime
from typing import Any, Final

import numpy as np
from _report import arguments, failed, goal, machine, table
from _servers import Running

from serving.stage import Asked, Runs, Stage, staged

BATCHES: Final = (64, 256)
CONNECTIONS: Final = 4
BOUND: Final = 1.3
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
            _print(every, stage.in_turn(every, connections=CONNECTIONS), batch)


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


def _check(kaizen: Running, every: list[Asked], own: list[float], length: int) -> None:
    """Print how many answers of the three forms differ from the model's own."""
    plain, tensors, binary = every
    answers = [
        [p["probability"] for p in json.loads(kaizen.ask(plain.path, plain.body)[1])["predictions"]],
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


def _print(every: list[Asked], found: dict[str, Runs], batch: int) -> None:
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
        failed(f"binary times JSON tensors, {batch} rows", "some answers were errors")
        return
    for form in ("JSON tensors", "plain rows"):
        ratio = found["binary tensors"].of("rate") / found[form].of("rate")
        rates = [f"{found[name].of('rate') * batch:,.0f} rows/s" for name in ("binary tensors", form)]
        goal(f"binary times {form}, {batch} rows", ratio, BOUND, least=True, sides=f"{rates[0]}, {form} {rates[1]}")


if __name__ == "__main__":
    main()
