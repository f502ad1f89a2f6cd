"""Regression: one value for each example, or several."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.data.columns import Values
from trainwright.data.dataset import DataInfo
from trainwright.data.examples import Batch
from trainwright.tasks.metrics.metric import Answers
from trainwright.tasks.metrics.values import ValueMetrics
from trainwright.tasks.one_network import OneNetwork
from trainwright.tasks.ports import Port, Predictor
from trainwright.tasks.task import Carry, Objective


class Regression(OneNetwork):
    """Learns values by mean squared error.

    The network predicts in units of the training targets' standard deviation about their mean, so
    that a learning rate means the same whatever the unit. The training loss is in those units
    squared; the metrics of an evaluation are in the targets' own.
    """

    objective: Objective = Objective("mse", higher_is_better=False)
    wants_fp32: ClassVar[bool] = True
    is_one_loss = True
    takes_mixed: ClassVar[bool] = True
    learns: ClassVar[str] = "values"
    stackable_numbers = ()

    def __init__(self, *, model: nn.Module, info: DataInfo) -> None:
        super().__init__(model, info)
        values = self.columns[self.target]
        assert isinstance(values, Values)
        self._values = values

    def forward(self, player: str, batch: Batch, carry: Carry) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean squared error of the batch, in standard deviations squared."""
        wanted = self._values.standardised(batch[self.target])
        loss = functional.mse_loss(self._answer(batch), wanted)
        return loss, {"loss": loss.detach()}

    def _answer(self, batch: Batch) -> Tensor:
        """(B,), or (B, K) of several values; standardised."""
        outputs = self.answer(batch)
        return outputs if self._values.names else outputs.squeeze(-1)

    def outputs(self, batch: Batch) -> Tensor:
        """What is predicted, (B,) or (B, K), in the targets' own units."""
        return self._values.in_units(self._answer(batch))

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """The values."""
        return {self.target: self.outputs(batch)}

    def answers(self, outputs: Tensor, batch: Batch) -> Answers:
        """Predictions, in the targets' own units."""
        return {"predictions": outputs}

    def metrics(self) -> ValueMetrics:
        """Mean squared and absolute error and R²; the loss in the units of the training loss."""
        values = self._values
        scaled = values.standardised if values.unit else None
        return ValueMetrics(self.target, values.std, values.names, scaled=scaled)

    def portable(self) -> Predictor:
        """Raw inputs in, values out."""
        output = Port("values", self._values.shape, torch.float32, "in the unit of the targets")
        mean, std = self._values.mean, self._values.std
        several = bool(self._values.names)
        unit: dict[str, Any] = (
            {"std": list(std), "mean": list(mean)} if several else {"std": std[0], "mean": mean[0]}
        )
        if self._values.unit:
            unit["asinh of the value over"] = list(self._values.unit)
        facts = {"target_unit": unit}
        return self.predictor(output, does="regression", answer=self.outputs, facts=facts)
