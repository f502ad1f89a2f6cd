"""Which game the two players play: the loss, whether it is played in pairs, and R1."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from trainwright.tasks.gan.losses import (
    RELATIVE_ALREADY,
    GANLoss,
    discriminator_loss,
    generator_loss,
    relativistic_loss,
)

# What came closest to MNIST of what was tried (docs/gan-recipes.md); the pair of the two is that
# of Huang et al. 2024, "The GAN is dead; long live the GAN!" (arXiv:2501.05441).
AUTO_R1 = 0.2
AUTO_R1_EVERY = 4  # steps


@dataclass(frozen=True)
class Game:
    """The rules, with nothing left to be chosen."""

    loss: GANLoss
    relativistic: bool
    r1: float
    r1_every: int

    def __str__(self) -> str:
        pairs = ", in pairs (relativistic)" if self.relativistic else ""
        often = f" in every {self.r1_every} steps" if self.r1_every > 1 else ""
        penalty = f", R1 penalty {self.r1:g}{often}" if self.r1 else ""
        return f"{self.loss} loss{pairs}{penalty}"

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The discriminator's loss, from logits (B,)."""
        if self.relativistic:
            return relativistic_loss(self.loss, real_logits, fake_logits)
        return discriminator_loss(self.loss, real_logits, fake_logits)

    def generator_loss(self, fake_logits: Tensor, real_logits: Tensor | None) -> Tensor:
        """The generator's loss; real logits are needed where images are judged in pairs."""
        if self.relativistic and real_logits is not None:
            return relativistic_loss(self.loss, fake_logits, real_logits)
        return generator_loss(self.loss, fake_logits)

    def belief(self, logits: Tensor) -> Tensor:
        """How real the discriminator holds images to be: D(x) of the paper, or a plain score."""
        is_probability = self.loss == "non_saturating" and not self.relativistic
        return (logits.detach().sigmoid() if is_probability else logits.detach()).mean()


def settle_game(
    loss: GANLoss,
    relativistic: bool | Literal["auto"],
    r1: float | Literal["auto"],
    r1_every: int | Literal["auto"],
) -> Game:
    """Choose what is left to `auto`: pairs and a light R1, but neither with wasserstein_gp.

    Raises ValueError for numbers out of range and for what makes no sense together.
    """
    is_critic = loss == "wasserstein_gp"
    if relativistic == "auto":
        relativistic = not is_critic
    if r1 == "auto":
        r1 = 0.0 if is_critic else AUTO_R1
    if r1_every == "auto":
        r1_every = AUTO_R1_EVERY if r1 else 1
    if r1 < 0:
        raise ValueError(f"r1={r1} is below 0")
    if r1_every < 1 or (r1_every > 1 and not r1):
        raise ValueError(
            f"r1_every={r1_every}: it must be at least 1, and has no effect without r1"
        )
    if is_critic and relativistic:
        raise ValueError(RELATIVE_ALREADY)
    if is_critic and r1:
        raise ValueError(
            f"r1={r1} pulls the gradient norm to 0, and the penalty of wasserstein_gp to 1;"
            " choose one"
        )
    return Game(loss, relativistic, r1, r1_every)
