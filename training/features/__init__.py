"""A data set's content and interactions as arrays for training."""
