"""How fast a device multiplies matrices: what a network's speed is measured by."""

import time

import torch

from trainwright.engine.device.device import Placement

SIZE, TRIES = 1024, 5


@torch.no_grad()
def matrix_product_rate(placement: Placement) -> float:
    """FLOP a second of a product of 1,024 x 1,024, the best of a few, in the precision of a run."""
    device = placement.device
    with placement.autocast():
        a, b = torch.rand(2, SIZE, SIZE, device=device)
        best = float("inf")
        for _ in range(TRIES):
            began = time.perf_counter()
            product = a @ b
            float(product[0, 0])  # waits for the device
            best = min(best, time.perf_counter() - began)
    return 2 * SIZE**3 / best
