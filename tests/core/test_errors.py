"""The tree of errors: what they say, and that their codes are stable."""

from __future__ import annotations

import pytest

from kaizen.core import errors
from kaizen.core.errors import KaizenError, MissingExtraError, RequestError, StoreError, nearest


def _tree(kind):
    return [kind, *(each for below in kind.__subclasses__() for each in _tree(below))]


TREE = [kind for kind in _tree(KaizenError) if kind.__module__ == errors.__name__]


def test_an_error_says_what_where_and_what_to_do():
    error = StoreError("the disk is full", where="/data", fix="free space")
    assert str(error) == "/data: the disk is full\n  → free space"
    assert (error.what, error.where, error.fix) == ("the disk is full", "/data", "free space")
    assert str(StoreError("the disk is full")) == "the disk is full"


def test_every_error_has_a_code_of_its_own():
    codes = [kind.code for kind in TREE]
    assert len(set(codes)) == len(codes) == 19
    assert all("code" in vars(kind) for kind in TREE)


def test_the_module_draws_every_error():
    assert all(kind.__name__ in errors.__doc__ for kind in TREE)


def test_a_refused_request_has_its_http_status():
    assert RequestError("no such column").status == 400
    assert RequestError("too large", status=413).status == 413


def test_a_missing_extra_prints_its_install_line():
    assert str(MissingExtraError("duckdb", "learn")).endswith('→ pip install "kaizen-ml[learn]"')


@pytest.mark.parametrize(
    ("name", "says"),
    [("tagret", "did you mean 'target'?"), ("xyz", "known: source, target"), ("", "known: source, target")],
)
def test_nearest_names_the_nearest_or_all(name, says):
    assert nearest(name, {"target", "source"}) == says
