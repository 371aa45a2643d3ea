"""Compressed bodies: what a client sends, and, where it asks for it, what it gets.

An answer is compressed if it is 200, longer than 1 KiB and the client's Accept-Encoding names gzip or deflate; a long
one in a thread. Deflate is zlib's format, as RFC 9110 has it.
"""

from __future__ import annotations

import zlib
from typing import Final

from kaizen.core.errors import RequestError

WORTH_BYTES: Final = 1024
LONG_BYTES: Final = 128 << 10  # longer than that holds the loop up
_GZIP, _ZLIB = 31, 15  # zlib's `wbits`
_LEVEL: Final = 1


def accepted(header: bytes | None) -> bytes:
    """Return which encoding a client accepts, gzip before deflate; none: b""."""
    if not header:
        return b""
    named: dict[bytes, bool] = {}
    for part in header.lower().split(b","):
        name, _, quality = part.partition(b";")
        named[name.strip()] = quality.replace(b" ", b"").rstrip(b"0").rstrip(b".") not in (b"q=", b"q=0")
    fallback = named.get(b"*", False)
    return next((name for name in (b"gzip", b"deflate") if named.get(name, fallback)), b"")


def compressed(body: bytes, encoding: bytes) -> bytes:
    """Return a body in an encoding that `accepted` named."""
    deflater = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP if encoding == b"gzip" else _ZLIB)
    return deflater.compress(body) + deflater.flush()


def inflated(encoding: bytes, body: bytes, limit: int) -> bytes:
    """Return what a client has compressed; raise `RequestError` if it is not that, or longer than the limit."""
    if encoding.lower() == b"identity":
        return body
    if encoding.lower() not in (b"gzip", b"deflate"):
        raise RequestError("unknown content-encoding", status=415, fix="send gzip, deflate or none")
    inflater = zlib.decompressobj(wbits=47)  # 32 + 15: a gzip or zlib header, whichever is there
    try:
        plain = inflater.decompress(body, limit + 1)
    except zlib.error as err:
        raise RequestError(f"the body is not what content-encoding says: {err}", status=400) from err
    if len(plain) > limit:
        raise RequestError(f"the body exceeds {limit} bytes", status=413)
    if not inflater.eof:
        raise RequestError("the compressed body ends too early", status=400)
    return plain
