"""How a GAN is doing on a split: losses, beliefs, and how far fakes are from real images."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from trainwright.data.examples import Batch
from trainwright.score.judge import Judge
from trainwright.seeds import generator_for
from trainwright.tasks.gan.game import Game
from trainwright.tasks.gan.score import class_shares, score_metrics
from trainwright.tasks.gan.signs import class_diversity, diversity, separation
from trainwright.tasks.metrics.formulas import sliced_wasserstein
from trainwright.tasks.metrics.metric import Answers, Gathered


class GANMetrics(Gathered):
    """Without a judge the sliced Wasserstein distance ranks the checkpoints of one run.

    It is that between as many fakes as real images of the split, as pixels; the losses of a game
    rank nothing. `judged`: what the judge has been shown and has seen, each (N, ...); empty
    without one.
    """

    def __init__(
        self,
        game: Game,
        image: str,
        classes: str | None,
        class_names: Sequence[str],
        judge: Judge | None,
        judged: Mapping[str, Tensor],
    ) -> None:
        """`image`, `classes`: the columns of a batch; no classes where the GAN knows none."""
        super().__init__()
        self._game, self._image, self._classes = game, image, classes
        self._names, self._judge, self.judged = class_names, judge, dict(judged)

    def update(self, batch: Batch, answers: Answers) -> None:
        """Keep fakes, real images, the logits of both, and classes where the GAN knows them."""
        kept = {"real": batch[self._image], **answers}
        if self._classes is not None:
            kept["classes"] = batch[self._classes]
        self.keep(kept)

    def compute(self) -> dict[str, float]:
        """The figures of the split, and what the judge says of new samples."""
        metrics = super().compute()
        if self._judge is None:
            return metrics
        return metrics | score_metrics(self._judge, self.judged)

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
        """How well the discriminator tells the players apart, and how varied the samples are."""
        values = self.values
        fake, real = values["fake"], values["real"]
        signs = {
            "separation": separation(values["real_logits"], values["fake_logits"]),
            "diversity": diversity(fake, real),
        }
        if "classes" in values:
            varied = class_diversity(fake, real, values["classes"], self._names)
            signs |= {f"diversity/{name}": value for name, value in varied.items()}
        if self._judge is not None:
            signs |= class_shares(self._judge, self.judged, self._names)
        return signs
