"""Made-up days of predictions, and a stamp: what the tests of the monitors share."""

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from kaizen.core.ids import derived
from kaizen.core.records import Column, Finding
from kaizen.monitor.reference import fit
from kaizen.monitor.watch import Block

COLUMNS = (
    Column("price", "number"),
    Column("size", "number"),
    Column("kind", "category"),
    Column("member", "boolean"),
    Column("when", "time"),
)
FIRST_DAY = 16000


def rows(rng, count):
    """Return rows without any change in them."""
    size = rng.normal(10, 2, count)
    size[rng.random(count) < 0.02] = np.nan
    return {
        "price": rng.lognormal(3, 0.5, count),
        "size": size,
        "kind": rng.choice(np.array(["a", "b", "c", "d"], dtype=object), count, p=[0.5, 0.3, 0.15, 0.05]),
        "member": (rng.random(count) < 0.4).astype(float),
        "when": rng.integers(0, 10**15, count),
    }


def losses(rng, count, level=0.5):
    """Return losses of a day, whose mean moves a tenth from day to day."""
    return rng.exponential(level * np.exp(0.1 * rng.standard_normal()), count)


def reference(rng, days=40, a_day=300):
    """Return the reference of so many days."""
    blocks = np.repeat(np.arange(FIRST_DAY - days, FIRST_DAY), a_day)
    loss = np.concatenate([losses(rng, a_day) for _ in range(days)])
    return fit(
        COLUMNS,
        rows(rng, len(blocks)),
        rng.random(len(blocks)),
        blocks=blocks,
        losses=loss,
        loss_blocks=blocks,
    )


def block(rng, day, frame=None, matured=(), count=300):
    """Return an event day with these rows, or with rows as ever."""
    frame = rows(rng, count) if frame is None else frame
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
    return Block(
        day=day,
        start=start,
        end=start + timedelta(days=1),
        frame=frame,
        outputs=rng.random(len(frame["price"])),
        matured=matured,
    )


def stamp(**evidence):
    """Return the Finding of this evidence, which can be stored; the id is a hash of question, subject and window."""
    end = evidence["end"]
    found = Finding(
        id=derived(end, evidence["question"], evidence["subject"]), project="p", at=end, by="monitor", **evidence
    )
    msgspec.json.encode(found)  # refuses what is not Python's own, such as a float of numpy
    return found
