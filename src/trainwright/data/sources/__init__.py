"""Where datasets come from."""
