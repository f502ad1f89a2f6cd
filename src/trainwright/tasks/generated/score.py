"""What a generator shows its judge, and what the judge says of it."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from trainwright.progress import counted
from trainwright.score.classes import in_proportion
from trainwright.score.figure import Figure
from trainwright.score.judge import Judge, Seen
from trainwright.seeds import generator_for
from trainwright.tasks.generated.draw import BATCH, Generator


class Scored(Generator, Protocol):
    """A generator that says how it makes the images that are scored."""

    def images_of(self, noise: Tensor, classes: Tensor | None) -> Tensor:
        """Images (B, C, H, W) in [0, 1] of noise (B, ...) and classes (B,)."""


def draw_images(
    of: Scored, num_images: int, *, class_counts: Tensor | None, seed: int, purpose: str
) -> tuple[Tensor, Tensor | None]:
    """Generated images (N, C, H, W) uint8, and their classes (N,) where it knows classes.

    The noise, and classes in proportion to `class_counts`, depend on `seed` and `purpose`
    alone. The pixels are rounded as in a file, and as the real ones are.
    """
    generator = generator_for(seed, "score latents", purpose)
    classes = None
    if of.num_conditions:
        assert class_counts is not None
        shuffle = generator_for(seed, "score classes", purpose)
        classes = in_proportion(class_counts, num_images, shuffle)
    parts = []
    for start in counted(range(0, num_images, BATCH), "generating what is scored"):
        noise = of.noise(min(BATCH, num_images - start), generator).to(of.device)
        asked = None if classes is None else classes[start : start + BATCH].to(of.device)
        images = of.images_of(noise, asked).float()
        parts.append((images.nan_to_num() * 255).round().clamp(0, 255).byte())
    return torch.cat(parts), classes


def shown_to(judge: Judge, of: Scored, seed: int) -> dict[str, Tensor]:
    """What the judge asks to be shown, and sees in it: each (N, ...)."""
    images, classes = draw_images(
        of,
        judge.num_samples,
        class_counts=judge.class_counts,
        seed=seed,
        purpose=judge.purpose,
    )
    seen = judge.look(images)
    values = {
        "samples": images,
        "sample_classes": classes,
        "sample_features": seen.features,
        "sample_probabilities": seen.probabilities,
    }
    return {name: value for name, value in values.items() if value is not None}


def seen_in(values: Mapping[str, Tensor]) -> tuple[Seen, Tensor | None]:
    """What the judge has seen in the samples among a task's values, and the classes asked for."""
    seen = Seen(values["sample_features"], values.get("sample_probabilities"))
    return seen, values.get("sample_classes")


def score_metrics(judge: Judge, values: Mapping[str, Tensor]) -> dict[str, float]:
    """The judge's figures of the samples among a task's values, as metrics."""
    return as_metrics(judge.figures(*seen_in(values)))


def class_shares(
    judge: Judge, values: Mapping[str, Tensor], class_names: Sequence[str]
) -> dict[str, float]:
    """`class_share/<class>`: its share among the samples over its share among training images.

    Nothing where the judge knows no classes.
    """
    probabilities, counts = values.get("sample_probabilities"), judge.class_counts
    if probabilities is None or counts is None:
        return {}
    found = torch.bincount(probabilities.argmax(dim=1).cpu(), minlength=len(class_names))
    shares = (found / found.sum()) / (counts / counts.sum())
    return {f"class_share/{class_names[i]}": float(shares[i]) for i in counts.nonzero().flatten()}


def as_metrics(figures: dict[str, Figure]) -> dict[str, float]:
    """Each figure under its name, its standard error under `<name>_error`."""
    metrics = {name: figure.value for name, figure in figures.items()}
    return metrics | {f"{name}_error": figure.error for name, figure in figures.items()}
