"""What a reference knows of some of the rows: listed segments, slices to blame, groups to treat alike."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from kaizen.core.records import Column, Task
from kaizen.graph.frame import Frame
from kaizen.monitor.performance.loss import LOG_LOSS_CAP
from kaizen.monitor.performance.openday import Measures
from kaizen.monitor.reference import Reference
from kaizen.monitor.segments import fairness as fair
from kaizen.monitor.segments import segments as segment
from kaizen.monitor.segments import slices

Float = NDArray[np.float64]


def with_facets(
    reference: Reference,
    columns: Sequence[Column],
    frame: Frame,
    *,
    outputs: Float,
    target: Float,
    losses: Float,
    blocks: NDArray[np.int64],
    task: Task,
    segments: Collection[str] = (),
    fairness: Collection[str] = (),
) -> Reference:
    """Return the reference with its segments, slices and groups; as it was where losses are too few to watch.

    Parameters
    ----------
    columns
        The raw columns that requests carry.
    frame, outputs, target, losses, blocks
        Rows that the model had not seen: inputs, answers, labels, losses and days, shape (rows,).
    segments, fairness
        The listed columns.
    """
    if reference.loss is None:
        return reference
    cut = np.minimum(losses, reference.loss.cap)
    return msgspec.structs.replace(
        reference,
        segments=segment.fit(columns, segments, frame, cut, blocks),
        slices=slices.fit(columns, frame, cut, blocks, first=segments),
        fairness=fair.fit(columns, fairness, frame, outputs, target, cut, blocks, task=task),
    )


def measures_of(reference: Reference, task: Task) -> Measures:
    """Return what the sums of an open day are made of: losses cut as in the reference, answers alike by its bins."""
    cap = max(reference.loss.cap, 1e-12) if reference.loss is not None else LOG_LOSS_CAP
    edges = reference.output.bins.edges if reference.output is not None else None
    alike = tuple(edges[1:-2][2::2]) if edges else ()
    if task == "classification":
        return Measures(task, ("log_loss", "brier", "error"), (cap, 1.0, 1.0), alike)
    return Measures(task, ("squared", "absolute"), (cap, float(np.sqrt(cap))), alike)
