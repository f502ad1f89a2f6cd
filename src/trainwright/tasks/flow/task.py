"""Flow matching: noise moves to examples along the velocity that a network has learned."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor, nn

from trainwright.data.columns import Column, Image, Numbers
from trainwright.data.dataset import DataInfo
from trainwright.data.examples import Batch
from trainwright.nn.generators.velocity import Velocity
from trainwright.seeds import generator_for
from trainwright.tasks.flow.coupling import Coupling, coupled
from trainwright.tasks.flow.edits import Edit
from trainwright.tasks.flow.likelihood import LEVELS, log_density, of_levels
from trainwright.tasks.flow.paths import PATHS, PathName, Times, along, drawn_times
from trainwright.tasks.flow.rows import table_of
from trainwright.tasks.flow.samplers import Sampler
from trainwright.tasks.flow.sampling import DEFAULT_STEPS, Sampling
from trainwright.tasks.generated.draw import BATCH, Render, draw, images_of, in_turn, interpolate
from trainwright.tasks.generated.health import diagnose
from trainwright.tasks.generated.metrics import GenerativeMetrics
from trainwright.tasks.generated.task import Generative, Score
from trainwright.tasks.health import Health, Signs
from trainwright.tasks.metrics.metric import Answers
from trainwright.tasks.show import Images as ShownImages
from trainwright.tasks.show import MadeUp, Samples, Shown, Table
from trainwright.tasks.task import Carry, Objective

ROWS_SHOWN = 10
Costs = list[Tensor]  # evaluations of the network, of batches of images (B,)


class Flow(Generative):
    """Learns the velocity of the way from noise to examples (Lipman et al. 2023, arXiv:2210.02747).

    `path`: a straight line, the rectified flow of Liu et al. 2023 (arXiv:2209.03003), or a quarter
    of a circle, which makes it a diffusion model with v-prediction.
    `times`: of the way that are learned from: mostly its middle, or all alike.
    `coupling`: examples learn from noise that is drawn for them, or from that of the batch which
    is best for all of it; then the loss is another too.
    `drop_classes`: share of the examples whose class is not told, which guidance needs.
    `sampler`, `steps`, `guidance`: how samples are made along the way and scored; `runs sample`
    has the same keys.
    """

    objective = Objective("loss", higher_is_better=False)

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
        sampler: Sampler = "heun",
        steps: int = DEFAULT_STEPS,
        guidance: float = 1.0,
        score: Score = "own",
    ) -> None:
        if not isinstance(model, Velocity):
            raise ValueError("task=flow needs a model of velocities: model=flow, or mlp_flow")
        super().__init__(info, num_conditions=model.num_classes, seed=seed, score=score)
        if not 0 <= drop_classes < 1:
            raise ValueError(f"drop_classes={drop_classes} is not a share, from 0 to below 1")
        self.sampling = Sampling(sampler, steps, guidance)
        self.sampling.check(model, drop_classes=drop_classes, path=path)
        self.model = model
        self.columns = _columns(info, self.classes if model.num_classes else None)
        self.noise_shape = model.shape
        self.path, self._path_name, self._times = PATHS[path], path, times
        self._coupling = coupling
        self.mixes_examples = "task.coupling=optimal" if coupling == "optimal" else ""
        self.drop_classes = drop_classes

    @property
    def players(self) -> Mapping[str, nn.Module]:
        """The one network."""
        return {"model": self.model}

    def pattern(self, step: int) -> str:
        """All steps are alike."""
        return "flow"

    def forward(self, player: str, batch: Batch, carry: Carry) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean squared error of the velocity, (B, ...) examples each at a time of its own."""
        classes = self.classes_of(batch)
        if classes is not None and self.drop_classes:
            is_dropped = torch.rand(len(classes), device=classes.device) < self.drop_classes
            classes = torch.where(is_dropped, self.model.num_classes, classes)
        loss = self._errors(batch[self.image], classes).mean()
        return loss, {"loss": loss.detach()}

    def _errors(self, data: Tensor, classes: Tensor | None) -> Tensor:
        """Of each of the examples (B, ...), at a time and with noise that are drawn: (B,)."""
        times = drawn_times(self._times, len(data), data.device)
        noise = torch.randn_like(data)
        if self._coupling == "optimal":
            noise = coupled(noise, data, classes)
        weights = [along(data, weight) for weight in self.path(times)]
        points = weights[0] * data + weights[1] * noise
        wanted = weights[2] * data + weights[3] * noise
        errors: Tensor = self.model(points, times, classes).float() - wanted
        return errors.flatten(1).square().mean(dim=1)

    def describe(self) -> str:
        """The path, and how it is sampled."""
        coupling = "" if self._coupling == "independent" else f", {self._coupling} coupling"
        return f"{self._path_name} path{coupling}, sampled by {self.sampling}"

    def evaluate(self, batch: Batch) -> Answers:
        """The error of each example's velocity (B,)."""
        return {"loss": self._errors(batch[self.image], self.classes_of(batch))}

    def log_likelihood(self, batch: Batch) -> Tensor:
        """Nats of each example (B,), of its class where it is told of it.

        Of an image the probability of its levels, of a row a density of its normalised numbers.
        """
        return self._log_likelihood(batch[self.image], self.classes_of(batch))

    def anomaly_score(self, batch: Batch) -> Tensor:
        """How unlikely examples are (B,), whatever their class."""
        if self.num_conditions and not self.drop_classes:
            raise ValueError("this flow knows examples of a class alone; task.drop_classes=0.1")
        data = batch[self.image]
        none = torch.full((len(data),), self.model.num_classes, device=data.device)
        return -self._log_likelihood(data, none if self.num_conditions else None)

    def _log_likelihood(self, data: Tensor, classes: Tensor | None) -> Tensor:
        def velocity(points: Tensor, times: Tensor, rows: Tensor) -> Tensor:
            asked = None if classes is None else classes[rows]
            said: Tensor = self.model(points, times, asked)
            return said.float()

        with torch.autocast(data.device.type, enabled=False):
            if not self._makes_images:
                return log_density(velocity, data.float())
            a_level = math.prod(self.model.shape) * math.log(2 / LEVELS)
            return log_density(velocity, of_levels(data.float())) + a_level

    def metrics(self) -> "FlowMetrics":
        """The error of velocities, and the judge's figures of new samples."""
        return FlowMetrics(self.judged())

    def diagnose(self, history: Sequence[Signs]) -> Health:
        """Healthy, or whether samples grow alike, are grey or copies, or all is lost."""
        return diagnose(history)

    def images_of(self, noise: Tensor, classes: Tensor | None) -> Tensor:
        """Images (B, C, H, W) in [0, 1], as the config has them made."""
        return self._render(self.sampling, [])(noise, classes)

    def _render(self, how: Sampling, costs: Costs, edit: Edit | None = None) -> Render:
        """Makes examples of noise; adds up what each has cost."""

        def render(noise: Tensor, classes: Tensor | None) -> Tensor:
            points, cost = how.follow(self.model, noise, classes, self.path, edit)
            costs.append(cost)
            return ((points + 1) / 2).clamp(0, 1)

        return render

    def _sampling(self, sampler: str | None, steps: int | None, guidance: float | None) -> Sampling:
        how = self.sampling.changed(sampler=sampler, steps=steps, guidance=guidance)
        how.check(self.model, drop_classes=self.drop_classes, path=self._path_name)
        return how

    def generate(
        self,
        num: int,
        *,
        seed: int,
        classes: Sequence[int] = (),
        sampler: Annotated[
            str | None, "of a flow: euler, midpoint, heun, ddim, ancestral, adaptive, shortcut"
        ] = None,
        steps: Annotated[int | None, "of a flow: how many, from noise to an example"] = None,
        guidance: Annotated[float | None, "of a flow: how far the class leads; 1: not"] = None,
        edit: Annotated[Path | None, "of a flow: an image to begin with instead of noise"] = None,
        mask: Annotated[Path | None, "with edit: an image, white where it is made anew"] = None,
        strength: Annotated[float | None, "with edit: share of the way made anew (0.5)"] = None,
    ) -> MadeUp:
        """`num` images or rows; of these classes in turn, or of all, where it knows classes.

        What is not given is as in training. With `edit` that image is brought a share of the way
        to noise, and from there to images (Meng et al. 2022, arXiv:2108.01073); with `mask` only
        where that is white, by default from noise alone, and the rest stays as it is.
        """
        how, costs = self._sampling(sampler, steps, guidance), Costs()
        for key, value in {"strength": strength, "mask": mask}.items():
            if value is not None and edit is None:
                raise ValueError(f"{key}={value} is of edit=photo.png; give both")
        if not self._makes_images:
            if edit is not None:
                raise ValueError(f"edit={edit}: this run makes rows, not images; leave it out")
            return self._rows(num, how, seed, classes)
        if edit is None:
            samples = draw(self, self._render(how, costs), num, seed=seed, classes=classes)
        else:
            changes = Edit.of(self._image, self.path, edit=edit, mask=mask, strength=strength)
            samples = self._edited(changes, num, how, seed, classes, costs)
        return _noted(samples, how, costs)

    def interpolate(
        self,
        num: int,
        *,
        frames: int,
        seed: int,
        classes: Sequence[int] = (),
        sampler: str | None = None,
        steps: int | None = None,
        guidance: float | None = None,
    ) -> Samples:
        """`num` strips of `frames` images from one noise to another."""
        if not self._makes_images:
            raise ValueError("interpolate=...: this run makes rows, not images; leave it out")
        how, costs = self._sampling(sampler, steps, guidance), Costs()
        strips = interpolate(
            self, self._render(how, costs), num, frames=frames, seed=seed, classes=classes
        )
        return _noted(strips, how, costs)

    def _image(self, path: Path, key: str) -> Tensor:
        """An image file (C, H, W) as the network sees images. Raises ValueError."""
        stored = self.stored_image(path, key).to(self.device)
        image: Tensor = self.columns[self.image].preparation(self.device)(stored[None])[0]
        return image

    def _edited(
        self, edit: Edit, num: int, how: Sampling, seed: int, classes: Sequence[int], costs: Costs
    ) -> Samples:
        noise = self.noise(num, generator_for(seed, "sample"))
        of_any = not classes and self.drop_classes > 0
        kinds = None if of_any else in_turn(self, num, classes)
        images = images_of(self, self._render(how, costs, edit), noise, kinds)
        return Samples(images, kinds, math.ceil(math.sqrt(num)))

    def _rows(self, num: int, how: Sampling, seed: int, classes: Sequence[int]) -> Table:
        """Numbers as they stand in a table, and the class where it is told of these."""
        column = self.columns[self.image]
        assert isinstance(column, Numbers)
        noise, kinds = self.noise(num, generator_for(seed, "sample")), in_turn(self, num, classes)
        parts = []
        for start in range(0, num, BATCH):
            part = slice(start, start + BATCH)
            asked = None if kinds is None else kinds[part].to(self.device)
            parts.append(how.follow(self.model, noise[part].to(self.device), asked, self.path)[0])
        told = None if kinds is None else [self.class_names[kind] for kind in kinds.tolist()]
        return table_of(torch.cat(parts), column, told)

    def showcase(self) -> Shown:
        """Images of the same noise each time, a row a class where it knows classes; or rows."""
        if not self._makes_images:
            return self._rows(ROWS_SHOWN, self.sampling, self._seed, ())
        num = self.rows_shown * self.columns_shown
        noise = self.noise(num, generator_for(self._seed, "showcase")).to(self.device)
        classes = None
        if self.num_conditions:
            classes = torch.arange(self.rows_shown).repeat_interleave(self.columns_shown)
            classes = classes.to(self.device)
        return ShownImages(self.images_of(noise, classes), self.columns_shown)


class FlowMetrics(GenerativeMetrics):
    """The mean squared error of velocities."""

    def of(self, values: dict[str, Tensor]) -> dict[str, float]:
        """Of these examples."""
        return {"loss": float(values["loss"].double().mean())}


def _noted(samples: Samples, how: Sampling, costs: Costs) -> Samples:
    return replace(samples, note=how.told(float(torch.cat(costs).double().mean())))


def _columns(info: DataInfo, classes: str | None) -> dict[str, Column]:
    """Images from -1 to 1, or normalised numbers; and classes, where it is told of them."""
    first = info.input
    if isinstance(first, Image):
        first = replace(first, scaling="symmetric")
    elif isinstance(first, Numbers):
        first = replace(first, limit=0.0)  # what is made up can then be told in its own units
    if not isinstance(first, Image | Numbers) or len(info.inputs) > 1:
        raise ValueError(
            f"task=flow makes images, or rows of numbers, and {info.name} holds {info.sizes}"
        )
    return {info.inputs[0]: first, **({classes: info.columns[classes]} if classes else {})}
