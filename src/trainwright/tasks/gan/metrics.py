"""How a GAN is doing on a split: losses, beliefs, and how far fakes are from real images."""

from collections.abc import Mapping

from torch import Tensor

from trainwright.seeds import generator_for
from trainwright.tasks.gan.game import Game
from trainwright.tasks.generated.metrics import GenerativeMetrics, Judged
from trainwright.tasks.generated.signs import class_diversity, diversity
from trainwright.tasks.metrics.formulas import roc_area, sliced_wasserstein


class GANMetrics(GenerativeMetrics):
    """Without a judge the sliced Wasserstein distance ranks the checkpoints of one run.

    It is that between as many fakes as real images of the split, as pixels; the losses of a game
    rank nothing.
    """

    def __init__(self, game: Game, judged: Judged) -> None:
        super().__init__(judged)
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
            "separation": roc_area(values["real_logits"], values["fake_logits"]),
            "diversity": diversity(fake, real),
        }
        if "classes" in values:
            varied = class_diversity(fake, real, values["classes"], self._names)
            signs |= {f"diversity/{name}": value for name, value in varied.items()}
        return signs
