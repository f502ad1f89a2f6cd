"""Whether the hardware multiplies bf16: where it is emulated, it is far slower than fp32."""

from functools import lru_cache

import torch


@lru_cache
def multiplies_bf16(device_type: str) -> bool:
    """A GPU that has it, or a CPU with AVX512-BF16 or AMX.

    Without either oneDNN emulates it: Muon's products take 12 to 26 times as long as in fp32.
    """
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    avx512, amx = torch.cpu._is_avx512_bf16_supported(), torch.cpu._is_amx_tile_supported()
    return device_type == "cpu" and bool(avx512 or amx)
