"""The routes by which SageMaker manages the models of a multi-model endpoint.

| route                      | answers                                                                               |
|----------------------------|---------------------------------------------------------------------------------------|
| POST /models               | 200 loaded; 409 it is already; 507 no memory; 400 nothing to serve there              |
| GET /models                | {"models": [{"modelName", "modelUrl"}, …], "nextPageToken": …}                        |
| GET, DELETE /models/NAME   | 200; 404 not loaded. A model's memory is free before its deletion is answered         |
| POST /models/NAME/invoke   | as /invocations; 404 not loaded                                                       |
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import parse_qs

import msgspec

from kaizen.core.errors import RequestError, nearest
from kaizen.serve.message import Handler, Request
from kaizen.serve.pathloader import PathLoader
from kaizen.serve.reader import explained

_PAGE: Final = 100  # models


class _Load(msgspec.Struct):
    model_name: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    url: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]


class MultiModel:
    """Answers the routes below ``/models``.

    Parameters
    ----------
    loader
        Loads and lets go of models.
    invoke
        Returns what answers rows for a model's name.
    """

    def __init__(self, loader: PathLoader, invoke: Callable[[str], Handler]) -> None:
        self._loader = loader
        self.invoke = invoke
        self._decoder = msgspec.json.Decoder(_Load)

    def load(self, request: Request) -> None:
        """POST /models; answered once the model serves."""
        try:
            asked = self._decoder.decode(request.body)
        except (msgspec.MsgspecError, ValueError, RecursionError) as err:
            raise explained(err, _Load.__struct_fields__) from err
        if "\0" in asked.url:
            raise RequestError("expected a path", where="url")

        def done(error: RequestError | None) -> None:
            if error is not None:
                request.refuse(error)
                return
            _send(request, _told(asked.model_name, Path(asked.url)))

        self._loader.load(asked.model_name, Path(asked.url), done)

    def models(self, request: Request) -> None:
        """GET /models[?next_page_token=…]; the token is the last name of the page before."""
        query = parse_qs(request.head.query.decode("latin-1"))
        after = query.get("next_page_token", [""])[0]
        rest = [(name, path) for name, path in self._loader.loaded.items() if name > after]
        body: dict[str, Any] = {"models": [_told(name, path) for name, path in rest[:_PAGE]]}
        if len(rest) > _PAGE:
            body["nextPageToken"] = rest[_PAGE - 1][0]
        _send(request, body)

    def model(self, model: str) -> Handler:
        """GET /models/{model}."""

        def handle(request: Request) -> None:
            loaded = self._loader.loaded
            if model not in loaded:
                raise RequestError(f"there is no model {model[:64]!r}", status=404, fix=nearest(model, loaded))
            _send(request, _told(model, loaded[model]))

        return handle

    def unload(self, model: str) -> Handler:
        """DELETE /models/{model}."""
        return lambda request: self._loader.unload(model, lambda: _send(request, {}))


def _told(name: str, path: Path) -> dict[str, str]:
    return {"modelName": name, "modelUrl": str(path)}


def _send(request: Request, body: dict[str, Any]) -> None:
    request.reply(msgspec.json.encode(body))
