"""Raw rows: read and join them, look at them, check them, freeze them, split them without leaking."""
