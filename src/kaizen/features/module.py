"""Read `features.py`: a module of the project that declares `FEATURES`, names to expressions."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

from kaizen.core.errors import FeatureError, KaizenError
from kaizen.features.declare import Expression

_FIX = 'write FEATURES = {"name": expression, …}'


def load_module(path: Path) -> dict[str, Expression]:
    """Return the features that a module declares; it is run, as a part of the project.

    Raises
    ------
    FeatureError
        The module cannot be read or run, or FEATURES is not what it should be; with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        code = compile(text, str(path), "exec")
    except SyntaxError as err:
        raise FeatureError(f"is not Python: {err.msg}", where=f"{path}:{err.lineno}") from err
    except (OSError, ValueError) as err:
        raise FeatureError(f"cannot be read: {err}", where=str(path)) from err
    namespace: dict[str, Any] = {"__name__": "features", "__file__": str(path)}
    try:
        exec(code, namespace)
    except Exception as err:
        what = err.what if isinstance(err, KaizenError) else f"{type(err).__name__}: {err}"
        fix = err.fix if isinstance(err, KaizenError) else ""
        raise FeatureError(what, where=f"{path}:{_line(err, path)}", fix=fix) from err
    return _checked(namespace.get("FEATURES"), str(path))


def _checked(features: object, where: str) -> dict[str, Expression]:
    if not isinstance(features, dict) or not features:
        raise FeatureError("declares no FEATURES", where=where, fix=_FIX)
    for name, expression in features.items():
        if not isinstance(name, str) or not isinstance(expression, Expression):
            raise FeatureError(f"{name!r} is {expression!r}, no expression", where=f"{where}: FEATURES", fix=_FIX)
    return dict(features)


def _line(err: Exception, path: Path) -> int:
    lines = [frame.lineno for frame in traceback.extract_tb(err.__traceback__) if frame.filename == str(path)]
    return (lines[-1] if lines else None) or 1
