"""Tokens: what is taken, the attacks that are not, and an issuer whose keys change or cannot be reached."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from kaizen.core.errors import ProjectError, RequestError
from kaizen.serve.jwks import Jwks, usable
from kaizen.serve.tokens import Tokens, scopes_of
from tests.serve.authority import AUDIENCE, ISSUER, Issuer, claimed, published

ALGORITHMS = ["RS256", "ES256", "EdDSA"]


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def tokens(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    path = tmp_path_factory.mktemp("keys") / "jwks.json"
    path.write_text(json.dumps(issuer.jwks()))
    return checker(Jwks(str(path), ALGORITHMS))


def checker(jwks: Jwks, *, read: bool = True, **settings: Any) -> Tokens:
    """Return what checks tokens with these keys, once they are read."""
    made = Tokens(jwks, issuer=ISSUER, audience=AUDIENCE, algorithms=ALGORITHMS, **settings)
    if read:
        until(made.look)
    return made


def until(holds: Callable[[], bool], timeout_s: float = 20.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.01)


def refused(tokens: Tokens, token: str | bytes) -> RequestError:
    with pytest.raises(RequestError) as caught:
        tokens.identify(token if isinstance(token, bytes) else token.encode())
    return caught.value


def part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.mark.parametrize("identity", ["rsa", "ec", "ed"])
def test_a_token_that_its_issuer_signed_is_taken(tokens: Tokens, issuer: Issuer, identity: str) -> None:
    exp = int(time.time()) + 60
    token = issuer.token(identity, exp=exp).encode()
    grant = tokens.identify(token)
    assert (grant.client, grant.scopes, grant.until) == ("sub:someone", {"predict", "read"}, exp + 30)
    assert tokens.identify(token) is grant, "the second time it is remembered"


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "predict feedback openid"}, {"predict", "feedback"}),
        ({"scp": ["metrics"], "roles": ["admin"]}, {"metrics", "admin"}),
        ({"scp": "read"}, {"read"}),
        ({"scope": ["read", 7, None]}, {"read"}),
        ({"scope": "open any none"}, set()),
        ({"scope": {"predict": True}}, set()),
        ({}, set()),
    ],
)
def test_scopes_are_read_from_the_claims_that_issuers_use(claims: dict[str, Any], scopes: set[str]) -> None:
    assert scopes_of(claims) == scopes


@pytest.mark.parametrize(
    ("claims", "says"),
    [
        ({"exp": 1000}, "the token has expired"),
        ({"exp": int(time.time()) - 31}, "the token has expired"),
        ({"nbf": int(time.time()) + 3600}, "the token is not good yet"),
        ({"aud": "others"}, "the token is for somebody else"),
        ({"aud": None}, "a token needs the claims"),
        ({"iss": "https://others.test"}, "the token is from somebody else"),
        ({"iss": None}, "a token needs the claims"),
        ({"exp": None}, "a token needs the claims"),
        ({"sub": None}, "a token needs the claims"),
        ({"sub": 7}, "no token that is good here"),
        ({"exp": "soon"}, "no token that is good here"),
    ],
)
def test_claims_that_do_not_hold_are_refused(tokens: Tokens, issuer: Issuer, claims: Any, says: str) -> None:
    error = refused(tokens, issuer.token(**claims))
    assert (error.status, error.headers) == (401, b'www-authenticate: Bearer error="invalid_token"\r\n')
    assert says in str(error)


def test_the_leeway_is_given_to_the_clock_of_the_issuer(tokens: Tokens, issuer: Issuer) -> None:
    tokens.identify(issuer.token(exp=int(time.time()) - 20).encode())


def test_a_token_that_was_changed_is_refused(tokens: Tokens, issuer: Issuer) -> None:
    head, _, signature = issuer.token().split(".")
    for changed in (
        f"{head}.{part(claimed(sub='somebody else'))}.{signature}",
        f"{head}.{part(claimed())}.{part(b'x' * 64)}",
        f"{head}.{part(claimed())}.",
        ".".join([*issuer.token("rsa").split(".")[:2], issuer.token("rsa", sub="x").split(".")[2]]),
    ):
        assert "no token that is good here" in str(refused(tokens, changed))


def test_a_token_without_a_signature_is_refused(tokens: Tokens) -> None:
    for name in ("none", "None", "NONE", "nOnE", ""):
        unsigned = f"{part({'alg': name, 'typ': 'JWT', 'kid': 'rsa'})}.{part(claimed())}."
        assert "in this way are not taken" in str(refused(tokens, unsigned))


def test_the_public_key_is_never_taken_for_a_secret(tokens: Tokens, issuer: Issuer) -> None:
    public = issuer.keys["rsa"][1].public_key()
    for secret in (
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        issuer.keys["rsa"][2].encode(),
    ):
        signed = f"{part({'alg': 'HS256', 'typ': 'JWT', 'kid': 'rsa'})}.{part(claimed())}"
        forged = f"{signed}.{part(hmac.new(secret, signed.encode(), hashlib.sha256).digest())}"
        assert "in this way are not taken" in str(refused(tokens, forged))


def test_a_key_is_used_for_its_own_algorithm_only(tokens: Tokens, issuer: Issuer) -> None:
    _, claims, signature = issuer.token("ec").split(".")
    for algorithm in ("RS256", "EdDSA"):
        confused = f"{part({'alg': algorithm, 'kid': 'ec'})}.{claims}.{signature}"
        assert refused(tokens, confused).status in (401, 503)
    stronger = jwt.encode(claimed(), issuer.keys["rsa"][1], "RS512", headers={"kid": "rsa"})
    assert "in this way are not taken" in str(refused(tokens, stronger)), "RS512 is not declared"


def test_a_key_that_comes_with_the_token_is_not_believed(tokens: Tokens) -> None:
    stranger = Issuer()
    _, key, told = stranger.keys["ec"]
    for extra in ({"jwk": json.loads(told)}, {"jku": "http://127.0.0.1/keys"}, {"x5u": "http://127.0.0.1/keys"}):
        token = jwt.encode(claimed(), key, "ES256", headers={"kid": "ec", **extra})
        assert refused(tokens, token).status == 401


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b".",
        b"..",
        b"a.b.c",
        b"\xff\xfe.\x00.\x01",
        b"e30.e30.e30",
        ("[" * 20_000).encode(),
        f"{part(b'[' * 15_000)}.e30.e30".encode(),
        f"{part({'alg': ['ES256']})}.e30.e30".encode(),
        f"{part({'alg': 'ES256', 'kid': {}})}.e30.e30".encode(),
        f"{part({'alg': 'ES256', 'kid': 'ec', 'crit': ['b64'], 'b64': False})}.e30.e30".encode(),
        b"a" * 30_000,
    ],
    ids=range(12),
)
def test_what_is_no_token_is_refused(tokens: Tokens, token: bytes) -> None:
    assert refused(tokens, token).status == 401


def test_a_token_that_is_remembered_ends_when_it_says(issuer: Issuer, tmp_path: Path) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps(issuer.jwks()))
    now = time.time()
    clock = {"now": now}
    made = checker(Jwks(str(path), ALGORITHMS), now=lambda: clock["now"])
    token = issuer.token(exp=int(now) + 60).encode()
    made.identify(token)
    clock["now"] = now + 89
    made.identify(token)
    clock["now"] = now + 91
    assert "the token has expired" in str(refused(made, token))


def test_only_public_keys_for_signatures_are_usable(issuer: Issuer) -> None:
    good = {json.dumps(key): key for key in issuer.jwks()["keys"]}
    rsa_key, ec_key, _ = issuer.jwks()["keys"]
    small = rsa.generate_private_key(65537, 1024).public_key()
    private = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(issuer.keys["ec"][1])) | {"kid": "private"}
    wrong: list[dict[str, Any]] = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret", "alg": "RS256"},
        rsa_key | {"use": "enc", "kid": "for encryption"},
        rsa_key | {"key_ops": ["encrypt"], "kid": "for encryption"},
        rsa_key | {"alg": "RS512", "kid": "of another algorithm"},
        ec_key | {"crv": "P-384", "kid": "of another curve"},
        ec_key | {"x": "AA", "kid": "off the curve"},
        json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(small)) | {"kid": "small"},
        private,
        {"kid": "nothing"},
        {},
    ]
    assert set(usable([*good.values(), *wrong], ALGORITHMS)) == {("rsa", "RS256"), ("ec", "ES256"), ("ed", "EdDSA")}
    with pytest.raises(ValueError, match="none of its 11 keys can be used"):
        usable(wrong, ALGORITHMS)


def test_a_token_that_names_no_key_is_taken_where_there_is_no_choice(issuer: Issuer, tokens: Tokens) -> None:
    token = jwt.encode(claimed(sub="unnamed"), issuer.keys["ec"][1], "ES256")
    assert tokens.identify(token.encode()).client == "sub:unnamed"


def test_a_new_key_of_the_issuer_is_found_and_one_that_is_withdrawn_is_good_no_more() -> None:
    rotating = Issuer()
    with published(rotating) as server:
        made = checker(Jwks(server.url, ALGORITHMS, again_s=0.0))
        old = rotating.token("ec").encode()
        made.identify(old)
        rotating.keys.pop("ec")
        rotating.add("ec-2", "ES256")
        new = rotating.token("ec-2").encode()
        error = refused(made, new)
        assert (error.status, str(error)) == (503, "the keys of the issuer are being read\n  → try again in a second")
        until(made.look)
        assert made.identify(new).client == "sub:someone"
        assert refused(made, old).status in (401, 503)


def test_keys_that_nobody_has_are_looked_for_once_in_a_while_only() -> None:
    owner, stranger = Issuer(), Issuer()
    with published(owner) as server:
        made = checker(Jwks(server.url, ALGORITHMS, again_s=3600.0))
        assert server.asked == 1
        stranger.keys["unknown"] = stranger.keys.pop("ec")
        for _ in range(20):
            assert refused(made, stranger.token("unknown")).status == 401
        assert server.asked == 1


def test_an_issuer_that_cannot_be_reached_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "kaizen.serve")
    issuer = Issuer()
    with published(issuer) as server:
        jwks = Jwks(server.url, ALGORITHMS, every_s=0.0, again_s=0.0)
        made = checker(jwks)
        first = issuer.token("ec").encode()
        made.identify(first)
        asked, server.status = server.asked, 500
        until(lambda: (jwks.look(), server.asked > asked + 3)[1])
        made.identify(first)
        made.identify(issuer.token("rsa").encode())
    for _ in range(5):  # now nobody listens at all
        jwks.look()
        time.sleep(0.02)
    made.identify(issuer.token("ed").encode())
    assert "HTTP Error 500" in caplog.text
    assert caplog.text.count("jwks_not_read") == 1, "said once, not every time"
    assert "hidden" not in caplog.text, "what follows the question mark may be secret"


def test_until_the_keys_are_read_a_token_is_told_to_come_again() -> None:
    issuer = Issuer()
    with published(issuer) as server:
        server.status = 500
        made = checker(Jwks(server.url, ALGORITHMS, again_s=0.0), read=False)
        assert refused(made, issuer.token()).status == 503
        until(lambda: server.asked > 0)
        assert refused(made, issuer.token()).status == 503
        server.status = 200
        until(made.look)
        made.identify(issuer.token().encode())


def test_a_redirection_is_not_followed(caplog: pytest.LogCaptureFixture) -> None:
    issuer = Issuer()
    with published(issuer) as server:
        server.status = 302
        jwks = Jwks(server.url, ALGORITHMS)
        jwks.look()
        until(lambda: "jwks_not_read" in caplog.text)
        assert server.asked == 1
        assert jwks.version == 0


def test_a_file_of_keys_is_read_again_when_it_changes(tmp_path: Path) -> None:
    issuer, path = Issuer(), tmp_path / "jwks.json"
    path.write_text(json.dumps(issuer.jwks()))
    made = checker(Jwks(str(path), ALGORITHMS))
    old = issuer.token("ec").encode()
    made.identify(old)
    issuer.add("ec", "ES256")
    path.write_text(json.dumps(issuer.jwks()))
    until(made.look)
    made.identify(issuer.token("ec").encode())
    assert refused(made, old).status == 401


@pytest.mark.parametrize(
    "where", ["http://issuer.test/keys", "ftp://issuer.test/keys", "file:///etc/keys", "https://user:word@x.test/"]
)
def test_keys_are_read_from_safe_places_only(where: str) -> None:
    with pytest.raises(ProjectError, match=r"is not safe|password") as caught:
        Jwks(where, ALGORITHMS)
    assert "word@" not in str(caught.value)


def test_a_file_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="there is no such file"):
        Jwks(str(tmp_path / "none.json"), ALGORITHMS)
