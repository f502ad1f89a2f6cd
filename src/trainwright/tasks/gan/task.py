"""Generative adversarial networks: a discriminator and a generator that move in turn."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from trainwright.data.columns import Column, Image
from trainwright.data.dataset import DataInfo
from trainwright.data.examples import Batch
from trainwright.nn.gan import GAN
from trainwright.seeds import generator_for
from trainwright.tasks.gan.game import settle_game
from trainwright.tasks.gan.health import diagnose
from trainwright.tasks.gan.losses import GANLoss, gradient_penalty, r1_penalty
from trainwright.tasks.gan.metrics import GANMetrics
from trainwright.tasks.gan.portable import Sampler
from trainwright.tasks.gan.views import DiffAugment, View
from trainwright.tasks.generated.task import Generative, Score
from trainwright.tasks.health import Health, Signs
from trainwright.tasks.metrics.metric import Answers
from trainwright.tasks.show import Images
from trainwright.tasks.task import Carry, Ending, Objective


class GANTask(Generative):
    """The two-player game of Goodfellow et al. 2014 (arXiv:1406.2661), with the loss of choice.

    `relativistic`: real images and fakes are judged in pairs; see `relativistic_loss`. With `auto`
    here or of the next two, see `settle_game`.
    `critic_steps`: the generator moves in every so-many-th step, the discriminator in each.
    `penalty_weight`: of the gradient penalty, with loss=wasserstein_gp alone.
    `r1`: gamma of the R1 penalty, r1 / 2 * |gradient|^2 at real images; 0: none. With `r1_every`
    it is computed in every so-many-th step only, that much heavier (the lazy regularisation of
    Karras et al. 2020, arXiv:1912.04958).
    `top_k`: the generator learns from the share of its fakes that the discriminator holds most
    real (Sinha et al. 2020, arXiv:2002.06224); from all at first, falling to this in a straight
    line over the first half of the run.
    `diff_augment`, `instance_noise`: what the discriminator is shown; see `View`.
    `auxiliary_weight`: of the classes' cross-entropy, with model.conditional=auxiliary alone.
    """

    objective: Objective = Objective("sliced_wasserstein", higher_is_better=False)
    stackable_numbers = ("penalty_weight", "auxiliary_weight", "r1")

    fixed_latents: Tensor
    fixed_classes: Tensor | None

    def __init__(
        self,
        *,
        model: nn.Module,
        info: DataInfo,
        seed: int,
        loss: GANLoss = "non_saturating",
        relativistic: bool | Literal["auto"] = False,
        critic_steps: int = 1,
        penalty_weight: float = 10.0,
        r1: float | Literal["auto"] = 0.0,
        r1_every: int | Literal["auto"] = 1,
        top_k: float = 1.0,
        diff_augment: tuple[DiffAugment, ...] = (),
        instance_noise: float = 0.0,
        auxiliary_weight: float = 1.0,
        score: Score = "own",
    ) -> None:
        if not isinstance(model, GAN):
            raise ValueError("task=gan needs a generator and a discriminator: model=gan or mlp_gan")
        if critic_steps < 1:
            raise ValueError(f"critic_steps={critic_steps} is below 1")
        weights = {"penalty_weight": penalty_weight, "auxiliary_weight": auxiliary_weight}
        for name, weight in weights.items():
            if weight < 0:
                raise ValueError(f"{name}={weight} is below 0")
        if not 0 < top_k <= 1:
            raise ValueError(f"top_k={top_k} is not a share of the fakes, above 0 and at most 1")
        super().__init__(info, num_conditions=model.num_classes, seed=seed, score=score)
        self.noise_shape = (model.latent_dim,)
        self.game = settle_game(loss, relativistic, r1, r1_every)
        self.r1 = self.game.r1
        self.model = model
        self.columns = _columns(info)
        self.critic_steps = critic_steps
        self.penalty_weight = penalty_weight
        self.top_k = top_k
        self.view = View(diff_augment, instance_noise)
        self.auxiliary_weight = auxiliary_weight
        # The same latents at every look, so that progress shows; kept in the checkpoint.
        latents = self.noise(self.rows_shown * self.columns_shown, generator_for(seed, "showcase"))
        classes = torch.arange(self.rows_shown).repeat_interleave(self.columns_shown)
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

    @property
    def compilable(self) -> Mapping[str, nn.Module]:
        """The generator, and of the discriminator what it has before the heads."""
        return {"generator": self.model.generator, "discriminator": self.model.discriminator.body}

    def turns(self, step: int) -> tuple[str, ...]:
        """Both players, or the discriminator alone between two moves of the generator."""
        generator_moves = (step + 1) % self.critic_steps == 0
        return ("discriminator", "generator") if generator_moves else ("discriminator",)

    def pattern(self, step: int) -> bool | None:
        """Whether R1 is computed in this step; None where something fades as the run goes on."""
        return None if self.top_k < 1 or self.view.fades else self._pays_r1(step)

    def _pays_r1(self, step: int) -> bool:
        return bool(self.game.r1) and step % self.game.r1_every == 0

    def forward(self, player: str, batch: Batch, carry: Carry) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the player's loss on real images (B, C, H, W) and as many fakes."""
        classes = self.classes_of(batch)
        if player == "discriminator":
            return self._discriminator_turn(batch[self.image], classes, carry)
        return self._generator_turn(classes, carry)

    def _discriminator_turn(
        self, real: Tensor, classes: Tensor | None, carry: Carry
    ) -> tuple[Tensor, dict[str, Tensor]]:
        latents = torch.randn(len(real), self.model.latent_dim, device=real.device)
        carry["fakes"] = self.model.generator(latents, classes)
        progress = carry.get("progress", 0.0)
        real = carry["real"] = self.view(real, progress)
        fakes = self.view(carry["fakes"].detach().to(real.dtype), progress)
        # One pass for both halves; no layer of a discriminator mixes the examples of a batch.
        both = torch.cat([real, fakes])  # (2B, C, H, W)
        twice = None if classes is None else classes.repeat(2)
        logits, class_logits = self.model.discriminator.judge(both, twice)
        real_logits, fake_logits = logits.chunk(2)
        loss = self.game.discriminator_loss(real_logits, fake_logits)
        seen = {"real": self.game.belief(real_logits), "fake": self.game.belief(fake_logits)}
        if self.game.loss == "wasserstein_gp":
            penalty = gradient_penalty(self.model.discriminator, real, fakes, classes)
            loss = loss + self.penalty_weight * penalty
            seen["penalty"] = penalty.detach()
        if self._pays_r1(carry.get("step", 0)):
            penalty = r1_penalty(self.model.discriminator, real, classes)
            loss = loss + self.game.r1_every * self.r1 / 2 * penalty
            seen["r1"] = penalty.detach()
        if class_logits is not None and twice is not None:
            # Twice the mean: over the real ones and over the fakes, as the paper adds them.
            loss = loss + 2 * self.auxiliary_weight * F.cross_entropy(class_logits, twice)
        return loss, {"loss": loss.detach(), **seen}

    def _generator_turn(
        self, classes: Tensor | None, carry: Carry
    ) -> tuple[Tensor, dict[str, Tensor]]:
        # The generator stands as it stood in the discriminator's turn: its fakes are the same.
        progress = carry.get("progress", 0.0)
        fakes = self.view(carry["fakes"], progress)
        logits, class_logits = self.model.discriminator.judge(fakes, classes)
        real_logits = None
        if self.game.relativistic:
            with torch.no_grad():
                real_logits = self.model.discriminator(carry["real"], classes)
        if self.top_k < 1:
            share = 1 - (1 - self.top_k) * min(1.0, 2 * progress)
            kept = logits.detach().topk(max(1, round(share * len(logits)))).indices
            logits = logits[kept]
            real_logits = None if real_logits is None else real_logits[kept]
            class_logits = None if class_logits is None else class_logits[kept]
            classes = None if classes is None else classes[kept]
        loss = self.game.generator_loss(logits, real_logits)
        if class_logits is not None and classes is not None:
            loss = loss + self.auxiliary_weight * F.cross_entropy(class_logits, classes)
        return loss, {"loss": loss.detach()}

    def describe(self) -> str:
        """Which game is played."""
        return str(self.game)

    def evaluate(self, batch: Batch) -> Answers:
        """Fakes of the classes of the batch (B, C, H, W), and the logits of both (B,)."""
        real, classes = batch[self.image], self.classes_of(batch)
        latents = torch.randn(len(real), self.model.latent_dim, device=real.device)
        fakes = self.model.generator(latents, classes).float()
        return {
            "fake": fakes,
            "real_logits": self.model.discriminator(real, classes),
            "fake_logits": self.model.discriminator(fakes, classes),
        }

    def anomaly_score(self, batch: Batch) -> Tensor:
        """How little real the discriminator holds images (B,)."""
        return -self.model.discriminator.at_best(batch[self.image])

    def metrics(self) -> GANMetrics:
        """Both losses, what the discriminator believes, and how far fakes are from real images."""
        return GANMetrics(self.game, self.judged())

    def noise(self, num: int, generator: torch.Generator) -> Tensor:
        """Latents (num, Z), drawn at once."""
        return torch.randn(num, *self.noise_shape, generator=generator)

    def images_of(self, noise: Tensor, classes: Tensor | None) -> Tensor:
        """Images (B, C, H, W) in [0, 1] of latents (B, Z) and classes (B,)."""
        images: Tensor = self.model.generator(noise, classes)
        return ((images.float() + 1) / 2).clamp(0, 1)

    def portable(self) -> Sampler:
        """Latents in, images out."""
        return Sampler(self.model)

    def finish(self, ending: Ending) -> dict[str, Any]:
        """The full score, the pictures of a generator, and the discriminator's logits."""
        if ending.drawing is not None:
            assert isinstance(ending.metric, GANMetrics)
            values = ending.metric.values
            logits = (values[f"{which}_logits"].float().tolist() for which in ("real", "fake"))
            ending.drawing.plot("plot_logits", *logits, str(ending.plots / "discriminator.png"))
        return super().finish(ending)

    def diagnose(self, history: Sequence[Signs]) -> Health:
        """Healthy, or which player wins, whether samples grow alike, whether all is lost."""
        return diagnose(history, is_critic=self.game.loss == "wasserstein_gp")

    def showcase(self) -> Images:
        """Images of the fixed latents, a row a class where the GAN is conditional."""
        images = self.images_of(self.fixed_latents, self.fixed_classes)
        return Images(images, self.columns_shown)


def _columns(info: DataInfo) -> dict[str, Column]:
    """Images from -1 to 1, the range of a generator's tanh; and classes, where there are any."""
    image = info.input
    if not isinstance(image, Image) or len(info.inputs) > 1:
        raise ValueError(f"task=gan makes images, and {info.name} holds none")
    classes = {name: info.columns[name] for name in info.targets}
    return {info.inputs[0]: replace(image, scaling="symmetric"), **classes}
