"""The end of a run: one look at the test split with the best weights, and the pictures."""

import csv
import io
from pathlib import Path
from typing import Any

import torch

from trainwright.data.batches import Batches
from trainwright.data.columns import Classes, Target, Values
from trainwright.data.dataset import Dataset
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.evaluate import evaluate
from trainwright.engine.state import TrainState
from trainwright.files import disk_error
from trainwright.report.plots.drawing import Drawing
from trainwright.run.assemble.assemble import Assembly
from trainwright.run.ranks.lead import share_weights
from trainwright.runs.folder import RunFolder
from trainwright.runs.metrics import read_rows
from trainwright.tasks.task import Ending
from trainwright.wording import harmless


def finish(assembly: Assembly, folder: RunFolder, drawing: Drawing | None) -> dict[str, Any]:
    """Score the test split with the best weights and draw what there is to see.

    `drawing`: None where no pictures are wanted.

    Returns the metrics for summary.json and what else the task has to say of the split. Raises
    CheckpointError if the best checkpoint is not whole, DiskError if a file can't be made.
    """
    rows = [] if drawing is None else read_rows(folder.path)
    if drawing is not None:  # it takes longest, and is drawn beside what follows
        drawing.plot("plot_curves", rows, str(folder.plots / "curves.png"))
    tensors, _ = checkpoint.load(folder.best)
    state, dataset = assembly.state, assembly.dataset
    checkpoint.restore_evaluated(state, tensors)
    share_weights(state, tensors)
    state.open()
    task = state.evaluated_task
    if task.judge is not None:
        from trainwright.run.judging.attach import final_judge

        task.be_judged_by(final_judge(task.judge, dataset, state.placement.device))
    found = {}
    for name, split in (("", dataset.test), *dataset.measured_with("test")):
        found[name] = evaluate(
            task,
            assembly.make_batches(split),
            batch_size=assembly.settings.evaluate_batch_size,
            placement=state.placement,
            seed=state.seed,
            world=state.world,
        )
    metrics: dict[str, Any] = {}
    for name, measured in found.items():
        prefix = f"{name}/" if name else ""
        metrics |= {f"{prefix}{key}": value for key, value in measured.compute().items()}
    if dataset.baselines:
        from trainwright.run.baselines import baselines

        if beside := baselines(dataset):
            metrics["baselines"] = beside
    ending = Ending(
        dataset=dataset,
        metric=found[""].main,
        metrics={name: value for name, value in metrics.items() if name != "baselines"},
        judge=assembly.judge,
        rows=rows,
        plots=folder.plots,
        drawing=drawing,
        seed=state.seed,
    )
    task.eval()
    try:
        with torch.no_grad(), state.placement.autocast():
            size = assembly.settings.evaluate_batch_size
            _write_fold(state, dataset, assembly.make_batches(dataset.test), size, folder)
            metrics |= task.finish(ending)
        if drawing is not None:
            drawing.plot("plot_learning_rate", rows, str(folder.plots / "lr.png"))
            drawing.finish()
    except OSError as error:
        raise disk_error(Path(error.filename or folder.plots), None, error) from error
    return metrics


def draw_so_far(folder: RunFolder, drawing: Drawing) -> None:
    """The curves of a run that has not come to its end. Raises OSError."""
    rows = read_rows(folder.path)
    if rows:
        drawing.plot("plot_curves", rows, str(folder.plots / "curves.png"))
        drawing.plot("plot_learning_rate", rows, str(folder.plots / "lr.png"))
    drawing.finish()


def _write_fold(
    state: TrainState, dataset: Dataset, batches: Batches, size: int, folder: RunFolder
) -> None:
    """Write fold.csv: the row of each test example, from 1, its target, and the answer.

    Nothing where it is no fold, or something else than one class or one value is predicted.
    `size`: examples in a batch. Raises OSError.
    """
    rows, column = dataset.test_rows, dataset.info.target_column
    predict = getattr(state.evaluated_task, "predict", None)
    is_value = isinstance(column, Values) and not column.names
    is_one = isinstance(column, Classes) or is_value
    if rows is None or predict is None or not is_one or len(dataset.info.targets) != 1:
        return
    assert isinstance(column, Target)
    (name,) = dataset.info.targets
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(harmless, ["row", "target", *column.csv_header()]))
    numbers = iter(rows.tolist())
    for batch in batches.in_order(size):
        for truth, answer in zip(batch[name].tolist(), predict(batch)[name], strict=True):
            cells = [_truth(column, truth), *column.csv_cells(answer)]
            writer.writerow(map(harmless, [next(numbers) + 1, *cells]))
    (folder.path / "fold.csv").write_text(text.getvalue())


def _truth(column: Target, value: Any) -> Any:
    return column.names[value] if isinstance(column, Classes) else value
