"""Coverage-guided fuzzing of one target of `fuzz.py`; ends with 0, or says which input broke it.

python -m tests.serve.fuzz_guided TARGET SECONDS [libFuzzer's options, folders of inputs to begin with]
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["kaizen"]):
    from tests.serve import fuzz


def main() -> None:
    target, seconds, *others = sys.argv[1:]
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-max_len=2048", *others], fuzz.TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
