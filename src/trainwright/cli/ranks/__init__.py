"""Ranks on the command line: how many, which one this process is, and what it does as that."""
