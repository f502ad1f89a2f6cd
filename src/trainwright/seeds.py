"""Every random draw of a run comes from a seed that is a function of what it is for."""

import hashlib

import torch


def derive_seed(*parts: int | str) -> int:
    """Mix the run's seed with what the draws are for (a purpose, a step) into a 63-bit seed.

    A cryptographic hash, so that neighbouring seeds and steps give unrelated streams.
    """
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def generator_for(*parts: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A fresh generator seeded by `derive_seed(*parts)`."""
    return torch.Generator(device).manual_seed(derive_seed(*parts))


def reseed_global(*parts: int | str, device: torch.device) -> None:
    """Seed the generator that dropout and latents draw from on `device`.

    Called before every step, so that a step's randomness depends on the step alone and a resumed
    run needs no generator state. (`torch.manual_seed` would do, at many times the cost: it visits
    every backend.)
    """
    seed = derive_seed(*parts)
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed_all(seed)  # the current device need not be `device`
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
