"""A metric, a hook, and data with a second validation split."""

import torch
from torch import Tensor

from trainwright.data.columns import Classes, Numbers
from trainwright.data.dataset import Dataset
from trainwright.data.examples import Arrays
from trainwright.data.splits import make_dataset
from trainwright.engine.clock import Clock, Duration
from trainwright.engine.hook import Hook, due_every
from trainwright.tasks.metrics.metric import Metric
from trainwright.tasks.show import Text


def sensors(*, num_examples: int = 240, drift: float = 1.0, split_seed: int = 0) -> Dataset:
    """Three classes of readings (N, 4), the rarest last; at night the sensors drift."""
    generator = torch.Generator().manual_seed(split_seed)
    centres = 2 * torch.randn(3, 4, generator=generator)

    def split(num: int, shift: float) -> Arrays:
        shares = torch.tensor([0.6, 0.3, 0.1])
        classes = torch.multinomial(shares, num, replacement=True, generator=generator)
        readings = centres[classes] + torch.randn(num, 4, generator=generator) + shift
        return Arrays({"reading": readings, "state": classes})

    return make_dataset(
        "sensors",
        train=split(num_examples, 0),
        validation=split(num_examples // 4, 0),
        test=split(num_examples // 4, 0),
        columns={"reading": Numbers(), "state": Classes(("idle", "busy", "faulty"))},
        inputs=("reading",),
        targets=("state",),
        further={"validation/night": split(num_examples // 4, drift)},
    )


class Kappa(Metric):
    """Agreement beyond that of chance (Cohen 1960, "A coefficient of agreement")."""

    def __init__(self, *, num_classes: int) -> None:
        self.confusion = torch.zeros(num_classes, num_classes, dtype=torch.long)

    def update(self, batch: dict, answers: dict) -> None:
        said, truth = answers["logits"].argmax(dim=1).cpu(), batch["state"].cpu()
        num = len(self.confusion)
        self.confusion += torch.bincount(num * truth + said, minlength=num * num).view(num, num)

    def merge(self, other: "Kappa") -> None:
        self.confusion = self.confusion + other.confusion

    def compute(self) -> dict[str, float]:
        shares = self.confusion.double() / self.confusion.sum()
        chance = float(shares.sum(dim=0) @ shares.sum(dim=1))
        return {"kappa": (float(shares.trace()) - chance) / (1 - chance)}


class Travel(Hook):
    """How far the weights have come since it first looked, and how often it has looked.

    It remembers both across a resume. At the end it leaves a text.
    """

    def __init__(self, *, clock: Clock, every: Duration = 1) -> None:
        self.every, self.looks, self.start = clock.steps(every), 0, 0.0
        self.total = clock.total_steps

    def due(self, step: int, total: int) -> bool:
        return due_every(self.every, step, total)

    def __call__(self, state, metrics: dict[str, Tensor]) -> dict[str, float] | Text:
        norm = float(sum(p.square().sum() for p in state.task.parameters()).sqrt())
        self.looks += 1
        if self.looks == 1:
            self.start = norm
        if state.step == self.total:
            return Text(f"looked {self.looks} times, went {norm - self.start:+.3f}\n")
        return {"looks": float(self.looks), "way": norm - self.start}

    def state_dict(self) -> dict:
        return {"looks": self.looks, "start": self.start}

    def load_state_dict(self, state: dict) -> None:
        self.looks, self.start = state["looks"], state["start"]
