"""The claims of monitoring, one file each; run from `benchmarks/` as `python -m monitoring.NAME`."""
