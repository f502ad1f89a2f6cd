"""Faster ways to make the same step."""
