"""``GET /docs``: one HTML page, nothing fetched from elsewhere, to read the columns on and to try a prediction.

The page is `docs.html` with the revision's facts in a JSON block; its script makes text of them, never markup, and
the policy that goes with it lets no other script run. Where callers are asked who they are, the page comes without
the facts: it asks for a key, keeps it in memory, and reads them from the OpenAPI document.
"""

from __future__ import annotations

import base64
import hashlib
import html
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from kaizen.serve.generation import Generation
from kaizen.serve.schema import row_schema

_TEMPLATE: Final = Path(__file__).with_name("docs.html")
_MARKUP: Final = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}


def page(generation: Generation, *, is_named: bool) -> tuple[bytes, bytes]:
    """Return the page and its content security policy; a page `is_named` if it is at ``/docs/{model}``."""
    name = generation.endpoint.name
    facts: dict[str, Any] = {
        "endpoint": name,
        "predict": f"../v1/predict/{name}" if is_named else "v1/predict",
        "revision": generation.endpoint.revision,
        "output": generation.output,
        "bundles": generation.bundles(),
        "schema": row_schema(generation),
    }
    return _filled(name, facts)


def locked_page(name: str | None) -> tuple[bytes, bytes]:
    """Return the page that knows nothing yet, and its policy; `name` is of ``/docs/{model}``."""
    document = "openapi.json" if name is None else f"../openapi/{quote(name, safe='')}"
    predict = "v1/predict" if name is None else f"../v1/predict/{quote(name, safe='')}"
    return _filled("kaizen", {"locked": True, "document": document, "predict": predict})


def _filled(name: str, facts: dict[str, Any]) -> tuple[bytes, bytes]:
    template, policy = _template()
    told = msgspec.json.encode(facts).decode().translate(_MARKUP)
    return template.replace("{{title}}", html.escape(name)).replace("{{facts}}", told).encode(), policy


@cache
def _template() -> tuple[str, bytes]:
    text = _TEMPLATE.read_text("utf-8")
    script = text.rpartition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; connect-src 'self'; script-src 'sha256-{digest}'"
    return text, f"{policy}; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'".encode()
