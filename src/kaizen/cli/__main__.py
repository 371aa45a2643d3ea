"""`python -m kaizen.cli` is `kaizen`."""

from kaizen.cli import main

main()
