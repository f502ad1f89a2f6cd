"""How far two right answers may be apart.

Processors, libraries and numbers of threads add the same numbers in different orders, so a test
must not take the last digits of one of them for the truth. There are three ways out:

1. Compute both sides in float64 (the fixture `doubles`), and compare as torch does by default for
   that type: to 1e-7, which is 1e9 roundings and still no mistake. This is the usual way.
2. Where the code computes in float32 or bf16 whatever one asks for, hold it to `rounding`.
3. Where an error has been through several steps, hold it to what a plain computation in the same
   type is off by: `as_exact`.
"""

import torch


def rounding(dtype, terms, *, size=1.0):
    """By how much two sums of so many products may differ that add them in different orders.

    Each is within `terms` unit roundoffs of the true sum, measured by `size`, the sum of the
    products' absolute values (Higham 2002, section 3.1); two are within twice that of each other.
    """
    return 2 * terms * torch.finfo(dtype).eps / 2 * size


def as_exact(found, plain, exact, *, times=4):
    """Whether one computation comes as near to the float64 truth as the plain one in its type does.

    In the Euclidean norm over all numbers: each error is a draw of its own, and of two draws of as
    many numbers none is `times` as long as the other. A mistake is far longer than any rounding.
    """

    def error(tensors):
        pairs = zip(tensors, exact, strict=True)
        return (
            sum((t.detach().double() - e.detach()).square().sum().item() for t, e in pairs) ** 0.5
        )

    return error(plain) > 0 and error(found) <= times * error(plain)
