"""Flow matching: a network says how noise has to move to become an example."""
