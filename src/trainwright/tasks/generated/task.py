"""The contract of a task that makes images of noise: it is drawn from, scored and shown alike."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from trainwright.data.columns import BadInputError, Image
from trainwright.data.dataset import DataInfo
from trainwright.data.examples import Batch
from trainwright.score.judge import Judge
from trainwright.tasks.generated.draw import draw, interpolate
from trainwright.tasks.generated.ending import draw_generated, score_summary
from trainwright.tasks.generated.metrics import GenerativeMetrics, Judged
from trainwright.tasks.generated.score import shown_to
from trainwright.tasks.metrics.metric import Metric
from trainwright.tasks.show import MadeUp, Samples
from trainwright.tasks.task import Ending, Objective, Task

Score = Literal["own", "none"] | nn.Module
MAX_CLASS_ROWS = 10


class Generative(Task):
    """Noise becomes images, of a class where the network knows `num_conditions` of them.

    `score`: the network in whose features the images are scored (see `Task.score_features`).
    """

    evaluated_examples: ClassVar[int | None] = 2000

    noise_shape: tuple[int, ...]  # that one image is made of

    def __init__(self, info: DataInfo, *, num_conditions: int, seed: int, score: Score) -> None:
        super().__init__()
        self.class_names = info.class_names
        self.num_conditions = num_conditions  # 0: it is told of no classes
        self.image, self.classes = info.inputs[0], next(iter(info.targets), "")
        self._makes_images = isinstance(info.input, Image)
        self._seed = seed
        # In a tuple, since a module of its own would be saved and averaged with the players.
        self._score = (score,)

    @abstractmethod
    def images_of(self, noise: Tensor, classes: Tensor | None) -> Tensor:
        """Images (B, C, H, W) in [0, 1] of noise (B, *noise_shape), as evaluations make them."""

    def noise(self, num: int, generator: torch.Generator) -> Tensor:
        """(num, *noise_shape) on the CPU. What is drawn first does not depend on `num`."""
        return torch.stack([torch.randn(self.noise_shape, generator=generator) for _ in range(num)])

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return next(self.parameters()).device

    def classes_of(self, batch: Batch) -> Tensor | None:
        """The classes (B,), where the network is told of them."""
        return batch[self.classes] if self.num_conditions else None

    @property
    def score_features(self) -> Literal["own"] | nn.Module | None:
        """As the config has it."""
        (score,) = self._score
        return None if score == "none" or not self._makes_images else score

    def be_judged_by(self, judge: Judge) -> None:
        """From now on the objective is the Fréchet distance in the judge's features."""
        self.judge = judge
        self.objective = Objective("frechet", higher_is_better=False)

    def judged(self) -> Judged:
        """What its metric judges it by: the judge is shown samples."""
        columns = (self.image, self.classes) if self.num_conditions else (self.image,)
        seen = {} if self.judge is None else shown_to(self.judge, self, self._seed)
        return Judged(columns, self.class_names, self.judge, seen)

    def stored_image(self, path: Path, key: str) -> Tensor:
        """An image file as training images are stored, (C, H, W). Raises ValueError with `key`."""
        try:
            return torch.from_numpy(self.columns[self.image].taken(path, self.image))
        except BadInputError as error:
            raise ValueError(f"{key}={path}: {error}") from None

    def generate(self, num: int, *, seed: int, classes: Sequence[int] = ()) -> MadeUp:
        """`num` images; of these classes in turn, or of all, where it knows classes."""
        return draw(self, self.images_of, num, seed=seed, classes=classes)

    def interpolate(
        self, num: int, *, frames: int, seed: int, classes: Sequence[int] = ()
    ) -> Samples:
        """`num` strips of `frames` images from one noise to another."""
        return interpolate(self, self.images_of, num, frames=frames, seed=seed, classes=classes)

    @property
    def generated_classes(self) -> tuple[str, ...]:
        """The classes that can be asked for."""
        return self.class_names if self.num_conditions else ()

    @property
    def rows_shown(self) -> int:
        """A row a class where it knows classes."""
        return min(self.num_conditions, MAX_CLASS_ROWS) or 8

    @property
    def columns_shown(self) -> int:
        """Ten for class rows, eight where there are none."""
        return 10 if self.num_conditions else 8

    def finish(self, ending: Ending) -> dict[str, Any]:
        """The full score beside that of real test images, and the pictures of a generator."""
        if ending.drawing is not None and self._makes_images:
            draw_generated(self, ending, ending.drawing)
        return self.details(ending.metric, ending.metrics)

    def details(self, metric: Metric, metrics: Mapping[str, float]) -> dict[str, Any]:
        """The judge's figures and their floors, as summary.json has them; nothing without one."""
        if self.judge is None or not isinstance(metric, GenerativeMetrics):
            return {}
        return {"score": score_summary(self.judge, metric.judged, metrics, self.class_names)}
