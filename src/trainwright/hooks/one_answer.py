"""Say it where a classifier does no better than to answer one class always."""

import logging
from typing import Any

import torch
from torch import Tensor

from trainwright.engine.hook import Hook, due_every
from trainwright.engine.state import TrainState

log = logging.getLogger(__name__)

PATIENCE = 3  # evaluations in a row; at the end of a run of an epoch or more, one
NEARLY = 1.1  # times the mean recall of one answer


class OneAnswer(Hook):
    """Warns once, and names what helps.

    Where one class is most of the data, an accuracy that looks good can be its share. What one
    answer gets: as accuracy the share of that class, as mean recall one over the number of classes.
    """

    def __init__(self, targets: Tensor, class_names: tuple[str, ...], *, every: float) -> None:
        counts = torch.bincount(targets.cpu(), minlength=len(class_names))
        self._largest = class_names[int(counts.argmax())]
        self._share = int(counts.max()) / len(targets)
        self._num_classes = int((counts > 0).sum())
        self._every = every
        self._in_a_row = 0
        self._has_warned = False

    def due(self, step: int, total: int) -> bool:
        """With every evaluation, until it has warned."""
        return not self._has_warned and due_every(self._every, step, total)

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        """Count the evaluations without more than one answer, and warn when they are enough."""
        assert state.last is not None
        found = state.last.metrics
        if not {"accuracy", "recall", "f1"} <= found.keys() or self._num_classes < 2:
            return
        is_one_answer = (
            found["recall"] <= NEARLY / self._num_classes
            and found["accuracy"] <= NEARLY * self._share
        )
        self._in_a_row = self._in_a_row + 1 if is_one_answer else 0
        is_over = state.step == state.clock.total_steps and state.epoch >= 1
        if self._in_a_row >= PATIENCE or (self._in_a_row and is_over):
            self._has_warned = True
            log.warning(
                'validation accuracy %.4g is what answering "%s" always would get: %.1f%% of the'
                " examples are of that class; macro F1 is %.3g",
                found["accuracy"], self._largest, 100 * self._share, found["f1"],
            )  # fmt: skip
            log.warning(
                "  what helps: task.class_weights=balanced, data.balance=true, task.focal=2;"
                " another optimizer.lr (a tenth, or ten times), another model"
            )

    def state_dict(self) -> dict[str, Any]:
        """How many evaluations in a row there were, and whether it has warned."""
        return {"in_a_row": self._in_a_row, "has_warned": self._has_warned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self._in_a_row, self._has_warned = int(state["in_a_row"]), bool(state["has_warned"])
