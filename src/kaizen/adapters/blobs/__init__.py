"""The blobs port: bytes by the hash of their content."""
