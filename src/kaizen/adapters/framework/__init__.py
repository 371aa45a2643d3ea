"""Learning frameworks behind the framework port."""
