"""The claims of the monitors, a file each, with their rivals: run from `benchmarks/` as `python -m monitoring`."""
