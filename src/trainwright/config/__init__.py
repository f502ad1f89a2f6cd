"""Configs: composed, checked, frozen, and turned into objects."""
