"""Tokens (JWT, RFC 7519) of somebody else's making, checked as RFC 8725 asks: who issued it, for whom, until when.

Only signatures with a public key are taken, so no algorithm of a token's own choosing can turn that key into a
secret. A token that was good once is remembered until it expires. Imported only if tokens are taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import jwt

from kaizen.core.errors import RequestError
from kaizen.serve.jwks import Jwks
from kaizen.serve.scopes import GIVEN, Grant, unauthorized

_REMEMBERED: Final = 4096
_REQUIRED: Final = ["exp", "iss", "aud", "sub"]
_CLAIMS: Final = ("scope", "scp", "roles")


class Tokens:
    """Checks tokens of one issuer.

    Parameters
    ----------
    keys
        Of the issuer.
    issuer, audience
        What a token must say of whom it is from and for.
    algorithms
        What it may be signed with.
    leeway_s
        How far the issuer's clock may be off.
    now
        Tells the time, in seconds since 1970.
    """

    def __init__(
        self,
        keys: Jwks,
        *,
        issuer: str,
        audience: str,
        algorithms: Sequence[str],
        leeway_s: float = 30.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._algorithms = frozenset(algorithms)
        self._leeway_s = leeway_s
        self._now = now
        self._good: dict[bytes, Grant] = {}
        self._version = 0

    def look(self) -> bool:
        """See to it that the keys are read when it is time, and say whether they have changed."""
        self._keys.look()
        is_changed = self._keys.version != self._version
        if is_changed:
            self._version = self._keys.version
            self._good.clear()
        return is_changed

    def identify(self, credential: bytes) -> Grant:
        """Return who this is; raise a 401 if nobody, a 503 while the issuer's keys are not known."""
        grant = self._good.get(credential)
        if grant is None:
            grant = self._verified(credential)
            if len(self._good) >= _REMEMBERED:
                self._good.clear()
            self._good[credential] = grant
        if grant.until <= self._now():
            del self._good[credential]
            raise _refusal("the token has expired")
        return grant

    def _verified(self, credential: bytes) -> Grant:
        try:
            head = jwt.get_unverified_header(credential)
            algorithm = self._allowed(head.get("alg"))
            claims = jwt.decode(
                credential,
                key=self._keys.key(head.get("kid"), algorithm),
                algorithms=[algorithm],
                issuer=self._issuer,
                audience=self._audience,
                leeway=self._leeway_s,
                options={"require": _REQUIRED},
            )
            until = float(claims["exp"]) + self._leeway_s
        except RequestError:
            raise
        except Exception as err:  # whatever a token holds, it is refused and nothing else happens
            raise _refusal(_WHY.get(type(err), "this is no token that is good here")) from err
        return Grant(f"sub:{claims['sub']}", scopes_of(claims), until)

    def _allowed(self, algorithm: Any) -> str:
        """Return the algorithm that a token names, if it is one of ours; nothing but the list says which are."""
        if not isinstance(algorithm, str) or algorithm not in self._algorithms:
            raise _refusal("tokens that are signed in this way are not taken")
        return algorithm


_WHY: Final[Mapping[type[Exception], str]] = {
    jwt.ExpiredSignatureError: "the token has expired",
    jwt.ImmatureSignatureError: "the token is not good yet",
    jwt.InvalidAudienceError: "the token is for somebody else",
    jwt.InvalidIssuerError: "the token is from somebody else",
    jwt.MissingRequiredClaimError: f"a token needs the claims {', '.join(_REQUIRED)}",
}


def _refusal(what: str) -> RequestError:
    return unauthorized(what, error="invalid_token")


def scopes_of(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return the scopes that a token gives: words of ``scope``, ``scp`` and ``roles``, each a text or a list."""
    found: set[str] = set()
    for claim in _CLAIMS:
        told = claims.get(claim)
        words = told.split() if isinstance(told, str) else told if isinstance(told, list) else []
        found.update(word for word in words if isinstance(word, str))
    return frozenset(found & set(GIVEN))
