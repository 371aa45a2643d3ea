"""kaizen (改善): trains, packs, serves, watches, compares and retrains models; every change is a decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kaizen.core.version import __version__

if TYPE_CHECKING:
    from kaizen.client import AsyncClient, Client
    from kaizen.core.errors import KaizenError
    from kaizen.core.project import Project
    from kaizen.loop.compare import compare
    from kaizen.monitor.detector.detector import Detector

__all__ = ["AsyncClient", "Client", "Detector", "KaizenError", "Project", "__version__", "compare"]


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
    if name == "Detector":
        from kaizen.monitor.detector.detector import Detector

        return Detector
    if name == "compare":
        from kaizen.loop.compare import compare

        return compare
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
