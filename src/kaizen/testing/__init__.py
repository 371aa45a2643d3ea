"""What the author of an adapter needs: a conformance suite a port."""
