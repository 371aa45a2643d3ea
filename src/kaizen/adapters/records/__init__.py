"""The records port: where the nouns are kept."""
