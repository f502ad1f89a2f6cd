"""What networks of others for images have in common: their scaling and size, and what is frozen."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.data.columns import Image

Freeze = Literal["none", "features"]


class PretrainedImages(nn.Module):
    """A network for images as `network`, which learned from images of `size` with `mean` and `std`.

    Images come scaled as the data are, and are brought to what it knows. `head`: the names of its
    parameters that begin anew; with freeze="features" all others stay as they are, and so do
    the statistics of its normalisation. `architecture`: what a checkpoint is to keep of it.
    Raises ValueError for what are no images.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        columns: Mapping[str, Any],
        inputs: Mapping[str, Any],
        size: int,
        mean: Sequence[float],
        std: Sequence[float],
        head: Sequence[str],
        freeze: Freeze,
        architecture: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        column = columns[next(iter(inputs))]
        if len(inputs) != 1 or not isinstance(column, Image) or column.size[0] not in (1, 3):
            raise ValueError("it takes images, grey or of three colours")
        self.network, self.size = network, size
        self.architecture: Any = architecture
        seen = column.numbers
        scale, shift = (torch.tensor(v, dtype=torch.float64) for v in (seen.scale, seen.shift))
        theirs, centre = (torch.tensor(v, dtype=torch.float64) for v in (std, mean))
        # Seen is pixel * scale + shift, and they want (pixel / 255 - mean) / std.
        factor = 1 / (255 * scale * theirs)
        for name, value in (("factor", factor), ("offset", -shift * factor - centre / theirs)):
            self.register_buffer(name, value.float().view(1, -1, 1, 1), persistent=False)
        self.factor: Tensor
        self.offset: Tensor
        self._frozen = freeze == "features"
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(not self._frozen or name in head)

    def train(self, mode: bool = True) -> "PretrainedImages":
        """What is frozen keeps its statistics, and leaves nothing out."""
        super().train(mode)
        if self._frozen:
            self.network.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to logits or values (B, num_outputs)."""
        known = images * self.factor + self.offset  # grey ones become three channels alike
        if known.shape[-2:] != (self.size, self.size):
            size = (self.size, self.size)
            known = functional.interpolate(known, size, mode="bicubic", antialias=True)
        answer = self.network(known)
        outputs: Tensor = answer if isinstance(answer, Tensor) else answer.logits
        return outputs
