"""What servers tell of themselves: latency, errors, traffic, saturation, cost."""
