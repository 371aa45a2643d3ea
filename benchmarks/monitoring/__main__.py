"""Every claim of the monitors in one run, with tables and plots: ``python -m monitoring``.

The page is written to ``.bench/monitoring.html``; with ``--quick`` it takes minutes, and is not to be quoted.
"""

from __future__ import annotations

import contextlib
import io
import sys
import time
from types import ModuleType
from typing import TextIO

from _report import arguments, machine, summary

from kaizen.page.page import Html, block, page, section
from monitoring import contract, delays, estimates, late_labels, operations, row_check, run_length, throughput, windows
from monitoring.rival import CACHE

CLAIMS: tuple[ModuleType, ...] = (
    throughput,
    row_check,
    late_labels,
    windows,
    delays,
    run_length,
    contract,
    operations,
    estimates,
)


class _Both(io.StringIO):
    """What is printed is shown, and kept."""

    def __init__(self, screen: TextIO) -> None:
        super().__init__()
        self._screen = screen

    def write(self, text: str) -> int:
        self._screen.write(text)
        self._screen.flush()
        return super().write(text)


def main() -> None:
    """Measure, print, and write the page."""
    begun = time.monotonic()
    quick = arguments(__doc__).quick
    sections = [_section(claim, quick=quick) for claim in CLAIMS]
    with contextlib.redirect_stdout(_Both(sys.stdout)) as told:
        print(f"-- all goals; measured in {time.monotonic() - begun:.0f} s")
        summary()
        machine("scipy", "duckdb")
    sections.insert(0, section("All goals", block(told.getvalue())))
    CACHE.mkdir(exist_ok=True)
    path = CACHE / "monitoring.html"
    path.write_text(page("Monitoring, measured", *sections, subtitle="Quick: not to be quoted." if quick else ""))
    print(f"  page: {path}")


def _section(claim: ModuleType, *, quick: bool) -> Html:
    title, _, more = (claim.__doc__ or "").partition("\n")
    print(f"-- {claim.__name__}: {title}", flush=True)
    with contextlib.redirect_stdout(_Both(sys.stdout)) as told:
        picture = claim.measure(quick=quick)
    return section(title, picture, block(told.getvalue()), note=" ".join(more.split()))


if __name__ == "__main__":
    main()
