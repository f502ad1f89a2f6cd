"""A new run with the weights of another."""
