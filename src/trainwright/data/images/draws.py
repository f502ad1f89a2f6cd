"""Random numbers for the images of a batch, or for those rows of it that one process computes."""

import torch
from torch import Tensor

Rows = tuple[Tensor, int]  # which rows (B,), of a batch of how many


def uniform(num: int, images: Tensor, generator: torch.Generator, rows_of: Rows | None) -> Tensor:
    """So many uniform draws for each image, (num, B), on the images' device.

    Drawn for all rows of the batch, whoever computes them, on the generator's device.
    """
    rows, size = rows_of or (None, len(images))
    draws = torch.rand(num, size, generator=generator, device=generator.device)
    if rows is not None:
        draws = draws[:, rows.to(draws.device)]
    return draws.to(images.device, non_blocking=True)
