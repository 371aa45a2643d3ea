"""The rules of one row of 50 fields, checked as each request is: beside validators of one row, and the floor.

Every way in gets the same 200 rows and the same rules, ranges of numbers, known categories, values that may not be
missing, and has to agree on which rows break one. The floor unpacks the 50 values and does nothing. Rivals that are not
installed are left out: `pip install pydantic fastjsonschema jsonschema "pandera[pandas]"`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from operator import itemgetter
from typing import Any, Literal

import numpy as np
from _report import arguments, goal, machine, table

from kaizen.core.records import Column
from kaizen.core.rules import Check, RowRule, Rule, Rules, row_rules
from kaizen.graph.batch_check import BatchCheck
from kaizen.graph.frame import from_rows
from kaizen.graph.row_check import row_check
from kaizen.page.charts import Bar, bars
from kaizen.page.page import Html

NUMBERS = [f"n{at}" for at in range(34)]
CATEGORIES = [f"c{at}" for at in range(16)]
VALUES = tuple("abcdefghij")
COLUMNS = (*(Column(name, "number") for name in NUMBERS), *(Column(name, "category") for name in CATEGORIES))
RULES = Rules(
    rows=10_000,
    task="classification",
    target="y",
    columns=(
        *(Rule(column=name, type="number", low=0.0, high=1.0, never_missing=True) for name in NUMBERS),
        *(Rule(column=name, type="category", categories=VALUES, never_missing=True) for name in CATEGORIES),
    ),
)
CHECKS = (Check("sum", "n0 + n1 <= n2 + 9"), Check("order", "n3 < n4 + 9"), Check("kind", "c0 != 'a' or n5 < 9"))
LOW, HIGH = -1.0, 2.0  # what is usual about 0 to 1
Row = dict[str, Any]


def main() -> None:
    """Measure and print."""
    measure(quick=arguments(__doc__).quick)
    machine("pydantic", "fastjsonschema", "jsonschema", "pandera")


def measure(*, quick: bool) -> Html:
    """Print the time of a row by each; return the picture of those below a tenth of a millisecond."""
    rows = _rows(200)
    ways: dict[str, Callable[[Row], bool]] = {
        "kaizen, as the server calls it": _kaizen(RULES),
        "kaizen, with 3 checks between columns": _kaizen(RULES, CHECKS),
        "kaizen, from a dictionary": _kaizen_from_dictionary(),
        "a loop over the rules in Python": _loop,
    }
    for make in (_pydantic, _fastjsonschema, _jsonschema, _pandera):
        try:
            ways |= make()
        except ImportError as err:
            print(f"  SKIPPED  {err}")
    expected = [_is_good(row) for row in rows]
    figures = {}
    for name, is_good in ways.items():
        prepared = rows if name not in _PREPARED else [_PREPARED[name](row) for row in rows]
        assert [is_good(row) for row in prepared] == expected, name
        figures[name] = _microseconds(is_good, prepared, 0.05 if quick else 0.5)
    floor = _microseconds(_unpacking(), [_flat(row) for row in rows], 0.05 if quick else 0.5)
    own = figures["kaizen, as the server calls it"]
    shown = [[name, f"{us:.2f}", f"{us / own:.1f}"] for name, us in figures.items()]
    table(
        ("one row of 50 fields", "us", "times"),
        [*shown, ["unpacking the values", f"{floor:.2f}", f"{floor / own:.2f}"]],
    )
    goal("the rules of a row of 50 fields", own, 20.0, unit=" us")
    _batch(quick=quick)
    shown = [Bar(name, us, quiet="kaizen" not in name) for name, us in {**figures, "unpacking (floor)": floor}.items()]
    return bars([bar for bar in shown if bar.value < 100], title="One row of 50 fields checked", x="us", reference=20.0)


def _rows(count: int) -> list[Row]:
    """Return rows of which one in four breaks a rule: a number out of range, an unknown category, none at all."""
    rng = np.random.default_rng(0)
    made: list[Row] = []
    for at in range(count):
        row: Row = dict(zip(NUMBERS, rng.random(len(NUMBERS)).tolist(), strict=True))
        row |= dict(zip(CATEGORIES, rng.choice(VALUES, len(CATEGORIES)).tolist(), strict=True))
        if at % 4 == 0:
            row[f"n{at % 34}"] = 7.5 if at % 3 else None
        if at % 8 == 0:
            row[f"c{at % 16}"] = "zz"
        made.append(row)
    return made


def _is_good(row: Row) -> bool:
    numbers = all(row[name] is not None and LOW <= row[name] <= HIGH for name in NUMBERS)
    return numbers and all(row[name] in VALUES for name in CATEGORIES)


def _flat(row: Row) -> Any:
    return [row[name] for name in NUMBERS], [], [row[name] or "" for name in CATEGORIES]


_PREPARED: dict[str, Callable[[Row], Any]] = {
    "kaizen, as the server calls it": _flat,
    "kaizen, with 3 checks between columns": _flat,
}


def _kaizen(rules: Rules, checks: tuple[Check, ...] = ()) -> Callable[[Any], bool]:
    rules = Rules(rows=1, task="classification", target="y", columns=rules.columns, checks=checks)
    check = row_check(row_rules(rules), COLUMNS)
    assert check is not None
    return lambda row: not check(*row)


def _kaizen_from_dictionary() -> Callable[[Row], bool]:
    check = row_check(row_rules(RULES), COLUMNS)
    numbers, strings = itemgetter(*NUMBERS), itemgetter(*CATEGORIES)
    assert check is not None
    return lambda row: not check(numbers(row), (), strings(row))


_RULES: tuple[RowRule, ...] = row_rules(RULES)


def _loop(row: Row) -> bool:
    for rule in _RULES:
        value = row[rule.name]
        if rule.kind == "missing":
            if value is None:
                return False
        elif rule.kind == "categories":
            if value not in rule.values:
                return False
        elif value is not None:
            low, high = rule.bounds
            if not low <= value <= high:
                return False
    return True


def _pydantic() -> dict[str, Callable[[Row], bool]]:
    from pydantic import ValidationError, create_model
    from pydantic.fields import FieldInfo

    fields: dict[str, Any] = {name: (float, FieldInfo(ge=LOW, le=HIGH)) for name in NUMBERS}
    fields |= dict.fromkeys(CATEGORIES, (Literal[VALUES], ...))
    model = create_model("Model", **fields)
    validate = model.__pydantic_validator__.validate_python

    def is_good(row: Row) -> bool:
        try:
            validate(row)
        except ValidationError:
            return False
        return True

    return {"pydantic": is_good}


def _schema() -> dict[str, Any]:
    properties: dict[str, Any] = {name: {"type": "number", "minimum": LOW, "maximum": HIGH} for name in NUMBERS}
    properties |= {name: {"enum": list(VALUES)} for name in CATEGORIES}
    return {"type": "object", "properties": properties, "required": [*NUMBERS, *CATEGORIES]}


def _fastjsonschema() -> dict[str, Callable[[Row], bool]]:
    import fastjsonschema

    validate = fastjsonschema.compile(_schema())

    def is_good(row: Row) -> bool:
        try:
            validate(row)
        except fastjsonschema.JsonSchemaException:
            return False
        return True

    return {"fastjsonschema": is_good}


def _jsonschema() -> dict[str, Callable[[Row], bool]]:
    import jsonschema

    return {"jsonschema": jsonschema.Draft202012Validator(_schema()).is_valid}


def _pandera() -> dict[str, Callable[[Row], bool]]:
    import pandas as pd
    import pandera.pandas as pa

    columns: dict[str, Any] = {name: pa.Column(float, pa.Check.in_range(LOW, HIGH)) for name in NUMBERS}
    columns |= {name: pa.Column(None, pa.Check.isin(VALUES)) for name in CATEGORIES}
    schema = pa.DataFrameSchema(columns)

    def is_good(row: Row) -> bool:
        frame = pd.DataFrame([row]).astype(dict.fromkeys(NUMBERS, float))
        try:
            schema.validate(frame)
        except pa.errors.SchemaError:
            return False
        return True

    return {"pandera, a table of one row": is_good}


def _unpacking() -> Callable[[Any], object]:
    scope: dict[str, Any] = {}
    names = (", ".join(NUMBERS), ", ".join(CATEGORIES))
    exec(f"def unpack(row):\n    {names[0]}, = row[0]\n    {names[1]}, = row[2]", scope)
    unpack: Callable[[Any], object] = scope["unpack"]
    return unpack


def _microseconds(work: Callable[[Any], object], rows: list[Any], least_s: float) -> float:
    """Return the time of one call, the best of five runs over the good rows and the others."""
    best = float("inf")
    for _ in range(5):
        calls, start = 0, time.perf_counter()
        while time.perf_counter() - start < least_s / 5:
            for row in rows:
                work(row)
            calls += len(rows)
        best = min(best, (time.perf_counter() - start) / calls)
    return best * 1e6


def _batch(*, quick: bool) -> None:
    rows = _rows(200) * (5 if quick else 500)
    frame = {name: np.ascontiguousarray(values) for name, values in from_rows(COLUMNS, rows).items()}
    check = BatchCheck(RULES)
    start = time.perf_counter()
    found = check.broken(frame)
    took = time.perf_counter() - start
    print(f"  many at once: {len(rows):,} rows in {took * 1e3:.0f} ms, {took / len(rows) * 1e6:.2f} us a row,", end="")
    print(f" {int(found.any(axis=1).sum()):,} break a rule")


if __name__ == "__main__":
    main()
