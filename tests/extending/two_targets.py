"""Tables with a class and a value to predict, and a task that learns both by a weighted loss."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.data.dataset import DataInfo, Dataset
from trainwright.data.splits import split_arrays
from trainwright.tasks.metrics.metric import Gathered, Metric
from trainwright.tasks.ports import Port, Predictor
from trainwright.tasks.task import Objective, Task

NAMES = ("width", "height", "depth")


def boxes(*, num_examples: int = 240, split_seed: int = 0) -> Dataset:
    """The sides of boxes (N, 3); which side is the longest, and their volume."""
    generator = torch.Generator().manual_seed(split_seed)
    sides = 1 + 3 * torch.rand(num_examples, 3, generator=generator)
    return split_arrays(
        "boxes",
        sides,
        {"longest": sides.argmax(dim=1), "volume": sides.prod(dim=1)},
        feature_names=NAMES,
        class_names=NAMES,
        split_seed=split_seed,
    )


class ClassAndValue(Task):
    """One network puts out a number a class and one for the value, standardised.

    `value_weight`: of the squared error, beside the cross-entropy.
    """

    objective = Objective("loss", higher_is_better=False)

    def __init__(self, *, model: nn.Module, info: DataInfo, value_weight: float = 0.5) -> None:
        super().__init__()
        kinds = tuple(info.columns[name].kind for name in info.targets)
        if kinds != ("classes", "values"):
            has = " and ".join(kinds) or "nothing"
            raise ValueError(f"task=both learns a class and a value, and {info.name} has {has}")
        if value_weight < 0:
            raise ValueError(f"value_weight={value_weight} is not at least 0")
        self.model, self.value_weight = model, value_weight
        self.inputs, (self.kind, self.value) = info.inputs, info.targets
        self.columns = dict(info.columns)
        self.num_outputs = info.num_outputs

    @property
    def players(self) -> dict[str, nn.Module]:
        return {"model": self.model}

    @property
    def checked_network(self) -> tuple[nn.Module, int, tuple[str, ...]]:
        return self.model, self.num_outputs, self.inputs

    def answer(self, batch: dict) -> tuple[Tensor, Tensor]:
        """Logits (B, C), and the standardised value (B,)."""
        outputs = self.model(batch[self.inputs[0]]).float()
        return outputs[:, :-1], outputs[:, -1]

    def losses(self, batch: dict) -> dict[str, Tensor]:
        """Both parts of each example's loss, (B,) each."""
        logits, value = self.answer(batch)
        truth = self.columns[self.value].standardised(batch[self.value])
        return {
            "class_loss": functional.cross_entropy(logits, batch[self.kind], reduction="none"),
            "value_loss": (value - truth) ** 2,
        }

    def forward(self, player: str, batch: dict, carry: dict) -> tuple[Tensor, dict[str, Tensor]]:
        losses = self.losses(batch)
        loss = (losses["class_loss"] + self.value_weight * losses["value_loss"]).mean()
        return loss, {"loss": loss.detach(), **{k: v.detach() for k, v in losses.items()}}

    def predict(self, batch: dict) -> dict[str, Tensor]:
        """Probabilities (B, C), and the value in its own unit (B,)."""
        logits, value = self.answer(batch)
        in_units = self.columns[self.value].in_units(value)
        return {self.kind: logits.softmax(dim=1), self.value: in_units}

    def evaluate(self, batch: dict) -> dict[str, Tensor]:
        return {**self.losses(batch), **self.predict(batch)}

    def metrics(self) -> Metric:
        return Both(self.kind, self.value, self.value_weight)

    def portable(self) -> Predictor:
        """A row in; the probabilities and then the value out."""

        def answer(batch: dict) -> Tensor:
            told = self.predict(batch)
            return torch.cat([told[self.kind], told[self.value][:, None]], dim=1)

        meaning = "the probabilities of the classes, then the value in its own unit"
        output = Port("answers", (self.num_outputs,), torch.float32, meaning)
        inputs = {name: self.columns[name] for name in self.inputs}
        facts: dict[str, Any] = {}
        return Predictor(self.model, inputs, output, does="both", answer=answer, facts=facts)


class Both(Gathered):
    """The loss and its parts, how often the class is right, and the mean error of the value."""

    def __init__(self, kind: str, value: str, value_weight: float) -> None:
        super().__init__()
        self.kind, self.value, self.value_weight = kind, value, value_weight

    def update(self, batch: dict, answers: dict) -> None:
        self.keep(
            {
                "class_loss": answers["class_loss"],
                "value_loss": answers["value_loss"],
                "accuracy": (answers[self.kind].argmax(dim=1) == batch[self.kind]).float(),
                "error": (answers[self.value] - batch[self.value]).abs(),
            }
        )

    def of(self, values: dict) -> dict[str, float]:
        means = {name: float(value.double().mean()) for name, value in values.items()}
        return {"loss": means["class_loss"] + self.value_weight * means["value_loss"], **means}
