"""kaizen (改善): trains, packs, serves, watches, compares and retrains models; every change is a decision."""

__version__ = "0.1.0"
