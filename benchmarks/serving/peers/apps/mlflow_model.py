"""MLflow: a Python model with a signature; run once it saves the model that `mlflow models serve` serves.

python mlflow_model.py FOLDER
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import mlflow
import pandas
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from orders_graph import NUMBERS, STRINGS, Graph

_MISSING: dict[str, Any] = dict.fromkeys((*NUMBERS, *STRINGS, "ordered_at"))  # MLflow leaves out what is null


class Orders(mlflow.pyfunc.PythonModel):
    """Answers orders."""

    def load_context(self, context: Any) -> None:
        """Load the graph."""
        self._graph = Graph(context.artifacts["graph"])

    def predict(self, context: Any, model_input: pandas.DataFrame, params: Any = None) -> list[float]:  # noqa: ARG002
        """Return the probability of each row."""
        rows = model_input.to_dict("records")
        return self._graph.score([_MISSING | {k: v for k, v in row.items() if v == v} for row in rows])  # NaN: missing


def _signature() -> ModelSignature:
    types = dict.fromkeys((*STRINGS, "ordered_at"), "string")  # the boolean as double: of a boolean null is false
    columns = [ColSpec(types.get(name, "double"), name, required=False) for name in _MISSING]
    return ModelSignature(inputs=Schema(columns), outputs=Schema([ColSpec("double")]))


if __name__ == "__main__":
    mlflow.pyfunc.save_model(
        sys.argv[1],
        python_model=Orders(),
        artifacts={"graph": os.environ["GRAPH"]},
        code_paths=[str(Path(__file__).with_name("orders_graph.py"))],
        signature=_signature(),
        pip_requirements=[],
    )
