"""A config becomes a run that can start."""
