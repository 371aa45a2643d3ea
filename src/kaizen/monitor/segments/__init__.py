"""Performance by groups of rows: listed, found, and people who should be treated alike."""
