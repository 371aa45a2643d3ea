"""Routing: sticky, in proportion, and a widened arm keeps its units."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kaizen.core.records import Arm
from kaizen.serve.router import Router

UNITS = [f"unit-{i}" for i in range(20_000)]


def challenged(share: float) -> Router:
    return Router("flat", [Arm("a", "champion", 1 - share), Arm("b", "challenger", share)])


def test_shares_are_kept_and_units_of_a_widened_arm_stay() -> None:
    narrow = {unit for unit in UNITS if challenged(0.1).arm_of(unit) == 1}
    wide = {unit for unit in UNITS if challenged(0.3).arm_of(unit) == 1}
    assert narrow < wide
    # Five standard errors of a share of 20,000 independent units.
    assert abs(len(narrow) / 20_000 - 0.1) < 5 * (0.09 / 20_000) ** 0.5
    assert abs(len(wide) / 20_000 - 0.3) < 5 * (0.21 / 20_000) ** 0.5


def test_endpoints_route_independently() -> None:
    other = Router("other", [Arm("a", "champion", 0.5), Arm("b", "challenger", 0.5)])
    both = sum(challenged(0.5).arm_of(unit) == other.arm_of(unit) == 1 for unit in UNITS)
    assert abs(both / 20_000 - 0.25) < 5 * (0.1875 / 20_000) ** 0.5


@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=5), st.text())
def test_any_unit_has_an_arm_and_propensities_sum_to_one(shares: list[float], unit: str) -> None:
    arms = [Arm(str(i), "champion" if i == 0 else "challenger", share) for i, share in enumerate(shares)]
    router = Router("e", arms)
    assert router.arm_of(unit) == Router("e", arms).arm_of(unit) < len(arms)
    assert abs(sum(router.propensities) - 1) < 1e-9
