"""What monitors have found, as pages for people."""
