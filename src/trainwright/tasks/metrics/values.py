"""How good predicted values are, from batches."""

from collections.abc import Callable, Sequence

from torch import Tensor

from trainwright.data.examples import Batch
from trainwright.tasks.metrics.formulas import regression_metrics
from trainwright.tasks.metrics.metric import Answers, Gathered


class ValueMetrics(Gathered):
    """Mean squared and absolute error and R²; of several values their means, and each by name.

    Takes `predictions` of the answers, (B,) or (B, K), and the values that are true, both in their
    own units. `loss` is the mean squared error in units of `std`, a number a value; or of what
    `scaled` makes of both, where values are learned on another scale.
    """

    def __init__(
        self,
        target: str,
        std: Sequence[float],
        names: Sequence[str],
        *,
        scaled: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self._target, self._std, self._names = target, tuple(std), tuple(names)
        self._scaled = scaled

    def update(self, batch: Batch, answers: Answers) -> None:
        """Keep predictions and truth of each example."""
        self.keep({"predictions": answers["predictions"], "targets": batch[self._target]})

    def of(self, values: dict[str, Tensor]) -> dict[str, float]:
        """The numbers of these examples."""
        predictions, targets = values["predictions"], values["targets"]
        metrics = self._in_units(predictions, targets)
        if self._scaled is not None:
            error = self._scaled(predictions.double()) - self._scaled(targets.double())
            metrics["loss"] = float(error.square().mean())
        return metrics

    def _in_units(self, predictions: Tensor, targets: Tensor) -> dict[str, float]:
        if not self._names:
            metrics = regression_metrics(predictions, targets)
            return {"loss": metrics["mse"] / self._std[0] ** 2, **metrics}
        each = [regression_metrics(p, t) for p, t in zip(predictions.T, targets.T, strict=True)]
        num = len(each)
        loss = sum(m["mse"] / std**2 for m, std in zip(each, self._std, strict=True)) / num
        means = {name: sum(m[name] for m in each) / num for name in each[0]}
        named = {
            f"{metric}/{name}": m[metric]
            for name, m in zip(self._names, each, strict=True)
            for metric in ("mae", "r2")
        }
        return {"loss": loss, **means, **named}
