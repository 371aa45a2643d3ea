"""The log port: predictions and labels, append-only."""
