"""Regression: one number for each example."""

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from trainwright.data.batches import Batch, Normalisation
from trainwright.data.dataset import DataInfo
from trainwright.tasks.metrics import regression_metrics
from trainwright.tasks.task import Handed, Objective, Task


class Regression(Task):
    """Learns values by mean squared error.

    The network predicts in units of the training targets' standard deviation about their mean, so
    that a learning rate means the same whatever the unit. The training loss is in those units
    squared; the metrics of an evaluation are in the targets' own.
    """

    objective: Objective = Objective("mse", higher_is_better=False)
    wants_fp32: ClassVar[bool] = True
    is_one_loss: ClassVar[bool] = True
    stackable_numbers = ()

    def __init__(self, *, model: nn.Module, info: DataInfo) -> None:
        super().__init__()
        if info.target != "values":
            raise ValueError(
                f"task=regression needs values to learn, and {info.name} has {info.target}; "
                + ("use task=classifier" if info.target == "classes" else "use model=gan")
            )
        self.model = model
        self.normalisation = Normalisation.standard(info)
        self.target_mean, self.target_std = info.target_mean, info.target_std

    @property
    def players(self) -> Mapping[str, nn.Module]:
        """The one network."""
        return {"model": self.model}

    def forward(
        self, player: str, batch: Batch, handed: Handed
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean squared error of the batch, in standard deviations squared."""
        assert batch.targets is not None
        standardised = (batch.targets - self.target_mean) / self.target_std
        loss = functional.mse_loss(self.model(batch.inputs).float().squeeze(-1), standardised)
        return loss, {"loss": loss.detach()}

    def evaluate(self, batch: Batch) -> dict[str, Tensor]:
        """Predictions (B,) and targets (B,), both in the targets' own unit."""
        assert batch.targets is not None
        outputs = self.model(batch.inputs).float().squeeze(1)
        return {
            "predictions": outputs * self.target_std + self.target_mean,
            "targets": batch.targets,
        }

    def score(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Mean squared and absolute error and R²; the loss in the units of the training loss."""
        metrics = regression_metrics(values["predictions"], values["targets"])
        return {"loss": metrics["mse"] / self.target_std**2, **metrics}
