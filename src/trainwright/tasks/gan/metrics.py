"""How a GAN is doing on a split: losses, beliefs, and how far fakes are from real images."""

from collections.abc import Mapping

import torch
from torch import Tensor

from trainwright.score.judge import Judge
from trainwright.seeds import generator_for
from trainwright.tasks.gan.game import Game
from trainwright.tasks.generated.metrics import GenerativeMetrics
from trainwright.tasks.generated.signs import class_diversity, diversity
from trainwright.tasks.metrics.formulas import sliced_wasserstein


class GANMetrics(GenerativeMetrics):
    """Without a judge the sliced Wasserstein distance ranks the checkpoints of one run.

    It is that between as many fakes as real images of the split, as pixels; the losses of a game
    rank nothing.
    """

    def __init__(
        self,
        game: Game,
        columns: tuple[str, ...],
        class_names: tuple[str, ...],
        judge: Judge | None,
        judged: Mapping[str, Tensor],
    ) -> None:
        super().__init__(columns, class_names, judge, judged)
        self._game = game

    def of(self, values: dict[str, Tensor]) -> dict[str, float]:
        """The figures of these examples."""
        real_logits, fake_logits = values["real_logits"], values["fake_logits"]
        return {
            "discriminator/loss": float(self._game.discriminator_loss(real_logits, fake_logits)),
            "generator/loss": float(self._game.generator_loss(fake_logits, real_logits)),
            "discriminator/real": float(self._game.belief(real_logits)),
            "discriminator/fake": float(self._game.belief(fake_logits)),
            "sliced_wasserstein": sliced_wasserstein(
                values["fake"], values["real"], generator=generator_for("sliced_wasserstein")
            ),
        }

    def resampled(self, indices: Tensor) -> dict[str, float]:
        """Nothing: drawing with replacement biases the distance between two sets of images."""
        return {}

    def signs(self, scores: Mapping[str, float]) -> dict[str, float]:
        """How well the discriminator tells the players apart, and how varied its fakes are."""
        values = self.values
        fake, real = values["fake"], values["real"]
        signs = {
            **super().signs(scores),
            "separation": separation(values["real_logits"], values["fake_logits"]),
            "diversity": diversity(fake, real),
        }
        if "classes" in values:
            varied = class_diversity(fake, real, values["classes"], self._names)
            signs |= {f"diversity/{name}": value for name, value in varied.items()}
        return signs


def separation(real_logits: Tensor, fake_logits: Tensor) -> float:
    """The probability that a real image gets a higher logit than a fake: 1/2 is guessing.

    From logits (N,) and (M,); equal ones count half. This is the area under the ROC curve (Mann &
    Whitney 1947), a discriminator's accuracy for all thresholds at once: losses put theirs in
    different places, or nowhere.
    """
    fakes = fake_logits.double().sort().values
    real = real_logits.double()
    below = torch.searchsorted(fakes, real)  # (N,): so many fakes have less
    at_most = torch.searchsorted(fakes, real, right=True)
    return float((below + at_most).double().mean() / (2 * len(fakes)))
