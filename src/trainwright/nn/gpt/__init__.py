"""Transformers of tokens: the decoder that writes, and the parts that an encoder shares."""
