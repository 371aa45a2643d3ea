"""Every claim of the data plane in one run, and all goals once more at its end: ``python -m serving``."""

from __future__ import annotations

import importlib.util
import time

from _report import arguments, machine, summary

from serving import binary, logged, one_row, open_loop, ready
from serving.stage import staged


def main() -> None:
    """Measure and print."""
    begun = time.monotonic()
    options = arguments(__doc__)
    with staged(quick=options.quick) as stage:
        for claim in (one_row, open_loop, binary, logged, ready):
            print(f"-- {claim.__name__}: {(claim.__doc__ or '').partition(chr(10))[0]}", flush=True)
            claim.measure(stage)
    if importlib.util.find_spec("batching") is not None:
        print("-- batching", flush=True)
        importlib.import_module("batching").main()
    machine("onnxruntime", "lightgbm", "msgspec", "uvloop", "httptools")
    print(f"-- all goals; measured in {time.monotonic() - begun:.0f} s")
    summary()


if __name__ == "__main__":
    main()
