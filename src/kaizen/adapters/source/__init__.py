"""Where rows come from: files, SQLite."""
