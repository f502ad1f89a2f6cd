"""What a trained task makes of each feature of a table: over the test split, value by value."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainwright.data.columns import Categories
from trainwright.data.dataset import Dataset
from trainwright.data.examples import Batch
from trainwright.inference.explain.asked import Asked, chosen
from trainwright.inference.explain.explain import inputs_of, spread
from trainwright.inference.explain.sanity import SHUFFLED, Sane, rank_correlation, shuffled
from trainwright.inference.explain.subjects import CHUNK, Features
from trainwright.inference.intervals import Interval
from trainwright.inference.trained import Trained
from trainwright.seeds import generator_for
from trainwright.tasks.metrics.metric import Metric
from trainwright.tasks.task import Task

TAILS = (0.025, 0.975)
POINTS = 11  # of a curve
NUM_AVERAGED = 500  # rows that a curve is the mean over


@dataclass(frozen=True)
class FeatureExplained:
    """How much a feature counts, with its 95 % interval, and what follows from its values.

    `said`: on average where all rows have a value, of the output that the feature moves most.
    """

    feature: str
    importance: float
    interval: Interval | None
    values: list[str]
    said: list[float]
    output: str


@dataclass(frozen=True)
class TableExplained:
    """The features of a table, what counts most first, and by which metric they were weighed."""

    metric: str
    value: float
    higher_is_better: bool
    num_rows: int
    features: list[FeatureExplained]
    sane: Sane


def explain_table(
    trained: Trained,
    asked: Asked,
    dataset: Dataset,
    *,
    most: int,
    output: str | None,
    repeats: int,
    resamples: int,
    seed: int,
) -> TableExplained:
    """Weigh the features on at most so many test rows. Raises ConfigError for `output`."""
    task = trained.task
    how: dict[str, Any] = {"seed": seed, "device": trained.placement.device}
    features = Features.of(inputs_of(trained))
    stored, some = spread(dataset.test, most), spread(dataset.test, min(most, NUM_AVERAGED))
    if output is not None:
        asked = chosen(asked, {}, output)
    plain, weights = permutation_importance(
        task, features, stored, repeats=repeats, resamples=resamples, **how
    )
    explained = []
    for place, (importance, interval) in enumerate(weights):
        values, said = partial_dependence(asked, features, some, place, how["device"])
        moved = int((said.max(0).values - said.min(0).values).argmax())
        moved = asked.place if output is not None else moved
        told = (values, said[:, moved].tolist(), asked.names[moved])
        explained.append(FeatureExplained(features.names[place], importance, interval, *told))
    mine = torch.tensor([importance for importance, _ in weights])
    found = []
    for i in range(SHUFFLED):
        other = shuffled(task, seed + i)
        _, others = permutation_importance(other, features, stored, repeats=1, resamples=0, **how)
        found.append(rank_correlation(mine, torch.tensor([importance for importance, _ in others])))
    explained.sort(key=lambda feature: -feature.importance)
    name, is_higher = task.objective
    num_rows = len(next(iter(stored.values())))
    return TableExplained(name, plain, is_higher, num_rows, explained, Sane(float(np.mean(found))))


@torch.no_grad()
def permutation_importance(
    task: Task,
    features: Features,
    stored: Batch,
    *,
    repeats: int,
    resamples: int,
    seed: int,
    device: torch.device,
) -> tuple[float, list[tuple[float, Interval | None]]]:
    """The objective, and by how much worse it is where a feature is shuffled among rows (N, ...).

    Breiman 2001, "Random forests"; Fisher et al. 2019, "All models are wrong, but many are useful".
    The mean over so many shuffles, and its interval by the bootstrap: each time other rows are
    drawn, and one of the shuffles. None where the metric keeps nothing of single rows.
    """
    generator = generator_for(seed, "permutation importance")
    num = len(next(iter(stored.values())))
    name, is_higher = task.objective
    sign = 1 if is_higher else -1
    drawn = [torch.randint(num, (num,), generator=generator) for _ in range(resamples)]
    plain = _measured(task, stored, device)
    value = plain.compute()[name]
    before = [plain.resampled(rows).get(name) for rows in drawn]
    found: list[tuple[float, Interval | None]] = []
    for feature in range(len(features.names)):
        shuffles = []
        for _ in range(repeats):
            order = torch.randperm(num, generator=generator)
            moved = {n: column[order] for n, column in stored.items()}
            changed = {**stored, **features.where(feature, moved, stored)}
            shuffles.append(_measured(task, changed, device))
        lost = [sign * (value - shuffle.compute()[name]) for shuffle in shuffles]
        spread_of = [
            sign * (then - shuffles[i % repeats].resampled(rows)[name])
            for i, (rows, then) in enumerate(zip(drawn, before, strict=True))
            if then is not None
        ]
        interval = None
        if spread_of:
            low, high = (np.quantile(spread_of, TAILS) + 0.0).tolist()  # and no -0
            interval = (low, high)
        found.append((float(np.mean(lost)) + 0.0, interval))
    return value, found


def _measured(task: Task, stored: Batch, device: torch.device) -> Metric:
    """The task's own metric of stored rows, with their targets."""
    metric = task.metrics()
    prepare = {name: column.preparation(device) for name, column in task.columns.items()}
    for start in range(0, len(next(iter(stored.values()))), CHUNK):
        rows = slice(start, start + CHUNK)
        batch = {n: make(stored[n][rows].to(device)) for n, make in prepare.items()}
        metric.update(batch, task.evaluate(batch))
    return metric


@torch.no_grad()
def partial_dependence(
    asked: Asked, features: Features, stored: Batch, feature: int, device: torch.device
) -> tuple[list[str], Tensor]:
    """Some values of a feature, as text, and what is said where all rows have each, (V, outputs).

    The mean over the stored rows (N, ...) of what `predict` says (Friedman 2001, "Greedy function
    approximation"). Of numbers those that part the rows in ten, of categories all that there are.
    """
    name, place = features.place(feature)
    column = stored[name].flatten(1)[:, place]
    known = column[~column.isnan()] if column.is_floating_point() else column
    values = torch.unique(known)
    if not isinstance(features.columns[name], Categories) and len(values) > POINTS:
        ranks = torch.arange(POINTS) * (len(known) - 1) // (POINTS - 1)
        values = torch.unique(known.sort().values[ranks])
    rows = [(column == value).nonzero()[0] for value in values] or [torch.tensor([0])]
    texts, said = [], []
    for row in rows:
        one = {n: c[row].expand_as(c) for n, c in stored.items()}
        changed = features.where(feature, one, stored)
        answers = [
            asked.task.predict(
                features.prepared({n: c[i : i + CHUNK] for n, c in changed.items()}, device)
            )  # type: ignore[operator]
            for i in range(0, len(column), CHUNK)
        ]
        answer = torch.cat([next(iter(a.values())) for a in answers]).double()
        said.append(answer.reshape(len(answer), -1).mean(0).cpu())
        texts.append(features.text(feature, {n: c[0] for n, c in one.items()}))
    return texts, torch.stack(said)
