"""How a flow is sampled: by which solver, in how many steps, how far guided by the class."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor

from trainwright.nn.generators.velocity import Velocity
from trainwright.tasks.flow.edits import Edit
from trainwright.tasks.flow.paths import PathName, Weights
from trainwright.tasks.flow.samplers import Sampler, follow
from trainwright.wording import nearest

DEFAULT_STEPS = 5


@dataclass(frozen=True)
class Sampling:
    """Checked settings. Raises ValueError that names the one that cannot be."""

    sampler: Sampler = "heun"
    steps: int = DEFAULT_STEPS
    guidance: float = 1.0

    def __post_init__(self) -> None:
        known = get_args(Sampler)
        if self.sampler not in known:
            near = nearest(str(self.sampler), known)
            raise ValueError(f"sampler={self.sampler} is not one of {', '.join(known)}{near}")
        if self.steps < 1:
            raise ValueError(f"steps={self.steps} is below 1")
        if not (math.isfinite(self.guidance) and self.guidance >= 0):
            raise ValueError(f"guidance={self.guidance} is not a number from 0 up")

    def changed(
        self, *, sampler: str | None, steps: int | None, guidance: float | None
    ) -> "Sampling":
        """With what a person has typed instead. Raises ValueError."""
        typed = {"sampler": sampler, "steps": steps, "guidance": guidance}
        found = replace(self, **{name: v for name, v in typed.items() if v is not None})  # type: ignore[arg-type]
        if steps is not None and found.sampler == "adaptive":
            raise ValueError(
                f"steps={steps} has no effect with sampler=adaptive, which takes as many as it "
                "needs; leave one of them out"
            )
        return found

    def check(self, model: Velocity, *, drop_classes: float, path: PathName) -> None:
        """Raise ValueError for what a flow on this path, of such a network, cannot do."""
        if self.sampler == "ancestral" and path != "cosine":
            raise ValueError(
                f"sampler=ancestral is of diffusion models, and this flow's path is {path}: train "
                "one with model=diffusion, or take sampler=heun"
            )
        if self.sampler == "shortcut":
            if model.by_step is None:
                raise ValueError(
                    "sampler=shortcut is of flows that have learned few long steps: runs fork RUN "
                    "task=shortcut trains this one further"
                )
            known = [2**n for n in range(model.by_step.num_embeddings - 1)]
            if self.steps not in known:
                raise ValueError(
                    f"steps={self.steps}: a shortcut has learned {', '.join(map(str, known))}; for "
                    "others take sampler=heun"
                )
        if self.guidance == 1:
            return
        if not model.num_classes:
            raise ValueError(
                f"guidance={self.guidance:g}: this flow was not told of classes; leave it out"
            )
        if not drop_classes:
            raise ValueError(
                f"guidance={self.guidance:g} also asks what a flow does without a class, which "
                "this one has never learned: train it with task.drop_classes=0.1"
            )

    def __str__(self) -> str:
        guided = f", guidance {self.guidance:g}" if self.guidance != 1 else ""
        plural = "s"[: self.steps != 1]
        steps = "" if self.sampler == "adaptive" else f"{self.steps} step{plural} of "
        return f"{steps}{self.sampler}{guided}"

    def told(self, evaluations: float) -> str:
        """What was done, and what it cost."""
        cost = f"{evaluations:,.1f}".removesuffix(".0")
        return f"{cost} evaluation{'s'[: cost != '1']} of the network an image ({self})"

    def follow(
        self,
        model: Velocity,
        noise: Tensor,
        classes: Tensor | None,
        path: Callable[[Tensor], Weights],
        edit: Edit | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Where noise (B, ...) of classes (B,) comes to, and evaluations (B,).

        With `edit` from that image and the noise, to changes of it.

        Guidance (Ho and Salimans 2022, arXiv:2207.12598): from the velocity without a class so many
        times as far as to the one with it, so that 1 is the latter alone, and 0 the former.
        """

        begin, points = (0.0, noise) if edit is None else (edit.begin, edit.points(noise))
        halvings = round(math.log2(self.steps / (1 - begin)))  # of the whole way, to a step

        def told(num: int) -> list[Tensor]:
            if self.sampler != "shortcut" or model.by_step is None:
                return []
            length = min(halvings, model.by_step.num_embeddings - 2) + 1
            return [torch.full((num,), length, device=noise.device)]

        def guided(points: Tensor, times: Tensor, rows: Tensor) -> Tensor:
            asked = None if classes is None else classes[rows]
            if self.guidance == 1 or asked is None:
                alone: Tensor = model(points, times, asked, *told(len(rows))).float()
                return alone
            none = torch.full_like(asked, model.num_classes)
            given = torch.cat([points, points]), times.repeat(2), torch.cat([none, asked])
            both: Tensor = model(*given, *told(2 * len(rows))).float()
            without, with_class = both.chunk(2)
            return torch.lerp(without, with_class, self.guidance)

        def held(points: Tensor, times: Tensor, rows: Tensor) -> Tensor:
            if edit is None or edit.is_new is None:
                return guided(points, times, rows)
            known, change = edit.known(noise[rows], times)
            said = guided(torch.where(edit.is_new, points, known), times, rows)
            return torch.where(edit.is_new, said, change)

        found = follow(held, points, sampler=self.sampler, steps=self.steps, path=path, begin=begin)
        calls = 1 if self.guidance == 1 or classes is None else 2
        made = found.points if edit is None else edit.kept(found.points)
        return made, found.evaluations * calls
