"""Generative adversarial networks: a discriminator and a generator that move in turn."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from trainwright.data.batches import Batch, Normalisation
from trainwright.data.dataset import DataInfo
from trainwright.nn.gan import GAN
from trainwright.seeds import generator_for
from trainwright.tasks.gan_losses import (
    GANLoss,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
)
from trainwright.tasks.metrics import sliced_wasserstein
from trainwright.tasks.task import Handed, Objective, Task

MAX_CLASS_ROWS = 10


class GANTask(Task):
    """The two-player game of Goodfellow et al. 2014 (arXiv:1406.2661), with the loss of choice.

    `critic_steps`: the generator moves in every so-many-th step, the discriminator in each.
    `penalty_weight`: of the gradient penalty, with loss=wasserstein_gp alone.
    """

    objective: ClassVar[Objective] = Objective("sliced_wasserstein", higher_is_better=False)
    evaluated_examples: ClassVar[int | None] = 2000

    fixed_latents: Tensor
    fixed_classes: Tensor | None

    def __init__(
        self,
        *,
        model: nn.Module,
        info: DataInfo,
        seed: int,
        loss: GANLoss = "non_saturating",
        critic_steps: int = 1,
        penalty_weight: float = 10.0,
    ) -> None:
        super().__init__()
        if not isinstance(model, GAN):
            raise ValueError("task=gan needs a generator and a discriminator: model=gan or mlp_gan")
        if critic_steps < 1:
            raise ValueError(f"critic_steps={critic_steps} is not at least 1")
        if penalty_weight < 0:
            raise ValueError(f"penalty_weight={penalty_weight} is below 0")
        self.model = model
        self.normalisation = Normalisation.symmetric(info)
        self.loss = loss
        self.critic_steps = critic_steps
        self.penalty_weight = penalty_weight
        # The same latents at every look, so that progress shows; kept in the checkpoint.
        num_rows = min(info.num_classes, MAX_CLASS_ROWS) if model.num_classes else 8
        latents = torch.randn(
            num_rows * self.showcase_columns,
            model.latent_dim,
            generator=generator_for(seed, "showcase"),
        )
        classes = torch.arange(num_rows).repeat_interleave(self.showcase_columns)
        self.register_buffer("fixed_latents", latents)
        self.register_buffer("fixed_classes", classes if model.num_classes else None)

    @property
    def players(self) -> Mapping[str, nn.Module]:
        """The discriminator moves first."""
        return {"discriminator": self.model.discriminator, "generator": self.model.generator}

    @property
    def averaged_players(self) -> tuple[str, ...]:
        """Only the generator is used after training."""
        return ("generator",)

    def turns(self, step: int) -> tuple[str, ...]:
        """Both players, or the discriminator alone between two moves of the generator."""
        generator_moves = (step + 1) % self.critic_steps == 0
        return ("discriminator", "generator") if generator_moves else ("discriminator",)

    def forward(
        self, player: str, batch: Batch, handed: Handed
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the player's loss on real images (B, C, H, W) and as many fakes."""
        classes = batch.targets if self.model.num_classes else None
        if player == "discriminator":
            return self._discriminator_turn(batch.inputs, classes, handed)
        # The generator stands as it stood in the discriminator's turn: its fakes are the same.
        logits = self.model.discriminator(handed["fakes"], classes)
        loss = generator_loss(self.loss, logits)
        return loss, {"loss": loss.detach()}

    def _discriminator_turn(
        self, real: Tensor, classes: Tensor | None, handed: Handed
    ) -> tuple[Tensor, dict[str, Tensor]]:
        latents = torch.randn(len(real), self.model.latent_dim, device=real.device)
        handed["fakes"] = self.model.generator(latents, classes)
        fakes = handed["fakes"].detach()
        # One pass for both halves; no layer of a discriminator mixes the examples of a batch.
        both = torch.cat([real, fakes.to(real.dtype)])  # (2B, C, H, W)
        logits = self.model.discriminator(both, None if classes is None else classes.repeat(2))
        real_logits, fake_logits = logits.chunk(2)
        loss = discriminator_loss(self.loss, real_logits, fake_logits)
        seen = {"real": self._belief(real_logits), "fake": self._belief(fake_logits)}
        if self.loss == "wasserstein_gp":
            penalty = gradient_penalty(self.model.discriminator, real, fakes, classes)
            loss = loss + self.penalty_weight * penalty
            seen["penalty"] = penalty.detach()
        return loss, {"loss": loss.detach(), **seen}

    def _belief(self, logits: Tensor) -> Tensor:
        """How real the discriminator holds images to be: D(x) of the paper, or a plain score."""
        is_probability = self.loss == "non_saturating"
        return (logits.detach().sigmoid() if is_probability else logits.detach()).mean()

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """Real images, fakes of the same classes (each B, C, H, W), and the logits of both (B,)."""
        classes = batch.targets if self.model.num_classes else None
        latents = torch.randn(len(batch.inputs), self.model.latent_dim, device=batch.inputs.device)
        fakes = self.model.generator(latents, classes).float()
        return {
            "real": batch.inputs,
            "fake": fakes,
            "real_logits": self.model.discriminator(batch.inputs, classes),
            "fake_logits": self.model.discriminator(fakes, classes),
        }

    def score(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Both losses, what the discriminator believes, and the sliced Wasserstein distance.

        The distance is between as many fakes as real images of the split, as pixels. It ranks the
        checkpoints of one run; the losses of a game do not.
        """
        real_logits, fake_logits = values["real_logits"], values["fake_logits"]
        return {
            "discriminator/loss": float(discriminator_loss(self.loss, real_logits, fake_logits)),
            "generator/loss": float(generator_loss(self.loss, fake_logits)),
            "discriminator/real": float(self._belief(real_logits)),
            "discriminator/fake": float(self._belief(fake_logits)),
            "sliced_wasserstein": sliced_wasserstein(
                values["fake"], values["real"], generator=generator_for("sliced_wasserstein")
            ),
        }

    def showcase(self) -> Tensor:
        """Images of the fixed latents in [0, 1], a row a class where the GAN is conditional."""
        images: Tensor = self.model.generator(self.fixed_latents, self.fixed_classes)
        return ((images.float() + 1) / 2).clamp(0, 1)

    @property
    def showcase_columns(self) -> int:
        """Ten a row for class rows, eight where there are none."""
        return 10 if self.model.num_classes else 8
