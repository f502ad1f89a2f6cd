"""Distances between all pairs of two sets, a block of rows at a time: exact, by matrix products."""

from collections.abc import Iterator

import torch
from torch import Tensor

BLOCK_BYTES = 4 * 2**20  # of a block of distances: it stays in the cache


def squared_distances(queries: Tensor, points: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Squared Euclidean distances of (N, F) to (M, F): pairs of a first row and a block (B, M).

    All blocks are views of one buffer, each good until the next: fresh ones, with what is kept of
    each between them, leave holes in the heap that no other fits, and fill hundreds of megabytes.
    In float32 |q|^2 + |p|^2 - 2 q·p, about the points' mean, where the fewest digits are lost.
    """
    centre = points.float().mean(dim=0)
    points, queries = points.float() - centre, queries.float() - centre
    sizes = points.square().sum(dim=1)  # (M,)
    rows = max(1, BLOCK_BYTES // (4 * len(points)))
    buffer = points.new_empty(min(rows, len(queries)), len(points))
    for start in range(0, len(queries), rows):
        block = queries[start : start + rows]
        inner = torch.addmm(sizes, block, points.T, alpha=-2, out=buffer[: len(block)])  # (B, M)
        yield start, inner.add_(block.square().sum(dim=1, keepdim=True)).clamp_(min=0)


def nearest(queries: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
    """The distance of each of (N, F) to the nearest of (M, F), and which that is: (N,) and (N,).

    The distance is taken anew from the pair, so that it is 0 for a copy.
    """
    found = torch.cat([block.argmin(dim=1) for _, block in squared_distances(queries, points)])
    gaps = queries.float() - points.float()[found]
    return gaps.square().sum(dim=1).sqrt(), found


def squared_radii(points: Tensor, k: int) -> Tensor:
    """The squared distance of each of (M, F) to its k-th nearest other: (M,). Needs M > k."""
    if len(points) <= k:
        raise ValueError(f"{len(points)} points have no {k}-th neighbour")
    radii = points.new_empty(len(points), dtype=torch.float32)
    for start, block in squared_distances(points, points):
        rows = torch.arange(len(block), device=block.device)
        block[rows, rows + start] = float("inf")  # itself is no neighbour
        radii[start : start + len(block)] = block.topk(k, dim=1, largest=False).values[:, -1]
    return radii
