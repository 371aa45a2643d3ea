"""kaizen (改善): trains, packs, serves, watches, compares and retrains models; every change is a decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kaizen.client import AsyncClient, Client
    from kaizen.core.errors import KaizenError
    from kaizen.core.project import Project

__all__ = ["AsyncClient", "Client", "KaizenError", "Project", "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Loaded when asked for: `import kaizen` stays as cheap as an empty module.
    if name == "Project":
        from kaizen.core.project import Project

        return Project
    if name == "KaizenError":
        from kaizen.core.errors import KaizenError

        return KaizenError
    if name in ("AsyncClient", "Client"):
        from kaizen import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
