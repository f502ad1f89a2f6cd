"""Generative adversarial networks: the game of two players."""
