"""Raw rows as columns, and the graphs that read them: what features, learn, bundle and serve share."""
