"""Programs that stand on other people's clients alone: each runs in an environment of its own, without kaizen."""
