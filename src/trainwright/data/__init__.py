"""Datasets become arrays here, and arrays become batches. A leaf: imports nothing else of ours."""
