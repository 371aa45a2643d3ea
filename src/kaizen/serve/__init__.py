"""The data plane: requests in, answers out, predictions in the log; one asyncio process."""
