"""What a decoder remembers of the tokens it has seen: keys and values, block by block."""

import torch
from torch import Tensor


class LayerMemory:
    """Keys and values (B, H, S, D) of one layer, in buffers that grow by doubling."""

    def __init__(self, memory: "Memory") -> None:
        self._memory = memory
        self._held: tuple[Tensor, Tensor] | None = None  # with room at the end of S

    def extended(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Those of before, and these (B, H, T, D) after them."""
        begin = self._memory.length
        end = begin + keys.shape[2]
        if self._held is None or self._held[0].shape[2] < end:
            room = max(16, 2 * begin, end)
            self._held = _with_room(self._held, keys, room), _with_room(self._held, values, room, 1)
        held_keys, held_values = self._held
        held_keys[:, :, begin:end], held_values[:, :, begin:end] = keys, values
        return held_keys[:, :, :end], held_values[:, :, :end]

    def repeat(self, num: int) -> None:
        """Go on with so many texts, where there was one."""
        if self._held is not None:
            keys, values = self._held
            self._held = keys.repeat(num, 1, 1, 1), values.repeat(num, 1, 1, 1)


class Memory:
    """The `Cache` of a decoder of so many blocks. `length`: how many tokens it holds."""

    def __init__(self, depth: int) -> None:
        self.length = 0
        self.layers = [LayerMemory(self) for _ in range(depth)]

    def repeat(self, num: int) -> None:
        """Go on with so many texts that have begun alike, where there was one."""
        for layer in self.layers:
            layer.repeat(num)


def _with_room(
    held: tuple[Tensor, Tensor] | None, like: Tensor, room: int, which: int = 0
) -> Tensor:
    batch, heads, _, size = like.shape
    made = torch.empty(batch, heads, room, size, dtype=like.dtype, device=like.device)
    if held is not None:
        made[:, :, : held[which].shape[2]] = held[which]
    return made
