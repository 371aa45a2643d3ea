"""The graph that everybody serves, and how rows become its tensors; all it needs is numpy and ONNX Runtime."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import onnxruntime

NUMBERS = ("price", "weight", "discount", "items", "age", "distance", "member")
STRINGS = ("kind", "country", "payment")
MISSING_TIME = -(2**63)


class Graph:
    """A session with one thread, because the server has one core."""

    def __init__(self, path: str | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            path or os.environ["GRAPH"], options, providers=["CPUExecutionProvider"]
        )

    def score(self, rows: Sequence[Mapping[str, Any]]) -> list[float]:
        """Return the probability of each row."""
        feeds = {
            "numbers": np.array([[row[name] for name in NUMBERS] for row in rows], np.float64),  # None becomes NaN
            "times": np.array([[_micros(row["ordered_at"])] for row in rows], np.int64),
            "strings": np.array([[row[name] or "" for name in STRINGS] for row in rows], object),
        }
        answers: list[float] = self._session.run(None, feeds)[0][:, 0].tolist()
        return answers


def _micros(moment: str | None) -> int:
    return MISSING_TIME if moment is None else round(datetime.fromisoformat(moment).timestamp() * 1e6)
