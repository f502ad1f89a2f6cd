"""What a GAN shows its judge, and what the judge says of it."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

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


def interpolated(model: GAN, num_steps: int, seed: int) -> Tensor:
    """Images (rows * steps, C, H, W) in 0..1 on ways between two latents, a way a row.

    A conditional GAN has a row for each of its first ten classes, others have eight. The ways are
    great circles (White 2016, arXiv:1609.04468): on a straight line the latents would be shorter
    in the middle than any that the generator has seen.
    """
    num_rows = min(model.num_classes, 10) if model.num_classes else 8
    generator = generator_for(seed, "interpolation")
    first, last = torch.randn(2, num_rows, 1, model.latent_dim, generator=generator)
    angle = torch.acos(functional.cosine_similarity(first, last, dim=-1))[..., None]  # (R, 1, 1)
    share = torch.linspace(0, 1, num_steps)[None, :, None]  # (1, S, 1)
    latents = ((1 - share) * angle).sin() * first + (share * angle).sin() * last
    latents = (latents / angle.sin()).flatten(0, 1)  # (R * S, Z)
    device = next(model.generator.parameters()).device
    classes = torch.arange(num_rows).repeat_interleave(num_steps) if model.num_classes else None
    asked = None if classes is None else classes.to(device)
    images: Tensor = model.generator(latents.to(device), asked)
    return ((images.float() + 1) / 2).clamp(0, 1)
