"""Variational autoencoders: images from codes that are nearly normal."""
