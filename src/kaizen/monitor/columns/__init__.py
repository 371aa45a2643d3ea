"""What is watched of a column, where its values fall, and how its days differ."""
