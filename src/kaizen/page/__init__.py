"""Pages and charts: self-contained HTML that people like to look at."""
