"""What is asked of a trained task: one number of what it says of an example, as a function."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from trainwright.data.columns import Classes, Labels, Target
from trainwright.data.examples import Batch
from trainwright.errors import ConfigError
from trainwright.inference.predict import targets_of
from trainwright.inference.trained import Trained, ability
from trainwright.tasks.task import Task
from trainwright.wording import choices, format_number, nearest, printable


@dataclass(frozen=True)
class Asked:
    """A task, and which of its outputs: a class, a label or a value, by its number.

    `pause` is called before each batch, so that whoever computes this can do something else.
    """

    task: Task
    target: Target
    place: int = 0
    pause: Callable[[], None] = lambda: None

    def outputs(self, batch: Batch) -> Tensor:
        """What the task puts out of a batch as the network sees it, (B, outputs)."""
        self.pause()
        outputs: Tensor = self.task.outputs(batch)  # type: ignore[operator]
        return outputs.reshape(len(outputs), -1)

    def score(self, batch: Batch) -> Tensor:
        """The log-odds of the class or label, whose sum over causes means something; the value.

        (B,): of a class its logit less the logarithm of the others' summed exponentials.
        """
        outputs = self.outputs(batch)
        if not isinstance(self.target, Classes):
            return outputs[:, self.place]
        others = torch.cat([outputs[:, : self.place], outputs[:, self.place + 1 :]], 1)
        return outputs[:, self.place] - others.logsumexp(1)

    @property
    def is_probable(self) -> bool:
        """Whether a score is the log-odds of something."""
        return isinstance(self.target, Classes | Labels)

    @property
    def unit(self) -> str:
        """What a person reads of a score."""
        return "probability" if self.is_probable else "value"

    def told(self, score: Tensor) -> Tensor:
        """Scores as a person reads them."""
        return score.sigmoid() if self.is_probable else score

    def text(self, score: float) -> str:
        """One as text."""
        return format_number(float(self.told(torch.tensor(score))))

    @property
    def name(self) -> str:
        """The class or value that is asked for."""
        return self.names[self.place]

    @property
    def names(self) -> tuple[str, ...]:
        """Those that could be."""
        return tuple(getattr(self.target, "names", ())) or ("value",)

    def of(self, task: Task) -> "Asked":
        """The same, asked of another task."""
        return replace(self, task=task)


def asked_of(trained: Trained) -> Asked:
    """The first output of a run that can be explained.

    Raises ConfigError for a task that says nothing of examples.
    """
    ability(trained, "outputs", "say anything of examples that could be explained")
    targets = list(targets_of(trained).values())
    if len(targets) != 1:
        raise ConfigError("this run cannot be explained: it has several targets, and not one")
    return Asked(trained.task, targets[0])


@torch.no_grad()
def chosen(asked: Asked, batch: Batch, output: str | None) -> Asked:
    """With the output of that name or number; None: the likeliest for an example, (1, ...).

    Raises ConfigError for an output that there is not.
    """
    names: Any = asked.names
    if output is None:
        return replace(asked, place=int(asked.outputs(batch)[0].argmax()) * asked.is_probable)
    if output in names:
        return replace(asked, place=names.index(output))
    if output.isascii() and output.isdigit() and int(output) < len(names):
        return replace(asked, place=int(output))
    raise ConfigError(
        f"output={printable(output)}: there is no such output{nearest(output, names)}\n"
        + choices("outputs are", output, names)
    )
