"""Checkpoints: one file, checked before it is believed."""
