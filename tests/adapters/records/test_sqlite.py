"""The SQLite store of records: the suite, crashes, damage, and what it costs."""

from __future__ import annotations

import math
import sqlite3
import subprocess
import sys
from contextlib import closing

import msgspec
import pytest

from kaizen.adapters.records.sqlite import SqliteRecords
from kaizen.core.errors import StoreError
from kaizen.core.records import Decision, Endpoint, Finding, Step
from kaizen.testing.records import RecordsConformance, endpoint, examples, finding, step


class TestSqlite(RecordsConformance):
    def open(self, folder):
        return SqliteRecords(folder / "deep" / "records.db")


@pytest.fixture
def records(tmp_path):
    with closing(SqliteRecords(tmp_path / "records.db")) as store:
        yield store


WRITER = """
import sys
from kaizen.adapters.records.sqlite import SqliteRecords
from kaizen.testing.records import step
records = SqliteRecords(sys.argv[1])
for number in range(10**6):
    records.put([step(f"{sys.argv[2]}-{number}-a"), step(f"{sys.argv[2]}-{number}-b")])
    sys.stdout.write(f"{number}\\n")
    sys.stdout.flush()
"""


def test_kill_9_loses_nothing_acknowledged_and_leaves_no_half_call(tmp_path):
    path, acknowledged = tmp_path / "records.db", []
    for turn in range(4):
        with subprocess.Popen([sys.executable, "-c", WRITER, path, str(turn)], stdout=subprocess.PIPE) as writer:
            for _ in range(30 + 7 * turn):
                acknowledged.append(f"{turn}-{writer.stdout.readline().decode().strip()}")
            writer.kill()
            acknowledged += [f"{turn}-{line.decode().strip()}" for line in writer.stdout if line.endswith(b"\n")]
    with closing(SqliteRecords(path)) as records:
        found = {each.id for each in records.find(Step)}
    assert {f"{each}-{half}" for each in acknowledged for half in "ab"} <= found
    assert {each[:-1] for each in found if each.endswith("a")} == {each[:-1] for each in found if each.endswith("b")}


def test_processes_may_meet_a_new_store_at_once(tmp_path):
    code = WRITER.replace("10**6", "25")
    writers = [
        subprocess.Popen([sys.executable, "-c", code, tmp_path / "new" / "r.db", str(n)], stdout=subprocess.DEVNULL)
        for n in range(3)
    ]
    assert [writer.wait(30) for writer in writers] == [0, 0, 0]
    with closing(SqliteRecords(tmp_path / "new" / "r.db")) as records:
        assert len(records.find(Step)) == 3 * 25 * 2


def test_lineage_goes_up_and_down_across_kinds(records):
    page = finding("page")
    reasons = ("page", "b")
    decision = Decision(
        id="it", project="p", at=page.at, by="t", parents=reasons, action="promote", endpoint="p", reason="Better."
    )
    records.put([*examples(), page, decision, msgspec.structs.replace(endpoint("p", 2), parents=("it", "p@1"))])
    assert [each.id for each in records.lineage("p@2")] == ["p@2", "p@1", "it", "b", "page", "r", "d", "f"]
    assert [each.id for each in records.lineage("f", descendants=True)] == ["f", "r", "b", "it", "p@2"]
    assert [each.id for each in records.lineage("p@2", depth=1)] == ["p@2", "p@1", "it"]
    assert records.lineage("nothing") == []


def test_lineage_ends_where_records_name_each_other(records):
    records.put([msgspec.structs.replace(step(a), parents=(b,)) for a, b in ("12", "21")])
    assert [each.id for each in records.lineage("1")] == ["1", "2"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_refuses_what_json_would_turn_into_null(records, value):
    with pytest.raises(StoreError, match="cannot hold") as caught:
        records.put([step("1"), msgspec.structs.replace(finding("2"), estimate=value)])
    assert caught.value.where == "finding 2.estimate"
    assert records.find(Step) == []


@pytest.mark.parametrize("broken", [b"not a database at all" * 100, None])
def test_a_damaged_file_is_an_error_that_says_what_to_do(tmp_path, broken):
    path = tmp_path / "records.db"
    if broken is None:  # a real store whose middle is overwritten
        with closing(SqliteRecords(path)) as records:
            records.put([step(str(n), name="x" * 500) for n in range(200)])
        data = bytearray(path.read_bytes())
        data[4096:] = b"\xff" * (len(data) - 4096)
        broken = bytes(data)
    path.write_bytes(broken)
    with closing(SqliteRecords(path)) as records, pytest.raises(StoreError, match="records store failed") as caught:
        records.find(Step)
    assert caught.value.where == str(path)
    assert "backup" in caught.value.fix


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be opened") as caught:
        SqliteRecords(tmp_path / "file" / "records.db").find(Step)
    assert caught.value.fix


def test_a_full_disk_is_an_error_and_stores_nothing_of_the_call(records):
    records.put([step("1")])
    records._connection().execute("PRAGMA max_page_count = 30")
    with pytest.raises(StoreError, match="full") as caught:
        records.put([step(f"{n}-2", name="x" * 5000) for n in range(100)])
    assert "free space" in caught.value.fix
    assert records.find(Step) == [step("1")]
    records.put([step("3")])


def test_a_store_of_a_newer_kaizen_is_refused(tmp_path):
    with closing(sqlite3.connect(tmp_path / "r.db")) as sql:
        sql.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer kaizen"):
        SqliteRecords(tmp_path / "r.db").find(Step)


def test_a_body_that_is_no_record_is_an_error(records):
    records.put([step("1")])
    records._connection().execute("""UPDATE records SET body = '{"kind":"step","id":"1"}'""")
    with pytest.raises(StoreError, match="cannot be read"):
        records.get(Step, "1")


@pytest.mark.parametrize(
    ("kind", "where", "index"),
    [
        (Endpoint, ["name"], "endpoints_by_name"),
        (Step, ["name", "inputs"], "steps_by_inputs"),
        (Finding, [], "by_kind"),
    ],
)
def test_hot_queries_use_their_index(records, kind, where, index):
    seen: list[str] = []
    records.put(examples())
    records._connection().set_trace_callback(seen.append)
    records.find(kind, where=dict.fromkeys(where, "x"), newest_first=True, limit=1)
    plan = records._connection().execute(f"EXPLAIN QUERY PLAN {seen[0]}").fetchall()
    assert index in str(plan)
    assert "TEMP B-TREE" not in str(plan)


def test_importing_it_costs_the_serving_process_little():
    code = (
        "import sys, kaizen.adapters.records.sqlite; print(sorted({'numpy', 'duckdb', 'structlog'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "[]\n"
