"""Numbers and tensors in, pictures out: grids, curves, confusion. A leaf: imports none of ours."""
