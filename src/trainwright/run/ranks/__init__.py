"""A run on several ranks: rank 0 is the run that a person sees, and the others follow it."""
