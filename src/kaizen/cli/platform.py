"""What the platform that starts a container says through its environment: port, routes, and where the model is.

| platform  | known by                                  | port                   | model                           |
|-----------|-------------------------------------------|------------------------|---------------------------------|
| KServe    | `--model_dir`                             | `--http_port`          | `--model_dir`, `--model_name`   |
| Vertex AI | AIP_HTTP_PORT, AIP_MODE=PREDICTION        | AIP_HTTP_PORT          | AIP_STORAGE_URI                 |
| Azure ML  | AZUREML_MODEL_DIR                         |                        | AZUREML_MODEL_DIR               |
| SageMaker | SAGEMAKER_…; something in /opt/ml/model   | SAGEMAKER_BIND_TO_PORT | /opt/ml/model, or by request    |

What the command line says counts before it, and it before a project.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kaizen.core.errors import UsageError

_TRUE: Final = ("true", "1", "yes")


@dataclass(frozen=True, kw_only=True)
class Platform:
    """What is asked for.

    Attributes
    ----------
    name
        Of the platform, nothing where there is none.
    port
        To listen on; None: it does not say.
    paths
        Of models, as `kaizen serve` takes them.
    predict_route, health_route
        Further paths that answer; None: none.
    is_multi_model
        Whether models are loaded by request.
    """

    name: str = ""
    port: int | None = None
    paths: tuple[str, ...] = ()
    predict_route: str | None = None
    health_route: str | None = None
    is_multi_model: bool = False

    @property
    def host(self) -> str | None:
        """The address to listen on: a platform asks from outside the container."""
        return "0.0.0.0" if self.name else None


def told(
    environment: Mapping[str, str],
    paths: tuple[str, ...] = (),
    model_dir: str | None = None,
    model_name: str | None = None,
) -> Platform:
    """Return what is asked for by the environment, and by the paths and KServe's arguments on the command line.

    Raises
    ------
    UsageError
        A port is no number, a route no path, a name is without its folder, or the model is where this cannot fetch it.
    """
    if model_dir is not None:
        return Platform(name="KServe", paths=(*paths, model_dir if model_name is None else f"{model_name}={model_dir}"))
    if model_name is not None:
        raise UsageError("--model_name is for --model_dir", fix="kaizen serve NAME=PATH")
    asked = _environment(environment, has_paths=bool(paths))
    return dataclasses.replace(asked, paths=paths or asked.paths)


def _environment(environment: Mapping[str, str], *, has_paths: bool) -> Platform:
    if "AIP_HTTP_PORT" in environment or environment.get("AIP_MODE") == "PREDICTION":
        return _vertex(environment, has_paths=has_paths)
    if "AZUREML_MODEL_DIR" in environment:
        return Platform(name="Azure ML", paths=() if has_paths else (environment["AZUREML_MODEL_DIR"],))
    return _sagemaker(environment, has_paths=has_paths)


def _vertex(environment: Mapping[str, str], *, has_paths: bool) -> Platform:
    uri = environment.get("AIP_STORAGE_URI", "")
    if "://" in uri and not has_paths:
        raise UsageError(
            "the model is in a bucket, from which nothing is fetched here",
            where="AIP_STORAGE_URI",
            fix="put the model into the image and name its path: kaizen serve PATH",
        )
    default = ""
    if "AIP_ENDPOINT_ID" in environment and "AIP_DEPLOYED_MODEL_ID" in environment:
        endpoint, model = environment["AIP_ENDPOINT_ID"], environment["AIP_DEPLOYED_MODEL_ID"]
        default = f"/v1/endpoints/{endpoint}/deployedModels/{model}"
    return Platform(
        name="Vertex AI",
        port=_port(environment, "AIP_HTTP_PORT"),
        paths=(uri,) if uri and not has_paths else (),
        predict_route=_route(environment, "AIP_PREDICT_ROUTE", default and f"{default}:predict"),
        health_route=_route(environment, "AIP_HEALTH_ROUTE", default),
    )


def _sagemaker(environment: Mapping[str, str], *, has_paths: bool) -> Platform:
    folder = Path(environment.get("SAGEMAKER_BASE_DIR", "/opt/ml")) / "model"
    is_multi_model = environment.get("SAGEMAKER_MULTI_MODEL", "").lower() in _TRUE
    has_model = not is_multi_model and folder.is_dir() and any(folder.iterdir())
    if not (has_model or is_multi_model or "SAGEMAKER_BIND_TO_PORT" in environment):
        return Platform()
    return Platform(
        name="SageMaker",
        port=_port(environment, "SAGEMAKER_BIND_TO_PORT"),
        paths=(str(folder),) if has_model and not has_paths else (),
        is_multi_model=is_multi_model,
    )


def _port(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:6]) < 65_536):
        raise UsageError(f"{text[:32]!r} is no port", where=name, fix="name one from 0 to 65535")
    return int(text)


def _route(environment: Mapping[str, str], name: str, default: str) -> str | None:
    path = environment.get(name, default)
    if path and not path.startswith("/"):
        raise UsageError(f"{path[:64]!r} is no path", where=name, fix="begin it with /")
    return (path.rstrip("/") or "/") if path else None
