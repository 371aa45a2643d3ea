"""The notifier port: where pages go."""
