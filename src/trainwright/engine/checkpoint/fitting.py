"""Whether the tensors of a checkpoint are those of a network, by name, shape and type."""

from collections.abc import Mapping

from torch import Tensor

from trainwright.wording import printable


def check_fit(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raise ValueError that names a tensor which is missing, too many, or of another kind.

    Only names, shapes and types are looked at: `expected` may be on torch's meta device.
    """
    for name, tensor in found.items():
        shown = printable(name)[:100]
        if name not in expected:
            raise ValueError(f"{shown} is none of the network's tensors")
        wanted = expected[name]
        if tensor.shape != wanted.shape:
            raise ValueError(f"{shown} is {tuple(tensor.shape)} and not {tuple(wanted.shape)}")
        if tensor.dtype != wanted.dtype:
            raise ValueError(f"{shown} is {tensor.dtype} and not {wanted.dtype}")
    missing = [name for name in expected if name not in found]
    if missing:
        raise ValueError(f"{missing[0]} is missing")
