"""Keys: what is stored, who is let in, and that a running server follows the file."""

from __future__ import annotations

import hashlib
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from kaizen.core.errors import ConflictError, NotFoundError, RequestError, StoreError
from kaizen.serve import apikeys
from kaizen.serve.apikeys import ApiKeys, KeyFile

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def file(tmp_path: Path) -> KeyFile:
    return KeyFile(tmp_path / "state" / "api-keys.json")


def known(file: KeyFile, at: datetime = NOW) -> ApiKeys:
    return ApiKeys(file, at.timestamp)


def test_a_key_is_long_and_random_and_only_its_hash_is_kept(file: KeyFile) -> None:
    token = file.add("ci", ("predict",), at=NOW)
    other = file.add("cd", ("predict",), at=NOW)
    assert re.fullmatch(r"kz_[a-z2-7]{8}_[a-z2-7]{40}", token)
    assert token != other
    text = file.path.read_text()
    assert token.rpartition("_")[2] not in text
    kept = json.loads(text)["keys"][0]
    assert kept["sha256"] == hashlib.sha256(token.encode()).hexdigest()
    assert file.path.stat().st_mode & 0o777 == 0o600


def test_a_good_key_is_known_with_its_scopes_and_no_other_is(file: KeyFile) -> None:
    token = file.add("ci", ("predict", "read"), at=NOW)
    keys = known(file)
    grant = keys.identify(token.encode())
    assert grant.client == f"key:{token[3:11]}"
    assert grant.scopes == {"predict", "read"}
    wrong = [token[:-1] + ("a" if token[-1] != "a" else "b"), token[:-1], token + "a", token.upper(), "kz_", "", "x"]
    for credential in [*wrong, token.replace(token[3:11], "aaaaaaaa"), "kz_" + "é" * 9]:
        with pytest.raises(RequestError, match="the key is not known") as caught:
            keys.identify(credential.encode())
        assert caught.value.status == 401
        assert token[12:] not in str(caught.value)


def test_secrets_are_compared_in_constant_time(file: KeyFile, monkeypatch: pytest.MonkeyPatch) -> None:
    token = file.add("ci", ("predict",), at=NOW)
    compared = []
    real = apikeys.hmac.compare_digest
    monkeypatch.setattr(apikeys.hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))
    keys = known(file)
    keys.identify(token.encode())
    for credential in (token[:-1] + "_", "kz_aaaaaaaa_b"):
        with pytest.raises(RequestError, match="not known"):
            keys.identify(credential.encode())
    assert [len(a) == len(b) == 32 for a, b in compared] == [True, True, True]


def test_a_key_ends_when_it_was_said_to(file: KeyFile) -> None:
    token = file.add("ci", ("predict",), at=NOW, expires=NOW + timedelta(days=1)).encode()
    assert known(file, NOW + timedelta(hours=23)).identify(token).until == (NOW + timedelta(days=1)).timestamp()
    with pytest.raises(RequestError, match="the key has expired"):
        known(file, NOW + timedelta(hours=24)).identify(token)


def test_names_are_taken_once_and_a_key_is_taken_back_by_name_or_id(file: KeyFile) -> None:
    first, second = file.add("ci", (), at=NOW), file.add("cd", (), at=NOW)
    with pytest.raises(ConflictError, match="there is a key 'ci' already"):
        file.add("ci", (), at=NOW)
    with pytest.raises(NotFoundError, match="there is no key 'ce'"):
        file.revoke("ce")
    assert file.revoke("ci").id == first[3:11]
    assert file.revoke(second[3:11]).name == "cd"
    assert file.read() == []


def test_keys_made_at_the_same_time_are_all_kept(file: KeyFile) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: file.add(f"key {number}", (), at=NOW), range(24)))
    assert {key.name for key in file.read()} == {f"key {number}" for number in range(24)}
    assert [path.name for path in file.path.parent.iterdir()] == ["api-keys.json"]


def test_a_server_follows_the_file_and_keeps_what_it_has_when_it_is_damaged(
    file: KeyFile, caplog: pytest.LogCaptureFixture
) -> None:
    keys = known(file)
    assert len(keys) == 0
    token = file.add("ci", ("predict",), at=NOW).encode()
    assert keys.look()
    assert not keys.look()
    keys.identify(token)
    whole = file.path.read_bytes()
    file.path.write_bytes(whole[:-9])
    assert not keys.look()
    keys.identify(token)
    assert "keys_not_read, the old ones are good still" in caplog.text
    file.path.unlink()
    assert keys.look(), "without the file there are no keys"
    with pytest.raises(RequestError, match="not known"):
        keys.identify(token)


def test_a_file_that_is_damaged_or_open_to_others_is_said_at_the_start(file: KeyFile) -> None:
    file.add("ci", (), at=NOW)
    os.chmod(file.path, 0o640)
    with pytest.raises(StoreError, match=r"open to other users \(mode 0640\)"):
        known(file)
    os.chmod(file.path, 0o600)
    file.path.write_text("{}")
    with pytest.raises(StoreError, match="damaged"):
        known(file)
