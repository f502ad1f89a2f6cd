"""Which settings a sweep tries."""
