"""Memory: kept for the next step instead of given back and asked for again; and when it is out."""

import contextlib
import ctypes
import sys

import torch

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # glibc's malloc.h
_LARGEST_MMAP_THRESHOLD = 32 * 2**20  # bytes; what glibc accepts at most


def keep_freed_memory() -> None:
    """Tell glibc's malloc to hold on to what a training step frees: the next step wants it again.

    A step on the CPU allocates and frees its activations, megabytes each. By default such blocks
    go back to the kernel and come anew, page by page, zeroed: a third of the time of a small
    CNN's step. Has no effect on results, and none where the C library is another.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; for the memory of the CPU torch has no error of its own."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and (
        "can't allocate memory" in text
        or "Cannot allocate memory" in text
        or "could not create a memory object" in text  # oneDNN
        or "std::bad_alloc" in text
    )
