"""From findings to what people are told, and whom."""
