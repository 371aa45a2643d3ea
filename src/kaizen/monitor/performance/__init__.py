"""Losses by labels, however late they come."""
