"""What a GAN shows its judge, and what the judge says of it."""

from collections.abc import Sequence

import torch
from torch import Tensor

from trainwright.nn.gan import GAN
from trainwright.progress import counted
from trainwright.score.classes import in_proportion
from trainwright.score.figure import Figure
from trainwright.score.judge import Judge, Seen
from trainwright.seeds import generator_for

BATCH = 500


def draw_images(
    model: GAN, num_images: int, *, class_counts: Tensor | None, seed: int, purpose: str
) -> tuple[Tensor, Tensor | None]:
    """Generated images (N, C, H, W) uint8, and for a conditional GAN their classes (N,).

    The latents, and classes in proportion to `class_counts`, depend on `seed` and `purpose`
    alone. The pixels are rounded as in a file, and as the real ones are.
    """
    latents = torch.randn(
        num_images, model.latent_dim, generator=generator_for(seed, "score latents", purpose)
    )
    classes = None
    if model.num_classes:
        assert class_counts is not None
        shuffle = generator_for(seed, "score classes", purpose)
        classes = in_proportion(class_counts, num_images, shuffle)
    device = next(model.generator.parameters()).device
    parts = []
    for start in counted(range(0, num_images, BATCH), "generating what is scored"):
        part = slice(start, start + BATCH)
        asked = None if classes is None else classes[part].to(device)
        images = model.generator(latents[part].to(device), asked).float()  # (B, C, H, W) in -1..1
        parts.append(((images.nan_to_num() + 1) * 127.5).round().clamp(0, 255).byte())
    return torch.cat(parts), classes


def shown_to(judge: Judge, model: GAN, seed: int) -> dict[str, Tensor]:
    """What the judge asks to be shown, and sees in it: each (N, ...)."""
    images, classes = draw_images(
        model,
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


def seen_in(values: dict[str, Tensor]) -> tuple[Seen, Tensor | None]:
    """What the judge has seen in the samples among a task's values, and the classes asked for."""
    seen = Seen(values["sample_features"], values.get("sample_probabilities"))
    return seen, values.get("sample_classes")


def score_metrics(judge: Judge, values: dict[str, Tensor]) -> dict[str, float]:
    """The judge's figures of the samples among a task's values, as metrics."""
    return as_metrics(judge.figures(*seen_in(values)))


def class_shares(
    judge: Judge, values: dict[str, Tensor], class_names: Sequence[str]
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
