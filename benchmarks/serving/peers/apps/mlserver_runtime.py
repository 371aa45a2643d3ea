"""MLServer: a custom runtime, one input tensor a column; run by `mlserver start` without parallel workers."""

from __future__ import annotations

from mlserver import MLModel
from mlserver.types import InferenceRequest, InferenceResponse, ResponseOutput
from orders_graph import Graph


class Orders(MLModel):
    """Answers orders."""

    async def load(self) -> bool:
        """Load the graph."""
        self._graph = Graph()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Return the probability of each row."""
        names = [tensor.name for tensor in payload.inputs]
        columns = [tensor.data.root for tensor in payload.inputs]
        rows = [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]
        output = ResponseOutput(name="probability", datatype="FP64", shape=[len(rows)], data=self._graph.score(rows))
        return InferenceResponse(model_name=self.name, outputs=[output])
