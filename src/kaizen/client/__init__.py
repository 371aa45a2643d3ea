"""Asks a server for predictions, on the standard library alone: `Client` blocks, `AsyncClient` awaits."""

from __future__ import annotations

from kaizen.client.asynchronous import AsyncClient
from kaizen.client.blocking import Client
from kaizen.client.wire import Answer

__all__ = ["Answer", "AsyncClient", "Client"]
