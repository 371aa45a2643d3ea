"""The rival: what a good engineer writes by hand to serve the same graph; run by uvicorn, see `peers`.

A typed body, one session with one thread, the model run on the loop (a thread costs more than 40 us), a typed
answer that pydantic writes as JSON. It makes no ids, keeps no log and counts nothing.
"""

from __future__ import annotations

import os
from datetime import datetime

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict, Field

MISSING_TIME = -(2**63)


class Row(BaseModel):
    """One order."""

    model_config = ConfigDict(extra="forbid")
    price: float | None
    weight: float | None
    discount: float | None
    items: float | None
    age: float | None
    distance: float | None
    member: bool | None
    kind: str | None
    country: str | None
    payment: str | None
    ordered_at: datetime | None


class Ask(BaseModel):
    """The body of a request."""

    rows: list[Row] = Field(min_length=1)


class Answer(BaseModel):
    """The body of an answer."""

    probabilities: list[float]


def _session() -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(os.environ["GRAPH"], options, providers=["CPUExecutionProvider"])


app = FastAPI()
session = _session()


def _micros(moment: datetime | None) -> int:
    return MISSING_TIME if moment is None else round(moment.timestamp() * 1e6)


@app.post("/v1/predict")
async def predict(ask: Ask) -> Answer:
    """Return the probability of each row."""
    numbers = [[r.price, r.weight, r.discount, r.items, r.age, r.distance, r.member] for r in ask.rows]
    feeds = {
        "numbers": np.array(numbers, np.float64),  # None becomes NaN
        "times": np.array([[_micros(r.ordered_at)] for r in ask.rows], np.int64),
        "strings": np.array([[r.kind or "", r.country or "", r.payment or ""] for r in ask.rows], object),
    }
    return Answer(probabilities=session.run(None, feeds)[0][:, 0].tolist())


@app.get("/healthz")
async def healthz() -> dict[str, str]:
    """Say that it serves."""
    return {"status": "ok"}
