"""DINOv2 of transformers, from a local folder: what the field scores generated images by."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.nn.pretrained.building import built
from trainwright.nn.pretrained.folder import check_weights, read_architecture

KINDS = frozenset({"dinov2", "dinov2_with_registers"})
SIDE = 224  # pixels, to which every image is brought
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
BATCH = 32  # images at once: at this size a large network takes a hundred MB each


class Dinov2(nn.Module):
    """The class token of a DINOv2 as features, as Stein et al. 2023 have it (arXiv:2306.04675).

    Images become 224x224 by bicubic interpolation with antialiasing, rounded to bytes, and are
    normalised as ImageNet is. Raises ValueError for a folder that holds no such network.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        architecture = read_architecture(str(folder), KINDS)
        self.network, missing = built("AutoModel", architecture, check_weights(str(folder)))
        if missing:
            raise ValueError(f"path={folder}: its weights do not fit its config.json: {missing[0]}")

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, 1 or 3, H, W) in 0..1 to features (B, F)."""
        if images.shape[1] not in (1, 3):
            raise ValueError(f"it takes images, grey or of three colours, not {images.shape[1]}")
        return torch.cat([self._features(part) for part in torch.split(images, BATCH)])

    def _features(self, images: Tensor) -> Tensor:
        large = functional.interpolate(images, (SIDE, SIDE), mode="bicubic", antialias=True)
        large = (large * 255).round().clamp(0, 255) / 255
        mean, std = (images.new_tensor(value).view(1, 3, 1, 1) for value in (MEAN, STD))
        normalised = (large - mean) / std  # grey ones become three channels alike
        found: Tensor = self.network(pixel_values=normalised).pooler_output
        return found
