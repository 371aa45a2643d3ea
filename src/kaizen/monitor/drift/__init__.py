"""Inputs and answers: which columns have changed, one by one and all together, day by day and between two tables."""
