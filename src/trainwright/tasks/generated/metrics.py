"""How a generator is doing on a split: what its task says of it, and its judge."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from trainwright.data.examples import Batch
from trainwright.score.judge import Judge
from trainwright.tasks.generated.score import class_shares, score_metrics
from trainwright.tasks.generated.signs import contrast, diversity
from trainwright.tasks.metrics.metric import Answers, Gathered

OF_HEALTH = ("copying", "copying_error")  # figures of the judge that are signs too


class Judged(NamedTuple):
    """What there is to judge a generator by.

    `columns`: those of a batch that are looked at, images first, then classes if it knows any.
    `seen`: what the judge has been shown and has seen, each (N, ...); empty without one.
    """

    columns: tuple[str, ...]
    class_names: tuple[str, ...]
    judge: Judge | None
    seen: Mapping[str, Tensor]


class GenerativeMetrics(Gathered):
    """The numbers of a task, and a judge's. Images of a batch are from -1 to 1."""

    def __init__(self, judged: Judged) -> None:
        super().__init__()
        self._columns, self._names, self._judge, seen = judged
        self.judged = dict(seen)

    def update(self, batch: Batch, answers: Answers) -> None:
        """Keep what the task says, real images, and classes where the network knows them."""
        real = dict(zip(("real", "classes"), (batch[name] for name in self._columns), strict=False))
        self.keep({**real, **answers})

    def compute(self) -> dict[str, float]:
        """The numbers of the split, and what the judge says of new samples."""
        metrics = super().compute()
        if self._judge is None:
            return metrics
        return metrics | score_metrics(self._judge, self.judged)

    @abstractmethod
    def of(self, values: dict[str, Tensor]) -> dict[str, float]:
        """The numbers of examples, from what was kept of them."""

    def signs(self, scores: Mapping[str, float]) -> dict[str, float]:
        """How varied and how strong the samples are, which classes they are of, if they are new."""
        if self._judge is None:
            return {}
        real = self.values["real"]
        samples = self.judged["samples"].cpu() / 127.5 - 1
        num = min(len(real), len(samples))
        return {
            "diversity": diversity(samples[:num], real[:num]),
            "contrast": contrast(samples[:num], real[:num]),
            **class_shares(self._judge, self.judged, self._names),
            **{n: scores[n] for n in OF_HEALTH if math.isfinite(scores.get(n, math.nan))},
        }
