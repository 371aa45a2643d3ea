"""Start: `import kaizen` and `kaizen --help`, beside bare Python and FastAPI; `serving/ready.py` has the server's.

Everything is compiled to bytecode first, as an installation is, in a folder that is thrown away afterwards.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from _report import arguments, goal, machine, table
from _servers import BIN
from serving.peers import FASTAPI, installed

PYTHON = sys.executable
COMMANDS = {
    "python -c pass (floor)": [PYTHON, "-c", "pass"],
    "import kaizen": [PYTHON, "-c", "import kaizen"],
    "import fastapi (rival)": [str(FASTAPI.bin / "python"), "-c", "import fastapi"],
    "import onnxruntime (floor of serving)": [PYTHON, "-c", "import onnxruntime"],
    "kaizen --help": [str(BIN / "kaizen"), "--help"],
    "uvicorn --help (rival)": [str(FASTAPI.bin / "uvicorn"), "--help"],
}


def main() -> None:
    """Measure and print."""
    times = 3 if arguments(__doc__).quick else 15
    rivals = installed([FASTAPI.name])
    commands = {name: command for name, command in COMMANDS.items() if rivals or "rival" not in name}
    with tempfile.TemporaryDirectory(prefix="kaizen-bench-") as name:
        env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        env["PYTHONPYCACHEPREFIX"] = str(Path(name) / "bytecode")
        found = _commands(commands, env, times)
    table(
        ("what", "wall ms", "CPU ms"),
        [[name, f"{wall * 1e3:.0f}", f"{cpu * 1e3:.0f}"] for name, (wall, cpu) in found.items()],
    )
    goal("import kaizen", found["import kaizen"][0] * 1e3, 150, unit=" ms")
    goal("kaizen --help", found["kaizen --help"][0] * 1e3, 200, unit=" ms")
    machine("onnxruntime", "click")


def _commands(
    commands: Mapping[str, Sequence[str]], env: Mapping[str, str], times: int
) -> dict[str, tuple[float, float]]:
    """Return the median wall and CPU seconds of each command; they take turns."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(times + 1):
        for name, command in commands.items():
            before, start = _children_s(), time.perf_counter()
            subprocess.run(command, env=env, stdout=subprocess.DEVNULL, check=True)
            spent = (time.perf_counter() - start, _children_s() - before)
            if number:  # the first run compiles
                found[name].append(spent)
    return {name: (median(w for w, _ in runs), median(c for _, c in runs)) for name, runs in found.items()}


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
