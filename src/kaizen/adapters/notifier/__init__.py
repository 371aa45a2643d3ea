"""The notifier port: where alerts go."""
