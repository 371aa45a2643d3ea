"""`kaizen monitor operations`: what servers told, as a table and as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from kaizen.core.clock import to_us
from kaizen.core.operations import Figures
from kaizen.core.operations_file import OperationsFile
from tests.cli.conftest import Run_
from tests.loop.conftest import TOML
from tests.loop.test_operations import LIMITS, promoted


def hour(at: datetime, *, bad: int = 0) -> Figures:
    return Figures(
        at=to_us(at),
        seconds=3600.0,
        starts=1,
        stops=1,
        requests={"predict": {200: 200 - bad, 500: bad}},
        latency={13: 200 - bad},
        rows=400,
        cpu_s=1.0,
        busy_s=360.0,
        memory_byte_s=3600.0 * (100 << 20),
    )


def test_a_project_that_was_never_served_says_what_to_do(kaizen: Run_, tmp_path: Path) -> None:
    promoted(tmp_path)
    said = kaizen("monitor", "operations", "--folder", tmp_path)
    assert (said.code, said.out) == (
        0,
        "No server has told of its work yet: kaizen serve tells every 10 s, into .kaizen/operations.\n",
    )


def test_the_serving_is_shown_by_day_with_its_cost_and_its_limits(kaizen: Run_, tmp_path: Path) -> None:
    promoted(tmp_path, TOML + "[monitor]\ncpu_hour_price = 3.6\n" + LIMITS)
    now = datetime.now(UTC)
    file = OperationsFile(tmp_path / ".kaizen" / "operations")
    for back in range(24 * 4 + 1):
        file.append(hour(now - timedelta(hours=back, minutes=1), bad=20 if back == 0 else 0))
    said = json.loads(kaizen("monitor", "operations", "--days", "3", "--json", "--folder", tmp_path).out)
    assert len(said["days"]) == 3
    assert said["signals"]["traffic"][:2] == [4800.0, 4800.0]
    assert said["signals"]["cpu"][0] == 2.5
    assert said["signals"]["cost"][0] == 2.5 / 1000
    assert said["signals"]["errors"][0] == 0.0
    assert 4.096 < said["signals"]["latency p50"][0] < 8.192
    assert said["starts"][0] == 24
    assert said["killed"][0] == 0
    assert said["learnt_days"] in (3, 4)  # at midnight the oldest line falls on a day more
    assert said["warm_up"] == 14
    (limit,) = said["limits"]
    assert (limit["name"], limit["share"], limit["budget"], limit["requests"]) == ("errors", 0.1, 0.01, 200)
    assert said["damaged"] == 0
    with next((tmp_path / ".kaizen" / "operations").glob(f"{now - timedelta(days=2):%Y-%m-%d}.lines")).open(
        "ab"
    ) as day:
        day.write(b"{} 00000000\n")
    table = kaizen("monitor", "operations", "--folder", tmp_path).out
    assert "1 damaged lines in .kaizen/operations were left out." in table
    assert "CPU s/1000" in table
    assert "of 14 whole days are known." in table
    assert "errors: of 200 in the last hour 10.00% failed; 1.00% may (burn rate 10)." in table
