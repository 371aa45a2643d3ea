"""Watch a model at work: data quality, drift, performance, and the page that wakes somebody."""
