"""A first layer that is known before training: it whitens the patches of the training images."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.nn.layers import check_positive

MOST_PATCH_BYTES = 2**25  # of patches that are looked at in one go


class Whitening(nn.Module):
    """A convolution to uncorrelated maps of variance 1; only its bias is trained.

    Two filters for each principal direction of the images' patches, it and its opposite, so that an
    activation that cuts off one side loses nothing: 2 * in_channels * kernel_size^2 in all.
    Page 2019, "How to Train Your ResNet 8", in the form of Jordan 2024 (arXiv:2404.00498).
    Directions of a variance not far above `eps` are noise, and are not blown up.

    The filters are zero until `fit` has seen images or a checkpoint brings them.
    """

    def __init__(self, in_channels: int, *, kernel_size: int = 2, eps: float = 5e-4) -> None:
        super().__init__()
        check_positive(in_channels=in_channels, kernel_size=kernel_size)
        self.out_channels = 2 * in_channels * kernel_size**2
        self.eps = eps
        filters = torch.zeros(self.out_channels, in_channels, kernel_size, kernel_size)
        self.weight: Tensor
        self.register_buffer("weight", filters)
        bound = (in_channels * kernel_size**2) ** -0.5  # as torch begins the bias of a convolution
        self.bias = nn.Parameter(torch.empty(self.out_channels).uniform_(-bound, bound))

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Take the filters from images (N, C, H, W) as the layer will see them, of mean 0."""
        kernel_size = self.weight.shape[-1]
        num_values = self.weight[0].numel()
        moments = torch.zeros(num_values, num_values, dtype=torch.float64)
        num_patches = 0
        per_image = 8 * num_values * images.shape[-2] * images.shape[-1]
        for chunk in torch.split(images, max(1, MOST_PATCH_BYTES // per_image)):
            patches = functional.unfold(chunk.double(), kernel_size)  # (n, C * k * k, places)
            patches = patches.transpose(0, 1).flatten(1)
            moments += patches @ patches.T
            num_patches += patches.shape[1]
        variances, directions = torch.linalg.eigh(moments / num_patches)  # of each column
        filters = (directions / (variances + self.eps).sqrt()).T.reshape(-1, *self.weight.shape[1:])
        self.weight.copy_(torch.cat([filters, -filters]))

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, out_channels, H - k + 1, W - k + 1)."""
        return functional.conv2d(images, self.weight, self.bias)
