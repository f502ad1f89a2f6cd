"""How well a text is predicted, from windows of it."""

import math

from torch import Tensor

from trainwright.data.examples import Batch
from trainwright.tasks.metrics.metric import Answers, Gathered


class LanguageMetrics(Gathered):
    """The loss of a token in nats, perplexity, accuracy, and bits per byte of the text.

    Each token counts once, whatever window it is in. Bits per byte can be compared between
    tokenizers, and a loss cannot; there are none where the number of bytes is not kept.
    """

    def update(self, batch: Batch, answers: Answers) -> None:
        """Keep a few numbers of each window."""
        self.keep(answers)

    def of(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Of these windows."""
        sums = {name: float(value.double().sum()) for name, value in values.items()}
        loss = sums["cost"] / sums["tokens"]
        metrics = {
            "loss": loss,
            "perplexity": math.exp(min(loss, 700.0)),
            "accuracy": sums["right"] / sums["tokens"],
        }
        if sums.get("bytes"):
            metrics["bits_per_byte"] = sums["cost"] / math.log(2) / sums["bytes"]
        return metrics
