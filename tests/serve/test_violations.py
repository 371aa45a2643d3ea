"""Rules of the rows that are served: counted behind the answer, or refused before it, by every way in."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kaizen.core.errors import RequestError
from kaizen.core.records import Arm
from kaizen.graph.frame import feeds as packed
from kaizen.graph.frame import from_rows
from kaizen.serve.reader import Inputs, Reader
from kaizen.serve.violations import Rowwatch, rowwatch
from tests.serve.conftest import Process
from tests.serve.small import COLUMNS, ROW, RULES, SmallModel, endpoint
from tests.serve.test_metrics import figures

RULED = endpoint(1, Arm("ruled-1", "champion", 1.0))
ODD = ROW | {"width": 50.0, "a name, with signs/%é": -1.0, "shop": "Z", "owner": None}
BROKEN = {
    ("width", "range"): 1, ("a name, with signs/%é", "range"): 1, ("shop", "categories"): 1, ("owner", "missing"): 1,
}  # fmt: skip

NONE = "a value is missing: expected one; correct the row"


def told(watch: Rowwatch) -> dict[tuple[str, str], int]:
    return {(rule.name, rule.kind): count for rule, count in watch.totals()}


def counted(server: Process) -> dict[tuple[str, str], float]:
    found = {}
    for key, value in figures(server).items():
        name, *labels = key.split("|")
        if name == "kaizen_violations_total":
            own = dict(label.split("=", 1) for label in labels)
            found[own["column"], own["rule"]] = value
    return found


def inputs(rows: list[dict[str, Any]], *, flat: bool) -> Inputs:
    feeds = packed(COLUMNS, from_rows(COLUMNS, rows))
    made = Inputs(len(rows), None if flat else feeds)
    if flat:
        made.numbers = [None if np.isnan(value) else value for value in feeds["numbers"].ravel().tolist()]
        made.times, made.strings = feeds["times"].ravel().tolist(), feeds["strings"].ravel().tolist()
    return made


@pytest.mark.parametrize("rows", [1, 10, 200])
@pytest.mark.parametrize("flat", [True, False])
def test_each_row_counts_once_a_rule(rows: int, flat: bool) -> None:
    watch = Rowwatch(RULES, Reader(COLUMNS, len(COLUMNS)))
    odd = ODD | {"width": 200.0, "heavy": False}  # breaks `extreme` in the place of `range`, and the check
    watch.count([inputs([ROW, ODD, odd] * rows, flat=flat)])
    watch.count([inputs([ROW], flat=flat), inputs([ROW], flat=flat)])
    assert told(watch) == {
        ("width", "range"): rows,
        ("width", "extreme"): rows,
        ("a name, with signs/%é", "range"): 2 * rows,
        ("shop", "categories"): 2 * rows,
        ("owner", "missing"): 2 * rows,
        ("heavy", "check"): rows,
    }


def test_a_model_without_rules_costs_nothing() -> None:
    reader = Reader(COLUMNS, len(COLUMNS))
    assert rowwatch(SmallModel("sum-1"), reader) is None
    assert rowwatch(object(), reader) is None
    assert rowwatch(SmallModel("ruled-1"), reader) is not None


@pytest.mark.parametrize(
    ("change", "where", "what"),
    [
        ({"a name, with signs/%é": -1.0}, "rows[1].a name, with signs/%é", "expected at least 0, got -1.0"),
        ({"owner": None}, "rows[1].owner", "a value is missing: expected one"),
        ({"width": 200.0, "heavy": False}, "rows[1]", "the check 'heavy' does not hold: width < 100 or heavy"),
    ],
)
@pytest.mark.parametrize("flat", [True, False])
def test_a_row_that_breaks_a_declared_rule_is_refused_with_its_place(
    change: dict[str, Any], where: str, what: str, flat: bool
) -> None:
    watch = Rowwatch(RULES, Reader(COLUMNS, len(COLUMNS)))
    with pytest.raises(RequestError) as caught:
        watch.refuse([inputs([ROW], flat=flat), inputs([ROW | change], flat=flat)])  # a chunk each
    assert (caught.value.status, caught.value.where, caught.value.what) == (422, where, what)
    assert sum(told(watch).values()) == 1


def test_what_the_data_suggested_refuses_nothing() -> None:
    watch = Rowwatch(RULES, Reader(COLUMNS, len(COLUMNS)))
    odd = ROW | {"width": 5e9, "shop": "Z"}
    watch.refuse([inputs([odd], flat=True)])


def test_refusals_of_two_threads_are_all_counted() -> None:
    watch = Rowwatch(RULES, Reader(COLUMNS, len(COLUMNS)))
    bad = [inputs([ROW | {"owner": None}], flat=True)]

    def ask() -> None:
        for _ in range(500):
            with pytest.raises(RequestError):
                watch.refuse(bad)

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told(watch) == {("owner", "missing"): 1000}


def test_by_default_an_odd_row_is_answered_and_counted(launch: Callable[..., Process]) -> None:
    server = launch(RULED)
    status, answer = server.ask("POST", "/v1/predict", {"rows": [ROW, ODD]})
    assert (status, len(answer["predictions"])) == (200, 2)
    server.ask("POST", "/invocations", {"dataframe_records": [ODD] * 60})
    assert counted(server) == dict.fromkeys(BROKEN, 61)


def test_if_asked_to_a_declared_rule_refuses_the_row_by_every_way_in(launch: Callable[..., Process]) -> None:
    server = launch(RULED, SERVE='{"on_violation": "refuse"}')
    assert server.ask("POST", "/v1/predict", {"rows": [ROW, ROW | {"shop": "Z", "width": 50.0}]})[0] == 200
    status, answer = server.ask("POST", "/v1/predict", {"rows": [ROW, ROW | {"owner": None}]})
    assert (status, answer["error"]) == (422, f"rows[1].owner: {NONE}")
    large: dict[str, Any] = {"rows": [ROW] * 5000 + [ROW | {"owner": None}]}
    assert len(json.dumps(large)) > 1 << 17
    status, answer = server.ask("POST", "/v1/predict", large)
    assert (status, answer["error"]) == (422, f"rows[5000].owner: {NONE}")
    status, answer = server.ask("POST", "/invocations", {"dataframe_records": [ROW | {"owner": None}]})
    assert (status, "owner" in json.dumps(answer)) == (422, True)
    tensors = [
        {"name": name, "shape": [1], "datatype": kind, "data": [value]}
        for name, kind, value in (
            ("width", "FP64", 3.0),
            ("a name, with signs/%é", "FP64", -2.0),
            ("at", "INT64", 0),
            ("shop", "BYTES", "UA"),
            ("heavy", "BOOL", True),
            ("owner", "BYTES", "x"),
        )
    ]
    status, answer = server.ask("POST", "/v2/models/small/infer", {"inputs": tensors})
    assert (status, "at least 0" in json.dumps(answer)) == (422, True)
    assert counted(server) == BROKEN | {("owner", "missing"): 3}
    assert sum(len(batch.ids) for batch in server.predictions()) == 2
