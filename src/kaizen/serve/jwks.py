"""The public keys of whoever issues tokens (JWKS, RFC 7517), from a file or an https URL.

| when                                  | what                                                               |
|---------------------------------------|--------------------------------------------------------------------|
| at the start, then every five minutes | read, in a thread; a file as soon as it changes                    |
| a token names a key that is not known | read at once, at most every ten seconds; meanwhile such tokens get 503 |
| it cannot be read                     | the old keys stay good, and it is tried again every ten seconds    |
"""

from __future__ import annotations

import logging
import threading
import time
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final, cast
from urllib.parse import urlsplit

import jwt
import msgspec

from kaizen.core.errors import ProjectError, RequestError
from kaizen.serve.scopes import unauthorized

logger = logging.getLogger("kaizen.serve")

_MOST_BYTES: Final = 1 << 20
_TIMEOUT_S: Final = 10.0
_RSA_BITS: Final = 2048
_KINDS: Final[Mapping[str, str]] = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_CURVES: Final[Mapping[str, str]] = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class _Set(msgspec.Struct):
    keys: list[dict[str, Any]]


class Jwks:
    """An issuer's keys, by id and algorithm. `look` and `key` are called on the loop; reading is done in a thread.

    Parameters
    ----------
    where
        A path, or an https URL; http is taken from this machine only.
    algorithms
        What tokens may be signed with.
    every_s, again_s
        How often it is read, and how soon again where it failed or lacked a key.
    """

    def __init__(self, where: str, algorithms: Sequence[str], *, every_s: float = 300.0, again_s: float = 10.0) -> None:
        self._where = where
        self._is_url = is_url(where)
        if not self._is_url and not Path(where).is_file():
            raise ProjectError("there is no such file", where=f"serve.auth.jwks: {where}")
        self._algorithms = algorithms
        self._every_s = every_s
        self._again_s = again_s
        self._thread: threading.Thread | None = None
        self._read_at = -every_s
        self._seen: int | None = None
        self._problem = ""
        self._told: list[dict[str, Any]] | None = None
        self._keys: Mapping[tuple[str, str], jwt.PyJWK] = {}
        self.version = 0  # of the keys; counted on by the thread

    def look(self) -> None:
        """Begin to read if it is time; called once a second."""
        due_s = self._again_s if self._problem else self._every_s
        if time.monotonic() - self._read_at >= due_s or (not self._is_url and self._changed() != self._seen):
            self._begin()

    def key(self, identity: str | None, algorithm: str) -> jwt.PyJWK:
        """Return the key that a token names; raise a 401 if there is none, a 503 while that is being found out."""
        found = self._keys.get((identity, algorithm)) if identity is not None else self._single(algorithm)
        if found is not None:
            return found
        if self._is_reading() or self._may_ask():
            self._begin()
            raise RequestError("the keys of the issuer are being read", status=503, fix="try again in a second")
        if not self.version:
            raise RequestError("the keys of the issuer cannot be read", status=503, fix="try again later")
        what = "the token is signed with a key, or in a way, that is not one of its issuer's here"
        raise unauthorized(what, error="invalid_token")

    # Inside

    def _single(self, algorithm: str) -> jwt.PyJWK | None:
        """Return the key for tokens that name none: only where there is no choice."""
        fit = [key for (_, known), key in self._keys.items() if known == algorithm]
        return fit[0] if len(fit) == 1 else None

    def _may_ask(self) -> bool:
        return time.monotonic() - self._read_at >= self._again_s

    def _is_reading(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _begin(self) -> None:
        if self._is_reading():
            return
        self._read_at = time.monotonic()
        self._seen = None if self._is_url else self._changed()
        self._thread = threading.Thread(target=self._read, name="kaizen-jwks", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        try:
            data = _fetched(self._where) if self._is_url else Path(self._where).read_bytes()
            told = msgspec.json.decode(data, type=_Set).keys
            keys = usable(told, self._algorithms)
        except Exception as err:  # whatever an issuer sends, the thread says so and the old keys stay
            if not self._problem:
                logger.warning("jwks_not_read where=%s problem=%s", shown(self._where), err)
            self._problem = str(err) or type(err).__name__
            return
        self._problem = ""
        if told != self._told:
            self._told, self._keys = told, keys
            self.version += 1
            logger.info("jwks_read where=%s keys=%d", shown(self._where), len({name for name, _ in keys}))

    def _changed(self) -> int:
        try:
            return Path(self._where).stat().st_mtime_ns
        except OSError:
            return 0


def usable(told: Sequence[Mapping[str, Any]], algorithms: Sequence[str]) -> dict[tuple[str, str], jwt.PyJWK]:
    """Return the keys that signatures may be checked with, by their id and each algorithm that they are good for.

    A secret (``oct``) never is: with it, whoever can check a token could make one. Raise `ValueError` if none is.
    """
    keys: dict[tuple[str, str], jwt.PyJWK] = {}
    for index, entry in enumerate(told):
        for algorithm in algorithms:
            key = _key(entry, algorithm)
            if key is not None:
                keys[str(entry.get("kid", index)), algorithm] = key
    if not keys:
        raise ValueError(f"none of its {len(told)} keys can be used")
    return keys


def _key(entry: Mapping[str, Any], algorithm: str) -> jwt.PyJWK | None:
    is_kind = entry.get("kty") == _KINDS.get(algorithm[:2])
    is_curve = entry.get("crv") == _CURVES.get(algorithm)
    is_public = "d" not in entry
    is_for_this = entry.get("alg") in (None, algorithm) and entry.get("use") in (None, "sig")
    if not (is_kind and is_curve and is_public and is_for_this and "verify" in (entry.get("key_ops") or ["verify"])):
        return None
    try:
        key = jwt.PyJWK(dict(entry), algorithm)
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    return None if getattr(key.key, "key_size", _RSA_BITS) < _RSA_BITS and entry["kty"] == "RSA" else key


def is_url(where: str) -> bool:
    """Say whether this is an address and not a path; raise `ProjectError` for an address that is not safe."""
    parts = urlsplit(where)
    if "://" not in where:
        return False
    if parts.username or parts.password:
        raise ProjectError("an address with a password in it is not taken", where="serve.auth.jwks")
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return True
    raise ProjectError(f"{shown(where)!r} is not safe", where="serve.auth.jwks", fix="use https, or a file")


def shown(where: str) -> str:
    """Return an address without what may be secret in it."""
    return where.partition("?")[0]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Stays where it was sent: a redirection could lead to where nobody vouches for the keys."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _fetched(url: str) -> bytes:
    proxies: dict[str, str] | None = {} if urlsplit(url).hostname in _LOOPBACK else None  # None: the system's
    opener = urllib.request.build_opener(_NoRedirect, urllib.request.ProxyHandler(proxies))
    request = urllib.request.Request(url, headers={"accept": "application/json", "user-agent": "kaizen"})
    with cast("IO[bytes]", opener.open(request, timeout=_TIMEOUT_S)) as answer:
        data = answer.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise ValueError(f"it is longer than {_MOST_BYTES} bytes")
    return data
