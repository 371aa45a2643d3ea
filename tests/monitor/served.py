"""Made-up days of serving, as servers would have told of them."""

from datetime import UTC, datetime, timedelta

import numpy as np

from kaizen.core.clock import to_us
from kaizen.core.operations import Figures
from kaizen.monitor.serving.signals import served_days

FIRST = 20_000
BEGIN = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=FIRST)
# By hour: a quiet night, two humps.
SHAPE = 1 + np.sin(np.linspace(-np.pi / 2, 3.5 * np.pi, 24)) * 0.6 + np.linspace(0, 0.8, 24)
WEEK = np.array([1.0, 1.1, 1.05, 1.0, 1.2, 0.5, 0.4])


def histogram(values):
    return {k: int(n) for k, n in enumerate(np.bincount(np.frexp(np.floor(values))[1])) if n}


class World:
    """A server's days: what is given moves one of them away from what is usual.

    Weekdays and hours differ, days differ by a tenth or so, and more tails are heavier than that of a normal.
    """

    def __init__(self, seed=0, daily=20_000, spread=0.1, tails=4.0):
        self.rng = np.random.default_rng(seed)
        self.daily, self.spread, self.tails = daily, spread, tails

    def _noise(self):
        return float(np.exp(self.spread * self.rng.standard_t(self.tails) * 0.7))

    def day(
        self, day, *, slower=1.0, errors=0.0005, refusals=0.0, traffic=1.0, dearer=1.0, busier=1.0, held=1.0, silent=(),
        revision=1,
    ):  # fmt: skip
        """Return the 24 figures of a day."""
        rng, noise = self.rng, self._noise()
        demand = self.daily * WEEK[(day - FIRST) % 7] * traffic * noise * SHAPE / SHAPE.sum()
        scale, cost, memory = 4000 * slower * self._noise(), 0.05 * dearer * self._noise(), 150 * held * self._noise()
        error_share = errors * self._noise()
        found = []
        for hour in range(24):
            asked = 0 if hour in silent else int(rng.poisson(demand[hour]))
            bad, over = int(rng.binomial(asked, min(1, error_share))), int(rng.binomial(asked, refusals))
            good = asked - bad - over
            took = rng.lognormal(np.log(scale), 0.5, min(good, 200))
            part = histogram(took)
            factor = good / max(1, len(took))
            found.append(
                Figures(
                    at=to_us(BEGIN + timedelta(days=day - FIRST, hours=hour + 1)),
                    seconds=3600.0,
                    revisions={"p": revision},
                    requests={"predict": {200: good, 500: bad, 503: over}},
                    overloaded=over,
                    latency={k: max(1, round(n * factor)) for k, n in part.items()},
                    rows=good,
                    busy_s=min(3600.0, 0.12 * asked * busier),
                    cpu_s=5.0 + cost * good,
                    memory_byte_s=memory * 2**20 * 3600,
                    memory_peak=int(memory * 2**20),
                )
            )
        return found

    def days(self, count, change=None, start=FIRST):
        """Return so many served days; `change(day number)` gives what is unlike on a day, counted from 0."""
        figures = []
        for number in range(count):
            figures += self.day(start + number, **(change(number) if change else {}))
        return served_days(figures, range(start, start + count), "UTC")
