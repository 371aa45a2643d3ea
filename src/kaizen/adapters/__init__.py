"""Adapters: what connects a port to a vendor, one small file each, reached by entry point."""
