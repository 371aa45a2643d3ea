"""What ships: one graph with its signature, reference, environment and certificate, signed and checked at load."""
