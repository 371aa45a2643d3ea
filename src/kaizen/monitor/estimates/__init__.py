"""Performance before labels say so, from the scores alone."""
