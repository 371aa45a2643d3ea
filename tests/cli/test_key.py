"""`kaizen key`, and the server, the client's verb and the warning that go with it."""

from __future__ import annotations

import http.client
import json
import re
import sys
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from kaizen.core.project import Project
from kaizen.core.serving import AuthSection, ServeSection, TlsSection
from kaizen.serve.security import guard_of, is_open_to_strangers
from tests.cli.conftest import Run_, declare, get, served, until
from tests.cli.test_serve import ROW


def asked(url: str, path: str, body: Any, **headers: str) -> tuple[int, Any]:
    """Return the status and the answer of a request."""
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=10)) as connection:
        connection.request("POST", path, json.dumps(body), told)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_a_key_is_made_listed_and_taken_back(kaizen: Run_, draft: Path) -> None:
    said = kaizen("key", "add", "ci", "--scope", "predict", "--scope", "read", "--expires", "90d", "--folder", draft)
    assert re.fullmatch(r"kz_[a-z2-7]{8}_[a-z2-7]{40}\n", said.out), "only the key, for a pipe"
    assert "only a hash of it is stored" in said.err
    assert "write api_keys = true under [serve.auth]" in said.err
    token = said.out.strip()
    assert (
        kaizen("key", "list", "--folder", draft).out.splitlines()[1].startswith(f"ci\t{token[3:11]}\tpredict, read\t")
    )
    [told] = kaizen("key", "list", "--json", "--folder", draft).json()
    assert (told["name"], told["scopes"]) == ("ci", ["predict", "read"])
    assert token[12:] not in json.dumps(told)
    declare(draft, **{"serve.auth__api_keys": "true"})
    made = kaizen("key", "add", "cd", "--json", "--folder", draft)
    assert made.json()["scopes"] == ["predict", "feedback"]
    assert made.err == ""
    assert kaizen("key", "revoke", "ci", "--folder", draft).out == f"ci ({token[3:11]}) is good no more.\n"
    assert [key["name"] for key in kaizen("key", "list", "--json", "--folder", draft).json()] == ["cd"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("add", "ci", "--scope", "everything"), 2, "'everything' is not one of"),
        (("add", "ci", "--scope", "open"), 2, "'open' is not one of"),
        (("add", "ci", "--expires", "soon"), 1, "--expires: 'soon' is no duration"),
        (("revoke", "ci"), 1, "there is no key 'ci'\n  → kaizen key add NAME makes one"),
    ],
)
def test_what_cannot_be_is_said(kaizen: Run_, draft: Path, arguments: tuple[str, ...], code: int, says: str) -> None:
    said = kaizen("key", *arguments, "--folder", draft)
    assert said.code == code
    assert says in said.err


def test_the_server_of_a_project_asks_for_the_key_and_feedback_shows_it(
    kaizen: Run_, learned: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    declare(learned, serve__rate_limit='"100/1s"', serve__max_body='"100KiB"')
    declare(learned, **{"serve.auth__api_keys": "true"})
    labels = tmp_path / "labels.jsonl"
    labels.write_text('{"id": "a", "value": true}\n')
    with served(learned) as url:
        assert asked(url, "/v1/predict", {"rows": [ROW]})[0] == 401
        token = kaizen("key", "add", "ci", "--folder", learned).out.strip()
        until(lambda: asked(url, "/v1/predict", {"rows": [ROW]}, x_api_key=token)[0] == 200)
        status, answer = asked(url, "/v1/predict", {"rows": [ROW] * 3000}, x_api_key=token)
        assert (status, answer["error"].partition(";")[0]) == (413, "the body exceeds 102400 bytes")

        refused = kaizen("feedback", labels, "--url", url)
        assert refused.code == 1
        assert "a key or a token is needed here" in refused.err
        monkeypatch.setenv("KAIZEN_TOKEN", f"{token}\n")
        assert kaizen("feedback", labels, "--url", url).out == "1 labels accepted.\n"
        monkeypatch.setenv("KAIZEN_TOKEN", f"{token}\nx: y")
        broken = kaizen("feedback", labels, "--url", url)
        assert "KAIZEN_TOKEN: this is no key or token" in broken.err
        assert token not in broken.err
    written = (learned.parent / "serve.err").read_text()
    assert token[12:] not in written


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="several workers need Linux")
def test_several_workers_ask_for_the_same_keys(kaizen: Run_, learned: Path) -> None:
    token = kaizen("key", "add", "ci", "--folder", learned).out.strip()
    declare(learned, serve__workers="2")
    declare(learned, **{"serve.auth__api_keys": "true"})
    with served(learned) as url:
        until(lambda: [worker["status"] for worker in get(f"{url}/healthz")["workers"]] == ["ok", "ok"])

        def statuses(**headers: str) -> set[int]:
            return {asked(url, "/v1/predict", {"rows": [ROW]}, **headers)[0] for _ in range(12)}

        assert statuses() == {401}
        assert statuses(x_api_key=token) == {200}
        kaizen("key", "revoke", "ci", "--folder", learned)
        until(lambda: statuses(x_api_key=token) == {401})


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="several workers need Linux")
def test_several_workers_warn_once(learned: Path) -> None:
    declare(learned, serve__workers="2", serve__host='"0.0.0.0"')
    with served(learned):
        pass
    written = (learned.parent / "serve.err").read_text()
    assert written.count("nobody is asked who he is") == 1


@pytest.mark.parametrize(
    ("host", "section", "is_open"),
    [
        ("127.0.0.1", ServeSection(), False),
        ("127.3.2.1", ServeSection(), False),
        ("::1", ServeSection(), False),
        ("localhost", ServeSection(), False),
        ("0.0.0.0", ServeSection(), True),
        ("::", ServeSection(), True),
        ("10.0.0.1", ServeSection(rate_limit="1/1s"), True),
        ("model.internal", ServeSection(tls=TlsSection(cert="a", key="b")), True),
        ("0.0.0.0", ServeSection(auth=AuthSection(api_keys=True)), False),
        ("0.0.0.0", ServeSection(auth=AuthSection(jwks="keys.json")), False),
        ("0.0.0.0", ServeSection(tls=TlsSection(cert="a", key="b", client_ca="c")), False),
    ],
)
def test_who_listens_for_strangers_is_warned(host: str, section: ServeSection, is_open: bool) -> None:
    assert is_open_to_strangers(section, host) is is_open


def test_the_warning_is_one_line_of_the_server(learned: Path) -> None:
    declare(learned, serve__host='"0.0.0.0"')
    with served(learned):
        pass
    written = (learned.parent / "serve.err").read_text()
    assert written.count("warning: 0.0.0.0 is reached from elsewhere, and nobody is asked who he is") == 1


def test_tokens_need_an_extra_only_where_they_are_taken(learned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kaizen.core.errors import MissingExtraError

    project = Project.open(learned)
    assert guard_of(project.file.serve, home=project.folder, state=project.state) is None
    monkeypatch.setitem(sys.modules, "jwt", None)
    for name in ("jwks", "tokens"):
        monkeypatch.delitem(sys.modules, f"kaizen.serve.{name}", raising=False)
    auth = AuthSection(jwks="keys.json", issuer="https://i.test", audience="a")
    with pytest.raises(MissingExtraError, match=r'pip install "kaizen-ml\[auth\]"'):
        guard_of(ServeSection(auth=auth), home=project.folder, state=project.state)
