"""Plain rows: what is accepted, refused, answered and logged."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaizen.core.clock import SystemClock
from kaizen.core.errors import RequestError
from kaizen.core.records import Arm, Column
from kaizen.graph.frame import RowReader, from_batch
from kaizen.serve.reader import Reader
from kaizen.serve.rows import RowDecoder
from tests.serve.conftest import Process
from tests.serve.small import COLUMNS, NOON, ROW, endpoint, expected

SIGNED = "a name, with signs/%é"


@pytest.mark.conformance("plain rows", "`POST /v1/predict`", client="played")
def test_a_prediction_is_answered_with_what_explains_it_and_logged_as_answered(server: Process) -> None:
    rows = [ROW, {**ROW, "width": None, "owner": None, "heavy": False}, {**ROW, "at": None, "shop": ""}]
    body = {"rows": rows, "id": "önly-mine", "at": "2013-06-02"}
    status, answer = server.ask("POST", "/v1/predict", body)
    assert status == 200
    assert (answer["id"], answer["endpoint"], answer["revision"]) == ("önly-mine", "small", 1)
    assert [p["value"] for p in answer["predictions"]] == [expected(row) for row in rows]
    assert {(p["bundle"], p["arm"]) for p in answer["predictions"]} == {("sum-1", "champion")}
    ids = [p["id"] for p in answer["predictions"]]
    batch = next(batch for batch in server.predictions() if ids[0] in batch.ids)
    assert batch.ids == ids
    assert batch.units == ["N1", None, "N1"]
    assert batch.at == [NOON, NOON, NOON + 43_200_000_000]
    assert batch.requests == ["önly-mine"] * 3
    assert (batch.outputs, batch.propensity) == ([expected(row) for row in rows], [1.0] * 3)
    frame = from_batch(batch)
    np.testing.assert_array_equal(frame["width"], [3.5, np.nan, 3.5])
    assert frame["shop"].tolist() == ["UA", "UA", ""]
    assert frame["owner"].tolist() == ["N1", "", "N1"]


def test_ids_and_units_of_the_caller_are_kept(server: Process) -> None:
    body = {"rows": [ROW, ROW], "ids": ["mine-1", "mine_2"], "unit": ["u", None]}
    _, answer = server.ask("POST", "/v1/predict", body, x_request_id="header")
    assert answer["id"] == "header"
    assert [p["id"] for p in answer["predictions"]] == ["mine-1", "mine_2"]
    batch = next(batch for batch in server.predictions() if "mine-1" in batch.ids)
    assert (batch.ids, batch.units, batch.requests) == (["mine-1", "mine_2"], ["u", None], ["header", "header"])


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in ROW.items() if key != name}


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "the body is not JSON: it ends too early"),
        (b"{", 400, "the body is not JSON: "),
        (b"\xff", 400, "the body is not JSON: "),
        (b"[" * 100_000, 400, "body: "),
        ([], 400, "body: expected 'object', got 'array'"),
        ({}, 400, "body: it lacks 'rows'"),
        ({"row": []}, 400, "body: unknown member 'row'; did you mean 'rows'?"),
        ({"rows": []}, 400, "rows: expected at least one row"),
        ({"rows": [1]}, 400, "rows[0]: expected an object"),
        ({"rows": [ROW, {**ROW, "width": "3"}]}, 400, 'rows[1].width: expected a finite number or null, got "3"'),
        ({"rows": [{**ROW, "width": True}]}, 400, "rows[0].width: expected a finite number"),
        (b'{"rows": [{"width": 1e999}]}', 400, "number out of range"),
        (b'{"rows": [{"width": NaN}]}', 400, "the body is not JSON: "),
        ({"rows": [{**ROW, "shop": 7}]}, 400, "rows[0].shop: expected text or null, got 7"),
        ({"rows": [{**ROW, "heavy": 2}]}, 400, "rows[0].heavy: expected true, false or null, got 2"),
        ({"rows": [{**ROW, "at": "noon"}]}, 400, "rows[0].at: expected an ISO 8601 time"),
        ({"rows": [{**ROW, "widht": 1}]}, 400, "rows[0]: unknown column 'widht'; did you mean 'width'?"),
        ({"rows": [without("shop")]}, 400, "rows[0]: column 'shop' is not there; send null"),
        ({"rows": [ROW], "ids": ["a", "b"]}, 400, "ids: expected 1 prediction ids"),
        ({"rows": [ROW, ROW], "ids": ["a", "a"]}, 400, "ids: a prediction id occurs twice"),
        ({"rows": [ROW], "ids": ["a b"]}, 400, "ids[0]: "),
        ({"rows": [ROW], "unit": ["a", "b"]}, 400, "unit: expected 1 units"),
        ({"rows": [ROW], "at": "soon"}, 400, "at: expected an ISO 8601 time"),
        ({"rows": [ROW, {**ROW, "width": 666}]}, 422, "rows[1]: the model failed: ValueError"),
        ({"rows": [ROW, {**ROW, "width": 667}]}, 422, "rows[1]: the model's answer to this row is not a number"),
    ],
)
def test_what_cannot_be_is_refused_with_its_path(server: Process, body: Any, status: int, says: str) -> None:
    found, answer = server.ask("POST", "/v1/predict", body)
    assert found == status
    assert list(answer) == ["error"]
    assert says in answer["error"]
    assert len(answer["error"]) < 300


def test_one_bad_row_among_concurrent_requests_harms_no_other(server: Process) -> None:
    results: dict[int, tuple[int, Any]] = {}

    def ask(i: int) -> None:
        row = {**ROW, "width": 666 if i % 10 == 3 else i}
        results[i] = server.ask("POST", "/v1/predict", {"rows": [row]})

    for _ in range(3):
        threads = [threading.Thread(target=ask, args=(i,)) for i in range(30)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for i, (status, answer) in results.items():
            assert status == (422 if i % 10 == 3 else 200), answer
            if status == 200:
                assert answer["predictions"][0]["value"] == expected({**ROW, "width": i})


def test_a_large_request_is_answered_in_order_and_small_ones_get_between(launch: Callable[..., Process]) -> None:
    server = launch(endpoint(1, Arm("slow-1", "champion", 1.0)))
    rows = [{**ROW, "width": 1000 + i} for i in range(2500)]
    done: list[Any] = []
    body = {"rows": rows, "ids": [f"r{i}" for i in range(2500)]}
    thread = threading.Thread(target=lambda: done.append(server.ask("POST", "/v1/predict", body)))
    thread.start()
    between = 0
    while not done and between < 1000:
        assert server.ask("GET", "/healthz")[0] == 200
        assert server.ask("POST", "/v1/predict", {"rows": [ROW]})[0] == 200
        between += 1
    thread.join()
    status, answer = done[0]
    assert status == 200
    assert [p["id"] for p in answer["predictions"]] == body["ids"]
    assert [p["value"] for p in answer["predictions"]] == [expected(row) for row in rows]
    assert between >= 2  # a small request waits for one chunk at most, not for all five


def test_a_split_endpoint_answers_a_unit_by_one_arm_and_says_which(launch: Callable[..., Process]) -> None:
    server = launch(endpoint(1, Arm("sum-1", "champion", 0.75), Arm("sum-2", "challenger", 0.25)))
    rows = [{**ROW, "owner": f"unit{i % 200}"} for i in range(800)]
    _, answer = server.ask("POST", "/v1/predict", {"rows": rows})
    arms: dict[str, set[str]] = {}
    for row, prediction in zip(rows, answer["predictions"], strict=True):
        factor = {"champion": 1.0, "challenger": 2.0}[prediction["arm"]]
        assert prediction["value"] == expected(row, factor)
        arms.setdefault(row["owner"], set()).add(prediction["arm"])
    assert all(len(seen) == 1 for seen in arms.values())
    share = sum(seen == {"challenger"} for seen in arms.values()) / len(arms)
    assert 0.15 < share < 0.35
    logged = {b.role: set(b.propensity) for b in server.predictions()}
    assert logged == {"champion": {0.75}, "challenger": {0.25}}


VALUES = {
    "number": st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70),
    "boolean": st.none() | st.booleans() | st.sampled_from([0, 1]),
    "time": st.none() | st.datetimes().map(lambda at: at.isoformat()) | st.integers(-(10**15), 10**15),
    "category": st.none() | st.text(max_size=5),
    "text": st.none() | st.text(max_size=5),
}
ODD = st.sampled_from([True, "x", 3, -1.5, [], {}, "2013-01-01", 10**400])


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_the_fast_reader_agrees_with_the_careful_one(data: st.DataObject) -> None:
    decoder = RowDecoder(Reader(COLUMNS, len(COLUMNS)), "at", "owner", SystemClock())
    value = {column.name: VALUES[column.type] for column in COLUMNS}
    rows = data.draw(st.lists(st.fixed_dictionaries(value), min_size=1, max_size=4))
    if data.draw(st.booleans()):
        rows[0][data.draw(st.sampled_from(sorted(ROW)))] = data.draw(ODD)
    body = json.dumps({"rows": rows}).encode()
    try:
        wanted = RowReader(COLUMNS).feeds(json.loads(body)["rows"])
    except RequestError as err:
        with pytest.raises(RequestError, match=rf"{re.escape(err.where)}|out of range"):
            decoder.decode(body)
        return
    for decode in (decoder.decode, decoder.decode_large):
        _, inputs = decode(body)
        packed = Reader(COLUMNS, len(COLUMNS)).pack(inputs)
        for group, tensor in wanted.items():
            np.testing.assert_array_equal(packed[group], tensor)


def test_a_column_of_any_name_can_be_read() -> None:
    columns = (Column('quo"ted\\', "number"), Column("unit", "number"))
    decoder = RowDecoder(Reader(columns, 2), None, "unit", SystemClock())
    asked, inputs = decoder.decode(
        json.dumps({"rows": [{'quo"ted\\': 1, "unit": 42}, {'quo"ted\\': 1, "unit": None}]}).encode()
    )
    assert decoder.units(asked.unit, inputs) == ["42", None]


def test_a_column_that_only_a_challenger_reads_may_be_absent() -> None:
    reader = Reader((Column("a", "number"), Column("new", "category")), 1)
    decoder = RowDecoder(reader, None, None, SystemClock())
    for body in (b'{"rows":[{"a":1}]}', b'{"rows":[{"a":1,"new":null}]}'):
        _, inputs = decoder.decode(body)
        assert reader.pack(inputs)["strings"].tolist() == [[""]]
    with pytest.raises(RequestError, match="column 'a' is not there"):
        decoder.decode(b'{"rows":[{"new":"x"}]}')
