"""What the two players of a GAN minimise. Pure functions of logits, each from its paper.

- non_saturating: Goodfellow et al. 2014 (arXiv:1406.2661), with their section 3 generator loss
- least_squares: Mao et al. 2016 (arXiv:1611.04076), equation 9, with labels 0 and 1
- hinge: Lim & Ye 2017 (arXiv:1705.02894), as in Miyato et al. 2018 (arXiv:1802.05957) eq. 16-17
- wasserstein_gp: Gulrajani et al. 2017 (arXiv:1704.00028), which adds `gradient_penalty`

`relativistic_loss` is another game with the first three, and `r1_penalty` goes with any of them.
"""

from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

GANLoss = Literal["non_saturating", "least_squares", "hinge", "wasserstein_gp"]


def discriminator_loss(kind: GANLoss, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return the discriminator's mean loss, a scalar, from its logits (B,) for either side.

    The gradient penalty of wasserstein_gp is not in it: see `gradient_penalty`.
    """
    _check(kind)
    if kind == "non_saturating":
        return F.softplus(-real_logits).mean() + F.softplus(fake_logits).mean()
    if kind == "least_squares":
        return 0.5 * (real_logits - 1).square().mean() + 0.5 * fake_logits.square().mean()
    if kind == "hinge":
        return F.relu(1 - real_logits).mean() + F.relu(1 + fake_logits).mean()
    return fake_logits.mean() - real_logits.mean()


def generator_loss(kind: GANLoss, fake_logits: Tensor) -> Tensor:
    """Return the generator's mean loss, a scalar, from the logits (B,) of its images."""
    _check(kind)
    if kind == "non_saturating":
        return F.softplus(-fake_logits).mean()
    if kind == "least_squares":
        return 0.5 * (fake_logits - 1).square().mean()
    return -fake_logits.mean()


def relativistic_loss(kind: GANLoss, winning: Tensor, losing: Tensor) -> Tensor:
    """Return the mean loss, a scalar, of the player who wants `winning` logits above `losing`.

    Both are (B,), and each of one side is compared with one of the other: the discriminator wants
    real ones above fakes, the generator fakes above real ones. The relativistic pairing GAN of
    Jolicoeur-Martineau 2018 (arXiv:1807.00734), section 3.2: f(winning - losing) with the f that
    `kind` has for real images. A Wasserstein critic's loss is such a difference already.
    """
    _check(kind)
    lead = winning - losing
    if kind == "non_saturating":
        return F.softplus(-lead).mean()
    if kind == "least_squares":
        return 0.5 * (lead - 1).square().mean()
    if kind == "hinge":
        return F.relu(1 - lead).mean()
    raise ValueError(RELATIVE_ALREADY)


RELATIVE_ALREADY = (
    "relativistic=true does nothing for loss=wasserstein_gp, which compares real with fake already;"
    " it takes non_saturating, least_squares or hinge"
)


def r1_penalty(
    discriminator: Callable[[Tensor, Tensor | None], Tensor], real: Tensor, classes: Tensor | None
) -> Tensor:
    """Return the mean of |gradient|^2 at real images (B, C, H, W), a scalar.

    R1 of Mescheder et al. 2018 (arXiv:1801.04406), equation 9, without its factor gamma / 2.
    """
    real = real.detach().requires_grad_()
    logits = discriminator(real, classes)
    (gradients,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
    return gradients.square().sum(dim=(1, 2, 3)).mean()


def gradient_penalty(
    discriminator: Callable[[Tensor, Tensor | None], Tensor],
    real: Tensor,
    fake: Tensor,
    classes: Tensor | None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the mean of (|gradient| - 1)^2 on lines between real and fake images, a scalar.

    Gulrajani et al. 2017, algorithm 1 (there times 10). `real` and `fake` are (B, C, H, W), of
    the same `classes` (B,). One point is drawn a pair, by `generator` if given, and the norm is
    taken per example, so the discriminator must treat the examples of a batch independently.
    """
    shape = (len(real), *(1 for _ in real.shape[1:]))  # (B, 1, 1, 1)
    weights = torch.rand(shape, generator=generator, device=real.device, dtype=real.dtype)
    points = torch.lerp(real.detach(), fake.detach().to(real.dtype), weights).requires_grad_()
    logits = discriminator(points, classes)
    (gradients,) = torch.autograd.grad(logits.sum(), points, create_graph=True)
    norms: Tensor = torch.linalg.vector_norm(gradients.flatten(1), dim=1)  # (B, C, H, W) -> (B,)
    return (norms - 1).square().mean()


def _check(kind: GANLoss) -> None:
    if kind not in get_args(GANLoss):
        raise ValueError(f"loss={kind!r} is not one of {', '.join(get_args(GANLoss))}")
