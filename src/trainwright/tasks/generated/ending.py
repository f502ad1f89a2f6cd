"""The end of a generator's run: its score beside that of real test images, and its pictures."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from trainwright.data.dataset import Dataset
from trainwright.data.examples import all_of
from trainwright.report.plots.drawing import Drawing
from trainwright.report.plots.grid import image_grid, neighbour_grid, save_image
from trainwright.score.judge import MAX_COMPARED, Judge, Seen
from trainwright.score.neighbours import squared_distances
from trainwright.tasks.generated.draw import interpolate
from trainwright.tasks.generated.metrics import GenerativeMetrics
from trainwright.tasks.generated.score import Scored, seen_in
from trainwright.tasks.task import Ending

INTERPOLATION_STEPS = 10
NUM_NEIGHBOURS = 5
NUM_SHOWN = 5  # samples beside their neighbours: so many as they come, and so many suspects


def score_summary(
    judge: Judge,
    judged: Mapping[str, Tensor],
    metrics: Mapping[str, float],
    class_names: tuple[str, ...],
) -> dict[str, Any]:
    """The judge's figures of what was shown to it and their floors, as plain types.

    `metrics` has the figures by name. Where there are fewer real
    images than samples, `at_floor_samples` has what can be compared with the floor. For a
    conditional GAN `per_class` has the score of each class.
    """
    seen, asked = seen_in(judged)
    summary: dict[str, Any] = {
        "features": judge.name,
        "num_samples": len(seen.features),
        "num_training_images": len(judge.reference.seen.features),
        "num_floor": judge.num_floor,
        "figures": {
            name: {
                "value": metrics[name],
                "error": metrics[f"{name}_error"],
                "floor": floor.value,
                "floor_error": floor.error,
            }
            for name, floor in judge.floor.items()
            if name in metrics
        },
    }
    if judge.num_floor < len(seen.features):
        grouped = judge.grouped_figures(seen, asked)
        summary["at_floor_samples"] = {
            name: {"value": figure.value, "error": figure.error} for name, figure in grouped.items()
        }
    if asked is not None:
        summary["per_class"] = _per_class(judge, seen, asked, class_names)
    return summary


def draw_generated(of: Scored, ending: Ending, drawing: Drawing) -> None:
    """Write interpolation.png, and where there is a judge scores.png and neighbours.png.

    Raises OSError.
    """
    num_rows = min(of.num_conditions, 10) or 8
    strips = interpolate(
        of,
        of.images_of,
        num_rows,
        frames=INTERPOLATION_STEPS,
        seed=ending.seed,
        classes=range(num_rows) if of.num_conditions else (),
        purpose="interpolation",
    )
    save_image(
        image_grid(strips.images, columns=strips.columns), ending.plots / "interpolation.png"
    )
    # The curves are of validation images, and so is their floor; the task's own judge has moved on.
    judge = ending.judge
    if judge is None:
        return
    floors = {name: (figure.value, figure.error) for name, figure in judge.floor.items()}
    drawing.plot(
        "plot_scores",
        ending.rows,
        floors,
        str(ending.plots / "scores.png"),
        num_samples=judge.num_samples,
        num_real=judge.num_floor,
    )
    assert isinstance(ending.metric, GenerativeMetrics)
    picture = _neighbours(judge, ending.dataset, ending.metric.judged)
    save_image(picture, ending.plots / "neighbours.png")


def _neighbours(judge: Judge, dataset: Dataset, judged: Mapping[str, Tensor]) -> Any:
    """Some samples as they come, then those that are nearest to a training image of a thousand."""
    features = judged["sample_features"][:MAX_COMPARED]
    found = [
        block.topk(NUM_NEIGHBOURS, dim=1, largest=False)
        for _, block in squared_distances(features, judge.reference.seen.features)
    ]
    distances = torch.cat([nearest.values[:, 0] for nearest in found])
    indices = torch.cat([nearest.indices for nearest in found])  # (N, K)
    suspects = distances.argsort()[:NUM_SHOWN]
    shown = torch.cat([torch.arange(NUM_SHOWN, device=suspects.device), suspects])
    order = judge.reference.indices[indices[shown].cpu()]  # (n, K) into the training split
    images = all_of(dataset.train, dataset.info.inputs[0], order.flatten())
    neighbours = images.view(*order.shape, *images.shape[1:])  # (n, K, C, H, W)
    return neighbour_grid(judged["samples"][shown].cpu(), neighbours)


def _per_class(
    judge: Judge, seen: Seen, asked: Tensor, class_names: tuple[str, ...]
) -> dict[str, dict[str, float]]:
    """Of each class that was asked for: its Fréchet distance, floor, and share that is it."""
    assert judge.held_out.classes is not None
    held_out = judge.class_distances(judge.held_out.seen, judge.held_out.classes)
    rows = {}
    for index, figure in judge.class_distances(seen, asked).items():
        row = {"frechet": figure.value, "frechet_error": figure.error}
        if index in held_out:
            row |= {"floor": held_out[index].value, "floor_error": held_out[index].error}
        if seen.probabilities is not None:
            found = seen.probabilities[asked == index].argmax(dim=1)
            row["as_asked"] = float((found == index).double().mean())
        rows[class_names[index]] = row
    return rows
