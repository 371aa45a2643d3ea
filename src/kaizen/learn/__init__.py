"""Finding a model: search, fit, calibrate, measure against baselines, and report."""
