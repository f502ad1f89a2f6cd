"""Commands that put a trained run to use."""
