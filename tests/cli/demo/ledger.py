"""What two demos are compared by: decisions, findings and graphs, without ids and wall times."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from kaizen.core.project import Project
from kaizen.core.records import Bundle, Decision, Endpoint, Finding


def ledger(folder: Path, *, before: str = "9999") -> dict[str, list[Any]]:
    """Return the ledger of a demo up to a day, as plain values."""
    project = Project.open(folder)
    graphs = {
        bundle.id: next(file.blob for file in bundle.files if file.path == "graph.onnx")
        for bundle in project.records.find(Bundle)
    }

    def plain(record: Decision | Finding) -> dict[str, Any]:
        values = msgspec.to_builtins(record)
        for name in ("id", "parents", "findings"):
            values.pop(name, None)
        for name in ("bundle", "subject"):
            values[name] = graphs.get(values.get(name) or "", values.get(name))
        return dict(values)

    decisions = [plain(d) for d in project.records.find(Decision) if d.at.isoformat() < before]
    findings = [plain(f) for f in project.records.find(Finding) if f.at.isoformat() < before]
    endpoints = project.records.find(Endpoint)
    arms = [
        [(graphs[arm.bundle], arm.role, arm.share) for arm in e.arms] for e in endpoints if e.at.isoformat() < before
    ]
    return {"decisions": decisions, "findings": findings, "arms": arms}
