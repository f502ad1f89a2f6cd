"""The end of a run: one look at the test split with the best weights, and the pictures."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.evaluate import evaluate
from trainwright.files import disk_error
from trainwright.report.plots.drawing import Drawing
from trainwright.report.plots.grid import save_image
from trainwright.report.plots.predictions import prediction_grid
from trainwright.run.assemble.assemble import Assembly
from trainwright.run.finish_gan import draw_gan, score_summary
from trainwright.run.judging.attach import final_judge
from trainwright.runs.folder import RunFolder
from trainwright.runs.metrics import read_rows
from trainwright.tasks.gan.task import GANTask
from trainwright.tasks.metrics import confusion_matrix, per_class_metrics

NUM_PREDICTIONS = 64  # examples in the grid of predictions


def finish(assembly: Assembly, folder: RunFolder, drawing: Drawing | None) -> dict[str, Any]:
    """Score the test split with the best weights and draw what there is to see.

    `drawing`: None where no pictures are wanted.

    Returns the metrics for summary.json, for classes also per class and the confusion matrix.
    Raises CheckpointError if the best checkpoint is not whole, DiskError if a file can't be made.
    """
    rows = [] if drawing is None else read_rows(folder.path)
    if drawing is not None:  # it takes longest, and is drawn beside what follows
        drawing.plot("plot_curves", rows, str(folder.plots / "curves.png"))
    tensors, _ = checkpoint.load(folder.best)
    checkpoint.restore_evaluated(assembly.state, tensors)
    task = assembly.state.evaluated_task
    if task.judge is not None:
        device = assembly.state.placement.device
        task.be_judged_by(final_judge(task.judge, assembly.dataset, device))
    test = assembly.dataset.test
    values = evaluate(
        task,
        assembly.make_batches(test),
        batch_size=assembly.settings.evaluate_batch_size,
        placement=assembly.state.placement,
        seed=assembly.state.seed,
    )
    metrics: dict[str, Any] = dict(task.score(values))
    if task.judge is not None:
        class_names = assembly.dataset.info.class_names
        metrics["score"] = score_summary(task.judge, values, metrics, class_names)
    if assembly.dataset.info.target == "classes" and "logits" in values:
        targets, predicted = values["targets"].cpu(), values["logits"].argmax(dim=1).cpu()
        confusion = confusion_matrix(predicted, targets, len(assembly.dataset.info.class_names))
        metrics |= {"confusion": confusion.tolist(), "per_class": per_class_metrics(confusion)}
    if drawing is not None:
        try:
            _draw_test(assembly, folder, values, drawing)
            drawing.plot("plot_learning_rate", rows, str(folder.plots / "lr.png"))
            drawing.finish()
        except OSError as error:
            raise disk_error(Path(error.filename or folder.plots), None, error) from error
    return metrics


def _draw_test(
    assembly: Assembly, folder: RunFolder, values: dict[str, Tensor], drawing: Drawing
) -> None:
    """Draw what the test split has to show. Raises OSError."""
    if assembly.dataset.info.target == "classes" and "logits" in values:
        _draw_classes(assembly, folder, values, drawing)
    if isinstance(assembly.state.evaluated_task, GANTask):
        draw_gan(assembly, folder, values, drawing)


def _draw_classes(
    assembly: Assembly, folder: RunFolder, values: dict[str, Tensor], drawing: Drawing
) -> None:
    """Draw the confusion matrix and, of images, a grid of predictions."""
    names = assembly.dataset.info.class_names
    targets, predicted = values["targets"].cpu(), values["logits"].argmax(dim=1).cpu()
    confusion = confusion_matrix(predicted, targets, len(names))
    drawing.plot("plot_confusion", confusion.tolist(), names, str(folder.plots / "confusion.png"))
    if assembly.dataset.info.is_image:
        shown = _worth_showing(predicted == targets)
        grid = prediction_grid(
            assembly.dataset.test.inputs[shown],
            [names[i] for i in predicted[shown].tolist()],
            [names[i] for i in targets[shown].tolist()],
            (predicted == targets)[shown].tolist(),
        )
        save_image(grid, folder.plots / "predictions.png")


def _worth_showing(correct: Tensor) -> Tensor:
    """Indices (n,) of test examples for the grid: errors for up to half of it, then others.

    Both from all over the split, which may be sorted by its classes.
    """
    wrong = _spread(torch.nonzero(~correct).flatten(), NUM_PREDICTIONS // 2)
    right = _spread(torch.nonzero(correct).flatten(), NUM_PREDICTIONS - len(wrong))
    return torch.cat([wrong, right])


def _spread(indices: Tensor, most: int) -> Tensor:
    num = min(len(indices), most)
    return indices[torch.arange(num) * len(indices) // max(num, 1)]
