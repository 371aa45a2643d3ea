"""Every route that another platform's contract asks for, on one screen.

| platform                      | routes                                                                 |
|-------------------------------|------------------------------------------------------------------------|
| MLflow                        | POST /invocations; GET /ping, /health, /version                        |
| KServe v1, TensorFlow Serving | GET /, /v1/models, /v1/models/NAME[/versions/N or /labels/ROLE]        |
|                               | GET …/metadata; POST …:predict                                         |
| SageMaker                     | POST /invocations; GET /ping                                           |
| SageMaker, several models     | POST, GET /models; GET, DELETE /models/NAME; POST /models/NAME/invoke  |
| Vertex AI                     | the two routes that its environment names                              |
| Azure ML                      | POST, OPTIONS /score; GET /swagger.json, /                             |
"""

from __future__ import annotations

from kaizen.core.version import __version__
from kaizen.serve import azure, invocations
from kaizen.serve.azure import Azure
from kaizen.serve.instances import Instances
from kaizen.serve.intake import Intake
from kaizen.serve.invocations import Invocations
from kaizen.serve.message import Handler
from kaizen.serve.models import Models
from kaizen.serve.pathloader import PathLoader
from kaizen.serve.routes import Routes
from kaizen.serve.sagemaker import MultiModel

_CHOSEN = ("", "/versions/{version}", "/labels/{label}")


class Platforms:
    """Adds the routes of other platforms to a table.

    Parameters
    ----------
    models
        The endpoints.
    intake
        Takes the rows.
    loader
        Loads models by request; None: nobody may.
    predict_route, health_route
        Paths that Vertex AI chooses; None: it does not.
    """

    def __init__(
        self,
        models: Models,
        intake: Intake,
        loader: PathLoader | None,
        *,
        predict_route: str | None = None,
        health_route: str | None = None,
    ) -> None:
        self._instances = Instances(models, intake)
        self._invocations = Invocations(__version__, models, intake, is_multi_model=loader is not None)
        self._azure = Azure(intake)
        self._loader = loader
        self._predict_route = predict_route
        self._health_route = health_route

    def add(self, routes: Routes, openapi: Handler) -> None:
        """Add every route; `openapi` answers with the document of the server."""
        self._mlflow(routes)
        self._v1(routes)
        self._vertex(routes)
        routes.add("POST", "/score", "score", self._azure.score, azure.refusal)
        routes.add("OPTIONS", "/score", "score_options", self._azure.options)
        routes.add("GET", "/swagger.json", "swagger", openapi)
        if self._loader is not None:
            self._sagemaker(routes, MultiModel(self._loader, self._invocations.of))

    def _mlflow(self, routes: Routes) -> None:
        routes.add("POST", "/invocations", "invocations", self._invocations.of(), invocations.refusal)
        routes.add("GET", "/ping", "ping", self._invocations.ping)
        routes.add("GET", "/health", "mlflow_health", self._invocations.ping)
        routes.add("GET", "/version", "version", self._invocations.version)

    def _v1(self, routes: Routes) -> None:
        routes.add("GET", "/", "alive", self._instances.alive)
        routes.add("GET", "/v1/models", "v1_models", self._instances.models)
        for chosen in _CHOSEN:
            base = f"/v1/models/{{model}}{chosen}"
            routes.add_pattern("POST", f"{base}:predict", "v1_predict", self._instances.predict)
            routes.add_pattern("GET", f"{base}/metadata", "v1_metadata", self._instances.metadata)
            routes.add_pattern("GET", base, "v1_model", self._instances.model)
        for absent in ("explain", "classify", "regress"):
            routes.add_pattern("POST", f"/v1/models/{{model}}:{absent}", "absent", self._instances.absent)

    def _vertex(self, routes: Routes) -> None:
        if self._predict_route is not None:
            routes.add("POST", self._predict_route, "vertex_predict", self._instances.predict())
        if self._health_route is not None:
            routes.add("GET", self._health_route, "vertex_health", self._instances.ready)

    def _sagemaker(self, routes: Routes, several: MultiModel) -> None:
        routes.add("POST", "/models", "add_model", several.load)
        routes.add("GET", "/models", "loaded", several.models)
        routes.add_pattern("GET", "/models/{model}", "loaded_model", several.model)
        routes.add_pattern("DELETE", "/models/{model}", "remove_model", several.unload)
        routes.add_pattern("POST", "/models/{model}/invoke", "invoke", several.invoke, invocations.refusal)
