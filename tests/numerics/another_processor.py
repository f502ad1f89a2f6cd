"""A processor that nobody has: `pytest -p another_processor` computes as it would.

Its products, convolutions and sums are off by a few roundings, each by a number that follows from
the digits of the result: the same numbers in give the same numbers out, and a power of two as a
factor changes nothing else, as on any other. What passes here holds no processor's last digits for
the truth.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode

ROUNDINGS = 2
PRODUCTS = {
    getattr(torch.ops.aten, name).default
    for name in ("mm", "bmm", "addmm", "baddbmm", "convolution", "convolution_backward")
}
SUMS = {
    *(torch.ops.aten.sum.default, torch.ops.aten.sum.dim_IntList),
    *(torch.ops.aten.mean.default, torch.ops.aten.mean.dim),
}


def off(result, size):
    """Moved by up to a few roundings of `size`, what its absolute values add up to."""
    if result is None:  # a gradient that is not wanted
        return None
    digits = torch.frexp(result.detach().double()).mantissa * 7919123.456789
    share = 2 * (digits - digits.floor()) - 1
    return result + (ROUNDINGS * torch.finfo(result.dtype).eps / 2 * size * share).to(result.dtype)


def absolute(value):
    return value.abs() if isinstance(value, torch.Tensor) else value


class AnotherProcessor(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func not in PRODUCTS | SUMS or (func in PRODUCTS and kwargs):  # kwargs: beta and alpha
            return result
        if args[0].device.type != "cpu":
            return result
        if args[0].dtype not in (torch.float32, torch.float64):
            return result  # bf16 is summed in float32 and rounded once: as good as always alike
        if func in SUMS and (args[0] == args[0].round()).all():
            return result  # whole numbers have one sum
        sizes = func(*map(absolute, args), **(kwargs or {}))
        if isinstance(result, tuple):
            return tuple(map(off, result, sizes))
        return off(result, sizes)


def pytest_sessionstart(session):
    AnotherProcessor().__enter__()
