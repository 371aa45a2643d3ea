"""Which arm answers a unit: sticky, without state, and with the probability that it was this one."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

from kaizen.core.records import Arm

_SCALE = 2.0**-64


class Router:
    """Sends units to arms by their shares.

    A unit's place in [0, 1) is a hash of the endpoint's name and the unit, so it is the same on every server and at
    every revision. Challengers stand before the champion: when one is widened, the units it has stay with it.

    Parameters
    ----------
    name
        The endpoint.
    arms
        Those with a share; shares are taken relative to their sum.
    """

    def __init__(self, name: str, arms: Sequence[Arm]) -> None:
        self._key = blake2b(name.encode(), digest_size=32).digest()
        total = sum(arm.share for arm in arms)
        self.propensities = [arm.share / total for arm in arms]
        order = sorted(range(len(arms)), key=lambda index: arms[index].role == "champion")
        bound = 0.0
        self._bounds: list[tuple[float, int]] = []
        for index in order:
            bound += self.propensities[index]
            self._bounds.append((bound, index))

    def arm_of(self, unit: str) -> int:
        """Return the index of the arm that answers this unit."""
        place = int.from_bytes(blake2b(unit.encode("utf-8", "surrogatepass"), key=self._key, digest_size=8).digest())
        for bound, index in self._bounds:
            if place * _SCALE < bound:
                return index
        return self._bounds[-1][1]  # the sum of the shares may round to just under 1
