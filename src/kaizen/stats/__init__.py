"""Statistical methods as pure functions on arrays; every one cites its source."""
