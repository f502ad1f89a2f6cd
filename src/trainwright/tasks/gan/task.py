"""Generative adversarial networks: a discriminator and a generator that move in turn."""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from trainwright.data.batches import Batch, Normalisation
from trainwright.data.dataset import DataInfo
from trainwright.nn.gan import GAN
from trainwright.score.judge import Judge
from trainwright.seeds import generator_for
from trainwright.tasks.gan.game import settle_game
from trainwright.tasks.gan.health import diagnose
from trainwright.tasks.gan.losses import (
    GANLoss,
    discriminator_loss,
    generator_loss,
    gradient_penalty,
    r1_penalty,
    relativistic_loss,
)
from trainwright.tasks.gan.score import class_shares, score_metrics, shown_to
from trainwright.tasks.gan.signs import class_diversity, diversity, separation
from trainwright.tasks.gan.views import DiffAugment, View
from trainwright.tasks.health import Health, Signs
from trainwright.tasks.metrics import sliced_wasserstein
from trainwright.tasks.task import Handed, Objective, Task

MAX_CLASS_ROWS = 10


class GANTask(Task):
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
    `score`: the network in whose features the images are scored (see `Task.score_features`).
    """

    objective: Objective = Objective("sliced_wasserstein", higher_is_better=False)
    evaluated_examples: ClassVar[int | None] = 2000
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
        score: Literal["own", "none"] | nn.Module = "own",
    ) -> None:
        super().__init__()
        if not isinstance(model, GAN):
            raise ValueError("task=gan needs a generator and a discriminator: model=gan or mlp_gan")
        if critic_steps < 1:
            raise ValueError(f"critic_steps={critic_steps} is not at least 1")
        weights = {"penalty_weight": penalty_weight, "auxiliary_weight": auxiliary_weight}
        for name, weight in weights.items():
            if weight < 0:
                raise ValueError(f"{name}={weight} is below 0")
        if not 0 < top_k <= 1:
            raise ValueError(f"top_k={top_k} is no share of the fakes, above 0 and at most 1")
        self.game = settle_game(loss, relativistic, r1, r1_every)
        self.r1 = self.game.r1
        self.model = model
        self.class_names = info.class_names
        self.normalisation = Normalisation.symmetric(info)
        self.critic_steps = critic_steps
        self.penalty_weight = penalty_weight
        self.top_k = top_k
        self.view = View(diff_augment, instance_noise)
        self.auxiliary_weight = auxiliary_weight
        self._seed = seed
        # In a tuple, since a module of its own would be saved and averaged with the players.
        self._score = (score,)
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

    def forward(
        self, player: str, batch: Batch, handed: Handed
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the player's loss on real images (B, C, H, W) and as many fakes."""
        classes = batch.targets if self.model.num_classes else None
        if player == "discriminator":
            return self._discriminator_turn(batch.inputs, classes, handed)
        return self._generator_turn(classes, handed)

    def _discriminator_turn(
        self, real: Tensor, classes: Tensor | None, handed: Handed
    ) -> tuple[Tensor, dict[str, Tensor]]:
        latents = torch.randn(len(real), self.model.latent_dim, device=real.device)
        handed["fakes"] = self.model.generator(latents, classes)
        progress = handed.get("progress", 0.0)
        real = handed["real"] = self.view(real, progress)
        fakes = self.view(handed["fakes"].detach().to(real.dtype), progress)
        # One pass for both halves; no layer of a discriminator mixes the examples of a batch.
        both = torch.cat([real, fakes])  # (2B, C, H, W)
        twice = None if classes is None else classes.repeat(2)
        logits, class_logits = self.model.discriminator.judge(both, twice)
        real_logits, fake_logits = logits.chunk(2)
        loss = self._discriminator_loss(real_logits, fake_logits)
        seen = {"real": self._belief(real_logits), "fake": self._belief(fake_logits)}
        if self.game.loss == "wasserstein_gp":
            penalty = gradient_penalty(self.model.discriminator, real, fakes, classes)
            loss = loss + self.penalty_weight * penalty
            seen["penalty"] = penalty.detach()
        if self._pays_r1(handed.get("step", 0)):
            penalty = r1_penalty(self.model.discriminator, real, classes)
            loss = loss + self.game.r1_every * self.r1 / 2 * penalty
            seen["r1"] = penalty.detach()
        if class_logits is not None and twice is not None:
            # Twice the mean: over the real ones and over the fakes, as the paper adds them.
            loss = loss + 2 * self.auxiliary_weight * F.cross_entropy(class_logits, twice)
        return loss, {"loss": loss.detach(), **seen}

    def _generator_turn(
        self, classes: Tensor | None, handed: Handed
    ) -> tuple[Tensor, dict[str, Tensor]]:
        # The generator stands as it stood in the discriminator's turn: its fakes are the same.
        progress = handed.get("progress", 0.0)
        fakes = self.view(handed["fakes"], progress)
        logits, class_logits = self.model.discriminator.judge(fakes, classes)
        real_logits = None
        if self.game.relativistic:
            with torch.no_grad():
                real_logits = self.model.discriminator(handed["real"], classes)
        if self.top_k < 1:
            share = 1 - (1 - self.top_k) * min(1.0, 2 * progress)
            kept = logits.detach().topk(max(1, round(share * len(logits)))).indices
            logits = logits[kept]
            real_logits = None if real_logits is None else real_logits[kept]
            class_logits = None if class_logits is None else class_logits[kept]
            classes = None if classes is None else classes[kept]
        loss = self._generator_loss(logits, real_logits)
        if class_logits is not None and classes is not None:
            loss = loss + self.auxiliary_weight * F.cross_entropy(class_logits, classes)
        return loss, {"loss": loss.detach()}

    def _discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        if self.game.relativistic:
            return relativistic_loss(self.game.loss, real_logits, fake_logits)
        return discriminator_loss(self.game.loss, real_logits, fake_logits)

    def _generator_loss(self, fake_logits: Tensor, real_logits: Tensor | None) -> Tensor:
        if self.game.relativistic and real_logits is not None:
            return relativistic_loss(self.game.loss, fake_logits, real_logits)
        return generator_loss(self.game.loss, fake_logits)

    def _belief(self, logits: Tensor) -> Tensor:
        """How real the discriminator holds images to be: D(x) of the paper, or a plain score."""
        is_probability = self.game.loss == "non_saturating" and not self.game.relativistic
        return (logits.detach().sigmoid() if is_probability else logits.detach()).mean()

    def describe(self) -> str:
        """Which game is played."""
        return str(self.game)

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """Real images, fakes of the same classes (each B, C, H, W), and the logits of both (B,)."""
        classes = batch.targets if self.model.num_classes else None
        latents = torch.randn(len(batch.inputs), self.model.latent_dim, device=batch.inputs.device)
        fakes = self.model.generator(latents, classes).float()
        values = {} if classes is None else {"classes": classes}
        return values | {
            "real": batch.inputs,
            "fake": fakes,
            "real_logits": self.model.discriminator(batch.inputs, classes),
            "fake_logits": self.model.discriminator(fakes, classes),
        }

    @property
    def score_features(self) -> Literal["own"] | nn.Module | None:
        """As the config has it."""
        (score,) = self._score
        return None if score == "none" else score

    def be_judged_by(self, judge: Judge) -> None:
        """From now on the objective is the Fréchet distance in the judge's features."""
        self.judge = judge
        self.objective = Objective("frechet", higher_is_better=False)

    def generate(self) -> dict[str, Tensor]:
        """As many images as the judge asks for, always of the same latents, and what it sees."""
        return {} if self.judge is None else shown_to(self.judge, self.model, self._seed)

    def score(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Both losses, what the discriminator believes, and what the judge says, if there is one.

        Without a judge the sliced Wasserstein distance, between as many fakes as real images of
        the split, as pixels, ranks the checkpoints of one run; the losses of a game do not.
        """
        real_logits, fake_logits = values["real_logits"], values["fake_logits"]
        metrics = {
            "discriminator/loss": float(self._discriminator_loss(real_logits, fake_logits)),
            "generator/loss": float(self._generator_loss(fake_logits, real_logits)),
            "discriminator/real": float(self._belief(real_logits)),
            "discriminator/fake": float(self._belief(fake_logits)),
            "sliced_wasserstein": sliced_wasserstein(
                values["fake"], values["real"], generator=generator_for("sliced_wasserstein")
            ),
        }
        return metrics if self.judge is None else metrics | score_metrics(self.judge, values)

    def vital_signs(self, values: dict[str, Tensor], scores: dict[str, float]) -> dict[str, float]:
        """How well the discriminator tells the players apart, and how varied the samples are."""
        fake, real = values["fake"], values["real"]
        signs = {
            "separation": separation(values["real_logits"], values["fake_logits"]),
            "diversity": diversity(fake, real),
        }
        if "classes" in values:
            varied = class_diversity(fake, real, values["classes"], self.class_names)
            signs |= {f"diversity/{name}": value for name, value in varied.items()}
        if self.judge is not None:
            signs |= class_shares(self.judge, values, self.class_names)
        return signs

    def diagnose(self, history: Sequence[Signs]) -> Health:
        """Healthy, or which player wins, whether samples grow alike, whether all is lost."""
        return diagnose(history, is_critic=self.game.loss == "wasserstein_gp")

    def showcase(self) -> Tensor:
        """Images of the fixed latents in [0, 1], a row a class where the GAN is conditional."""
        images: Tensor = self.model.generator(self.fixed_latents, self.fixed_classes)
        return ((images.float() + 1) / 2).clamp(0, 1)

    @property
    def showcase_columns(self) -> int:
        """Ten a row for class rows, eight where there are none."""
        return 10 if self.model.num_classes else 8
