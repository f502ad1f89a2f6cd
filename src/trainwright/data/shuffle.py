"""A shuffled order of more examples than whose numbers should be kept in memory."""

import torch
from torch import Tensor

from trainwright.seeds import derive_seed

ROUNDS = 6
ODD = 0x5851F42D4C957F2D  # Knuth's multiplier of MMIX


def shuffled(places: Tensor, num: int, seed: int) -> Tensor:
    """What stands at some places (B,) int64 of an order of 0 to `num` - 1 that the seed decides.

    A Feistel network over the numbers of as many bits as are needed, an even number of them; what
    it maps to more than `num` is mapped again (Black & Rogaway 2002, "Ciphers with arbitrary finite
    domains"). It is no cipher, but as good as shuffled to a network that learns.
    """
    half = max(1, ((num - 1).bit_length() + 1) // 2)
    mask = (1 << half) - 1
    keys = [derive_seed(seed, number) for number in range(ROUNDS)]

    def mapped(values: Tensor) -> Tensor:
        left, right = values >> half, values & mask
        for key in keys:
            mixed = (right + key) * ODD  # modulo 2^64
            mixed = (mixed ^ (mixed >> 29)) * ODD
            left, right = right, left ^ ((mixed >> 32) & mask)
        return (left << half) | right

    values = mapped(places)
    while bool((outside := values >= num).any()):
        values = torch.where(outside, mapped(values), values)
    return values
