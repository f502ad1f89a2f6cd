"""Any number of classes for each example: a photograph with a dog and a beach."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.data.dataset import DataInfo
from trainwright.data.examples import Batch
from trainwright.tasks.metrics.classification import LabelMetrics
from trainwright.tasks.metrics.metric import Answers
from trainwright.tasks.one_network import OneNetwork
from trainwright.tasks.ports import Port, Predictor
from trainwright.tasks.task import Carry, Objective


class MultiLabel(OneNetwork):
    """Learns for each class by itself whether an example has it, by binary cross-entropy."""

    objective: Objective = Objective("average_precision", higher_is_better=True)
    is_one_loss = True
    takes_mixed: ClassVar[bool] = True
    learns: ClassVar[str] = "labels"
    stackable_numbers = ()

    def __init__(self, *, model: nn.Module, info: DataInfo) -> None:
        super().__init__(model, info)

    def forward(self, player: str, batch: Batch, carry: Carry) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean cross-entropy, and the share of labels that it gets right, (B,)."""
        logits, labels = self.answer(batch), batch[self.target]  # (B, classes) each
        loss = functional.binary_cross_entropy_with_logits(logits, labels)
        right = ((logits.detach() > 0) == (labels > 0.5)).float().mean(dim=-1)
        return loss, {"loss": loss.detach(), "label_accuracy": right}

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """The probability of each class (B, classes); they need not sum to 1."""
        return {self.target: self.answer(batch).sigmoid()}

    def outputs(self, batch: Batch) -> Tensor:
        """Logits (B, classes)."""
        return self.answer(batch)

    def answers(self, outputs: Tensor, batch: Batch) -> Answers:
        """Cross-entropy of each example (B,), and probabilities (B, classes)."""
        loss = functional.binary_cross_entropy_with_logits(
            outputs, batch[self.target], reduction="none"
        )
        return {"loss": loss.mean(dim=1), "probabilities": outputs.sigmoid()}

    def metrics(self) -> LabelMetrics:
        """Loss, shares of right answers, F1 and average precision."""
        return LabelMetrics(self.target)

    def portable(self) -> Predictor:
        """Raw inputs in, logits out."""
        output = Port(
            "logits", (self._num_outputs,), torch.float32, "sigmoid of each: its probability"
        )
        return self.predictor(output, does="multilabel", answer=self.outputs)
