"""The log beside the source: what is served otherwise than it is trained is found, named, and kept by the loop."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from kaizen.core.clock import EventClock, to_us
from kaizen.core.errors import DataError
from kaizen.core.project import Project
from kaizen.core.records import Bundle, Column, Decision, Finding, PredictionBatch, Record
from kaizen.graph.frame import feeds, to_log
from kaizen.loop import pipeline, skew
from kaizen.monitor.status import status
from kaizen.testing.records import endpoint, examples
from tests.cli.conftest import Run_, kaizen  # noqa: F401 (a fixture)
from tests.loop.test_cycle import go_through

NOW = datetime(2026, 3, 10, tzinfo=UTC)
COLUMNS = (Column("size", "number"), Column("kind", "category"), Column("shop", "category"))
TOML = """
[project]
name = "orders"
[data]
source = "orders.csv"
target = "late"
time = "asked"
unit = "shop"
"""


def row(index: int) -> dict[str, Any]:
    at = NOW - timedelta(minutes=10 * index)
    return {"asked": at, "size": round(1 + index * 1.37, 2), "kind": "abcde"[index % 5], "shop": f"s{index % 4}"}


def serve(project: Project, rows: list[dict[str, Any]], ids: list[str] | None = None) -> None:
    """Log these rows as the server would."""
    frame = {
        "size": np.array([each["size"] for each in rows], np.float64),
        "kind": np.array([each["kind"] for each in rows], object),
        "shop": np.array([each["shop"] for each in rows], object),
    }
    for start in range(0, len(rows), 50):
        part = slice(start, start + 50)
        numbers, times, strings = to_log(COLUMNS, feeds(COLUMNS, {name: v[part] for name, v in frame.items()}))
        n = len(rows[part])
        project.log.append(
            PredictionBatch(
                endpoint="orders",
                revision=1,
                bundle="b",
                role="champion",
                ids=(ids or [f"p{i}" for i in range(len(rows))])[part],
                at=[to_us(each["asked"]) for each in rows[part]],
                units=[each["shop"] for each in rows[part]],
                outputs=[0.5] * n,
                propensity=[1.0] * n,
                latency_us=[1] * n,
                requests=[None] * n,
                columns=COLUMNS,
                numbers=numbers,
                times=times,
                strings=strings,
            )
        )


def write(folder: Path, rows: list[dict[str, Any]], name: str = "orders.csv", header: str = "") -> None:
    lines = [header or "asked,size,kind,shop,late"]
    lines += [
        f"{r['asked']:%Y-%m-%dT%H:%M:%SZ},{r['size']},{r['kind']},{r['shop']},{i % 2}" for i, r in enumerate(rows)
    ]
    (folder / name).write_text("\n".join(lines) + "\n")


@pytest.fixture
def orders(tmp_path: Path) -> Project:
    """A project with a champion that reads size, kind and shop; nothing is served yet."""
    (tmp_path / "kaizen.toml").write_text(TOML)
    write(tmp_path, [row(index) for index in range(400)])
    project = Project.open(tmp_path, clock=EventClock(NOW + timedelta(days=1)))
    bundle = next(record for record in examples() if isinstance(record, Bundle))
    decision = Decision(
        id="d", project="orders", at=NOW, by="tests", action="promote", endpoint="orders", reason="first"
    )
    project.records.put(
        [msgspec.structs.replace(bundle, inputs=COLUMNS), decision, endpoint("orders", 1, bundle=bundle.id)]
    )
    return project


def changed(rows: list[dict[str, Any]], **how: Any) -> list[dict[str, Any]]:
    return [each | {name: change(each[name]) for name, change in how.items()} for each in rows]


def named(report: skew.SkewReport) -> dict[str, str | None]:
    return {column.name: column.cause for column in report.columns if column.verdict == "watch"}


def test_the_same_rows_are_no_skew(orders: Project) -> None:
    serve(orders, [row(index) for index in range(300)])
    report = skew.compare(orders)
    assert not report.is_skewed
    assert (report.match.key, report.match.pairs, report.match.served) == ("unit and time", 300, 300)
    assert report.joined == "300 of 300 predictions were joined with a row by unit and time."
    assert (report.end - report.start).days == 2


def test_a_unit_and_a_case_are_named(orders: Project) -> None:
    rows = [row(index) for index in range(300)]
    serve(orders, changed(rows, size=lambda value: value * 1000, kind=str.upper))
    assert named(skew.compare(orders)) == {
        "size": "in serving it is multiplied by a thousand (such as kilo)",
        "kind": "only upper and lower case differ",
    }


def test_a_default_that_fills_what_is_missing_is_named(orders: Project) -> None:
    rows = [row(index) for index in range(300)]
    filled = [each | {"size": 0.0} if index % 4 == 0 else each for index, each in enumerate(rows)]
    write(orders.folder, [each | {"size": ""} if index % 4 == 0 else each for index, each in enumerate(rows)])
    serve(orders, filled)
    report = skew.compare(orders)
    assert named(report) == {"size": "serving has 0.0 where it is missing in the table"}
    size = next(column for column in report.columns if column.name == "size")
    assert (size.differ, size.source_missing, size.share) == (75, 75, 0.25)
    assert size.examples[0].source is None


def test_times_off_by_a_zone_are_joined_and_said(orders: Project) -> None:
    serve(orders, changed([row(index) for index in range(300)], asked=lambda at: at + timedelta(minutes=330)))
    report = skew.compare(orders)
    assert named(report) == {"asked": "in serving it is 5.5 hours later: a time zone"}
    assert "only once asked was taken to be 5.5 hours later in serving" in report.joined


def test_another_table_is_joined_by_prediction_id(orders: Project) -> None:
    rows = [row(index) for index in range(100)]
    serve(orders, rows)
    lines = ["prediction_id,size,kind"] + [f"p{i},{r['size'] + (i == 7)},{r['kind']}" for i, r in enumerate(rows)]
    (orders.folder / "sent.csv").write_text("\n".join(lines) + "\n")
    report = skew.compare(orders, source="sent.csv")
    assert report.match.key == "prediction id"
    assert named(report) == {"shop": "the table has no such column"}
    size = next(column for column in report.columns if column.name == "size")
    assert (size.differ, size.verdict, size.examples[0].id) == (1, "ok", "p7")


def test_what_cannot_be_joined_is_compared_by_distribution(orders: Project) -> None:
    later = changed([row(index) for index in range(300)], asked=lambda at: at + timedelta(days=300, seconds=7))
    serve(orders, changed(later, size=lambda value: value + 1000))
    report = skew.compare(orders)
    assert report.match.pairs == 0
    size = next(column for column in report.columns if column.name == "size")
    assert size.verdict == "watch"
    assert size.distance is not None
    assert next(column for column in report.columns if column.name == "kind").verdict == "ok"


def test_errors_say_what_to_do(orders: Project, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the log has no predictions from that time"):
        skew.compare(orders)
    serve(orders, [row(1)])
    with pytest.raises(DataError, match="no predictions"):
        skew.compare(orders, since=NOW + timedelta(days=1))
    with pytest.raises(DataError, match=r"nowhere\.csv"):
        skew.compare(orders, source="nowhere.csv")
    with pytest.raises(DataError, match="no column 'ids'"):
        skew.compare(orders, identity="ids")


def test_a_retraining_goes_on_where_the_source_is_another_by_now(orders: Project) -> None:
    serve(orders, [row(index) for index in range(50)])
    (orders.folder / "orders.csv").write_text("size,kind\n1,a\n")
    made: list[Record] = []
    assert "asked" in skew.at_retraining(orders, NOW, made, "skew")
    (orders.folder / "orders.csv").unlink()
    assert skew.at_retraining(orders, NOW, made, "skew").startswith("not compared: ")
    assert made == []


def test_hidden_columns_are_left_out_and_named(orders: Project) -> None:
    declared = orders.folder / "kaizen.toml"
    declared.write_text(declared.read_text() + '[serve.log]\ndrop = ["size"]\n')
    orders = Project.open(orders.folder, clock=orders.clock)
    serve(orders, changed([row(index) for index in range(100)], size=lambda value: -value))
    report = skew.compare(orders)
    assert report.not_logged == ["size"]
    assert not report.is_skewed


def test_the_command_shows_it_to_people_and_to_programs(orders: Project, kaizen: Run_) -> None:  # noqa: F811
    serve(orders, changed([row(index) for index in range(300)], size=lambda value: value * 100))
    orders.log.close()
    said = kaizen("monitor", "skew", "--folder", orders.folder)
    assert said.code == 0
    assert "300 of 300 predictions were joined with a row by unit and time." in said.out
    assert "in serving it is multiplied by 100 (per cent and share)" in said.out
    told = json.loads(kaizen("monitor", "skew", "--json", "--since", "2026-03-09", "--folder", orders.folder).out)
    assert told["is_skewed"]
    assert 100 < told["report"]["match"]["pairs"] < 200
    assert [(f["subject"], f["verdict"]) for f in told["findings"]] == [("size", "watch"), ("size", "watch")]
    assert len(told["report"]["columns"][0]["examples"]) == 5
    wrong = kaizen("monitor", "skew", "--since", "yesterday", "--folder", orders.folder)
    assert wrong.code == 2
    assert "'yesterday' is no time; write 2026-01-31" in wrong.err


@pytest.mark.slow
def test_a_retraining_compares_the_newest_predictions_with_the_source_and_goes_on(project: Project) -> None:
    pipeline.learn(project)
    go_through(project, range(9))
    # The source has grown meanwhile, and has x in another unit than the server gets.
    rows = (project.folder / "rows.csv").read_text()
    for batch in project.log.predictions():
        if batch.columns:
            x = np.frombuffer(batch.numbers, "<f8")
            kinds = batch.strings
            rows += "".join(
                f"{datetime.fromtimestamp(at / 1e6, UTC):%Y-%m-%dT%H:%M:%S.%fZ},{value / 1000:.9f},{kind},1\n"
                for at, value, kind in zip(batch.at, x, kinds, strict=True)
            )
    (project.folder / "rows.csv").write_text(rows)
    go_through(project, range(9, 12))
    actions = [decision.action for decision in project.records.find(Decision)]
    assert actions == ["promote", "retrain", "shadow"]
    found = project.records.find(Finding, where={"question": "skew"})
    assert [(f.subject, f.verdict) for f in found] == [("x", "watch")]
    assert "in serving it is multiplied by a thousand" in found[0].says
    assert "x" in [finding.subject for finding in status(project.records.find(Finding)).open]
