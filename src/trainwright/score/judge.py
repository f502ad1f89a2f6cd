"""The judge of generated images: what a feature network sees in real ones, and the figures."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from trainwright.progress import counted
from trainwright.score.classes import class_figures
from trainwright.score.figure import Figure, mean_of
from trainwright.score.frechet import Gaussian, frechet
from trainwright.score.kernel import kid
from trainwright.score.manifold import Manifold, manifold_figures
from trainwright.score.memorisation import copying
from trainwright.score.neighbours import nearest

MIN_EXAMPLES = 50  # of each set; with fewer the figures say nothing
MAX_MANIFOLD = 10_000  # real examples in the manifold and the kernel distance
MAX_COMPARED = 1_000  # samples and held-out examples that are compared with all training examples
MIN_PER_CLASS = 20
MAX_GROUPS = 20


class Seen(NamedTuple):
    """What a network sees in images: features (N, F), and class probabilities (N, C) if it can."""

    features: Tensor
    probabilities: Tensor | None

    def part(self, places: slice) -> "Seen":
        """What it sees in some of the images."""
        known = self.probabilities
        return Seen(self.features[places], None if known is None else known[places])


@dataclass(frozen=True)
class RealImages:
    """Real images as the network sees them, and their classes (M,) where they have any.

    Their order must say nothing, since parts of them are taken from the front; `indices` (M,) are
    their places in the split that they come from.
    """

    seen: Seen
    classes: Tensor | None
    indices: Tensor


@dataclass(eq=False, kw_only=True)
class Judge:
    """Compares sets of images with the training images, in the features of one network.

    `name` tells the network, and belongs to every figure. `look` maps images (N, C, H, W) uint8 to
    what it sees. `reference` are the training images and `held_out` others of the same kind: what
    they get is the floor, under which no generator can be told from real. `num_samples` is how
    many images are scored, and `purpose` tells their latents from those of other occasions.
    """

    name: str
    look: Callable[[Tensor], Seen]
    reference: RealImages
    held_out: RealImages
    num_samples: int
    purpose: str = "evaluation"

    def __post_init__(self) -> None:
        for what, real in (("training", self.reference), ("held-out", self.held_out)):
            if len(real.seen.features) < MIN_EXAMPLES:
                raise ValueError(
                    f"{len(real.seen.features)} {what} images are too few for a score: "
                    f"it takes {MIN_EXAMPLES}"
                )

    def __deepcopy__(self, memo: dict[int, Any]) -> "Judge":
        """Nothing in it ever changes: copies of a task share their judge."""
        return self

    @property
    def num_floor(self) -> int:
        """How many held-out images the floor is taken from: as many as samples where they are."""
        return min(self.num_samples, len(self.held_out.seen.features))

    @cached_property
    def class_counts(self) -> Tensor | None:
        """How many training images each class has (C,)."""
        classes, known = self.reference.classes, self.reference.seen.probabilities
        if classes is None:
            return None
        return torch.bincount(classes, minlength=0 if known is None else known.shape[1])

    @cached_property
    def floor(self) -> dict[str, Figure]:
        """The figures of `num_floor` held-out images."""
        first, classes = slice(self.num_floor), self.held_out.classes
        return self.figures(
            self.held_out.seen.part(first), None if classes is None else classes[first]
        )

    def figures(self, seen: Seen, asked: Tensor | None) -> dict[str, Figure]:
        """All figures of a set of at least 50 images, whose order says nothing.

        `asked` are the classes that were asked for (N,), where a generator takes them.
        """
        features, probabilities = seen
        parts: list[Callable[[], dict[str, Figure]]] = [
            lambda: {"frechet": frechet(features, self._gaussian)},
            lambda: {"kid": kid(features, self._manifold.points)},
            lambda: manifold_figures(features, self._manifold),
            lambda: {} if probabilities is None else class_figures(probabilities, asked),
            lambda: self._distances_to_training(features),
        ]
        figures: dict[str, Figure] = {}
        for part in counted(parts, "comparing with real images, for the score", "parts"):
            figures |= part()
        return figures

    def grouped_figures(self, seen: Seen, asked: Tensor | None) -> dict[str, Figure]:
        """Figures of as many images as the floor has, which alone can be compared with it.

        The means over disjoint groups of that size (at most 20), with their spread's error; the
        plain figures where there is but one group.
        """
        size = self.num_floor
        num_groups = min(len(seen.features) // size, MAX_GROUPS)
        if num_groups < 2:
            return self.figures(seen, asked)
        places = [slice(start, start + size) for start in range(0, num_groups * size, size)]
        parts = [self.figures(seen.part(p), None if asked is None else asked[p]) for p in places]
        return {
            name: mean_of(torch.tensor([part[name].value for part in parts])) for name in parts[0]
        }

    def class_distances(self, seen: Seen, classes: Tensor) -> dict[int, Figure]:
        """The Fréchet distance of the images of each class (N,) to real ones of that class.

        Left out are classes with fewer than 20 images on either side.
        """
        assert self.reference.classes is not None
        distances = {}
        for index in range(int(self.reference.classes.max()) + 1):
            mine = seen.features[classes == index]
            real = self.reference.seen.features[self.reference.classes == index]
            if min(len(mine), len(real)) >= MIN_PER_CLASS:
                distances[index] = frechet(mine, Gaussian.of(real))
        return distances

    def _distances_to_training(self, features: Tensor) -> dict[str, Figure]:
        distances, _ = nearest(features[:MAX_COMPARED], self.reference.seen.features)
        copied = copying(distances, self._held_out_distances)
        return {"nearest": mean_of(distances), "copying": copied}

    @cached_property
    def _gaussian(self) -> Gaussian:
        return Gaussian.of(self.reference.seen.features)

    @cached_property
    def _manifold(self) -> Manifold:
        return Manifold.of(self.reference.seen.features[:MAX_MANIFOLD])

    @cached_property
    def _held_out_distances(self) -> Tensor:
        """Of each held-out image to the nearest training image (M,)."""
        held_out = self.held_out.seen.features[:MAX_COMPARED]
        return nearest(held_out, self.reference.seen.features)[0]
