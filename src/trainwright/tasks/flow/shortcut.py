"""A flow that needs few steps: its network also learns where a long step arrives."""

import torch
from torch import Tensor, nn

from trainwright.data.dataset import DataInfo
from trainwright.nn.generators.velocity import Velocity
from trainwright.tasks.flow.coupling import Coupling
from trainwright.tasks.flow.paths import PathName, Times, along
from trainwright.tasks.flow.samplers import Sampler
from trainwright.tasks.flow.task import Flow
from trainwright.tasks.generated.task import Score

MOST_LENGTHS = 10


class Shortcut(Flow):
    """Learns a flow and, from itself, its shortcuts (Frans et al. 2024, arXiv:2410.12557).

    A step of 1, 1/2, 1/4, ... of the way has to arrive where two of half its length do, the
    shortest where two short steps of the flow itself do. Fork a trained flow, whose weights fit.
    `lengths`: how many lengths there are; with 5 the shortest is a 16th of the way.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        info: DataInfo,
        seed: int,
        path: PathName = "linear",
        times: Times = "logit_normal",
        coupling: Coupling = "independent",
        drop_classes: float = 0.1,
        lengths: int = 5,
        sampler: Sampler = "shortcut",
        steps: int = 4,
        guidance: float = 1.0,
        score: Score = "own",
    ) -> None:
        if not 1 <= lengths <= MOST_LENGTHS:
            raise ValueError(f"lengths={lengths} is not from 1 to {MOST_LENGTHS}")
        if isinstance(model, Velocity):
            model.learn_steps(lengths)
        super().__init__(
            model=model,
            info=info,
            seed=seed,
            path=path,
            times=times,
            coupling=coupling,
            drop_classes=drop_classes,
            sampler=sampler,
            steps=steps,
            guidance=guidance,
            score=score,
        )
        self._lengths = lengths

    def _errors(self, data: Tensor, classes: Tensor | None) -> Tensor:
        """Of the flow, and of its steps, of each of the examples (B, ...): (B,)."""
        return super()._errors(data, classes) + self._step_errors(data, classes)

    def _step_errors(self, data: Tensor, classes: Tensor | None) -> Tensor:
        """Of a step's mean velocity, beside two steps of half its length, (B,)."""
        num, device = len(data), data.device
        lengths = torch.randint(1, self._lengths + 1, (num,), device=device)
        half = 0.5**lengths  # of the step, as a share of the way
        times = (torch.rand(num, device=device) / (2 * half)).floor() * 2 * half
        weights = self.path(times)
        noise = torch.randn_like(data)
        points = along(data, weights.data) * data + along(data, weights.noise) * noise
        with torch.no_grad():
            halves = torch.where(lengths == self._lengths, 0, lengths + 1)
            first: Tensor = self.model(points, times, classes, halves).float()
            there = points + along(data, half) * first
            second: Tensor = self.model(there, times + half, classes, halves).float()
        said: Tensor = self.model(points, times, classes, lengths).float()
        return (said - (first + second) / 2).flatten(1).square().mean(dim=1)
