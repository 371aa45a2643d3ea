"""Secrets: read from where they stand, and never quoted."""

from __future__ import annotations

import pytest

from kaizen.core import secret
from kaizen.core.errors import ProjectError


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("env:HOOK", True),
        ("env:_a1", True),
        ("file:keys/hook", True),
        ("env:", False),
        ("env:1A", False),
        ("env:A B", False),
        ("file:", False),
        ("file:///etc/passwd", False),
        ("slack://a/b/c", False),
        ("whsec_abc", False),
    ],
)
def test_a_place_is_told_from_a_value(text, is_one):
    assert secret.is_source(text) is is_one


def test_it_is_read_from_the_environment_a_file_or_the_text_itself(tmp_path, monkeypatch):
    monkeypatch.setenv("HOOK", " s3cret\n")
    (tmp_path / "hook").write_text("s3cret two\n")
    assert secret.read("env:HOOK", tmp_path, where="w") == "s3cret"
    assert secret.read("file:hook", tmp_path, where="w") == "s3cret two"
    assert secret.read("json://localhost", tmp_path, where="w") == "json://localhost"


@pytest.mark.parametrize("source", ["env:NOT_THERE", "file:nowhere", "file:.", "env:EMPTY", "file:binary"])
def test_where_there_is_nothing_the_place_is_named(source, tmp_path, monkeypatch):
    monkeypatch.setenv("EMPTY", " ")
    (tmp_path / "binary").write_bytes(b"\xff\xfes3cret")
    with pytest.raises(ProjectError, match=source.partition(":")[2].replace(".", r"\.")) as caught:
        secret.read(source, tmp_path, where="alerts.channels.hook.secret")
    assert caught.value.where == "alerts.channels.hook.secret"
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("to hooks.slack.com: 404", "https://hooks.slack.com/services/T0AAA/B0BBB/XyzzY", "to hooks.slack.com: 404"),
        ("POST /services/T0AAA/XyzzY", "https://a.org/services/T0AAA/XyzzY", "POST ***"),
        ("token T0AAA is bad", "slack://T0AAA/B0BBB/XyzzY", "token *** is bad"),
        ("535 pa%ss for ada", "mailto://adalove:pa%25ss@example.org", "535 *** for ada"),
        ("user adalove", "mailto://adalove:pa%25ss@example.org", "user ***"),
        ("q=t0ken%2Fabcd or t0ken/abcd", "https://a.org/?q=t0ken%2Fabcd", "q=*** or ***/***"),
        ("key whsec_QUJDRA== and QUJDRA==", "whsec_QUJDRA==", "key *** and ***=="),
        ("refused by 10.0.0.1:25", "mailto://10.0.0.1:25", "refused by 10.0.0.1:25"),
    ],
)
def test_no_piece_of_an_address_is_shown_but_its_scheme_and_host(text, address, shown):
    assert secret.redacted(text, address) == shown
