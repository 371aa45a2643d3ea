"""The server of `tests.serve.small` with several workers; run as a program it serves a folder.

WORKERS=3 python -m tests.serve.several FOLDER      prints its ports (HTTP, gRPC or 0), serves until SIGTERM
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from kaizen.serve.workers import supervise


def main() -> None:
    logging.basicConfig(level=logging.INFO)
    seat = supervise(
        int(os.environ["WORKERS"]),
        host="127.0.0.1",
        port=int(sys.argv[2]) if len(sys.argv) > 2 else 0,
        grpc_port=int(os.environ["GRPC_PORT"]) if "GRPC_PORT" in os.environ else None,
        folder=Path(sys.argv[1]) / "shared",
        stop_with_parent=True,
    )
    os.environ["WORKER"] = str(seat.worker)
    from tests.serve import small  # only now: a supervisor imports little

    small.main(seat)


if __name__ == "__main__":
    main()
