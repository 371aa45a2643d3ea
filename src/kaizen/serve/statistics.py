"""The figures of a version of a model in the form of Triton's statistics.

| Triton's                        | ours (`stages.py`)                                        |
|---------------------------------|-----------------------------------------------------------|
| ``success``, ``fail``           | requests answered and not, from bytes read to the end     |
| ``queue``, ``compute_input``, … | the stages, by requests; the log is in ``compute_output`` |
| ``batch_stats``                 | the same by the rows of a batch, by batches               |
| ``cache_hit``, ``cache_miss``   | none: nothing is cached                                   |
"""

from __future__ import annotations

from typing import Any

from kaizen.serve.stages import Stages


def told(name: str, version: str, stages: Stages) -> dict[str, Any]:
    """Return the figures of a version under Triton's names."""
    queue, packing, running, logging, output = stages.spent_ns
    parts = stages.requests
    return {
        "name": name,
        "version": version,
        "last_inference": stages.last_ms,
        "inference_count": stages.rows,
        "execution_count": stages.batches,
        "inference_stats": {
            "success": _duration(stages.answered, stages.answered_ns),
            "fail": _duration(stages.failures, stages.failed_ns),
            "queue": _duration(parts, queue),
            "compute_input": _duration(parts, packing),
            "compute_infer": _duration(parts, running),
            "compute_output": _duration(parts, logging + output),
            "cache_hit": _duration(0, 0),
            "cache_miss": _duration(0, 0),
        },
        "batch_stats": [
            {
                "batch_size": rows,
                "compute_input": _duration(count, packing_ns),
                "compute_infer": _duration(count, running_ns),
                "compute_output": _duration(count, output_ns),
            }
            for rows, (count, packing_ns, running_ns, output_ns) in sorted(stages.sizes.items())
        ],
    }


def _duration(count: int, ns: int) -> dict[str, int]:
    return {"count": count, "ns": ns}
