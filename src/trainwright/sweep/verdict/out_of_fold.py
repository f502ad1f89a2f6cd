"""What the runs on several folds say of examples that each had not seen: scores, and one CSV."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from trainwright.sweep.store import Store, write_whole
from trainwright.sweep.verdict.verdict import Setting, Verdict

FILE, FOLD = "out_of_fold.csv", "data.fold"


@dataclass(frozen=True)
class OutOfFold:
    """The test scores of one setting: over all examples, and of each fold with all its seeds."""

    metric: str  # accuracy or r2
    score: float
    num: int  # of examples
    of_folds: list[float]

    def line(self) -> str:
        """For a person."""
        folds, mean = self.of_folds, fmean(self.of_folds)
        spread = f" ± {stdev(folds):.2g}" if len(folds) > 1 else ""
        return (
            f"out of fold: {self.metric} {self.score:.4g} of {self.num:,} examples; "
            f"{mean:.4g}{spread} over {len(folds)} fold{'s' * (len(folds) != 1)} ({FILE})"
        )


def out_of_fold(verdict: Verdict, store: Store) -> OutOfFold | None:
    """Gather what the runs of the best setting have said, and write it beside sweep.csv.

    None where they were not on folds, or none has finished. Raises DiskError.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    pairs: dict[str, list[tuple[str, str]]] = {}  # of each fold, targets and answers
    rows, header = set(), None
    best = verdict.settings[0] if verdict.settings else Setting({})
    seeds = any("seed" in row.job.point for row in best.rows)
    for row in sorted(best.rows, key=lambda row: row.job.number):
        path = store.run_folder(row.state) / "fold.csv" if "folder" in row.state else None
        if FOLD not in row.job.point or path is None or not path.exists():
            continue
        with path.open(newline="") as file:
            names, *lines = csv.reader(file)
        if header is None:
            header = names
            writer.writerow(["fold", *(["seed"] if seeds else []), *names])
        fold, seed = row.job.point[FOLD], row.job.point.get("seed", "")
        for line in lines if names == header else ():
            writer.writerow([fold, *([seed] if seeds else []), *line])
            pairs.setdefault(fold, []).append((line[1], line[2]))
            rows.add(line[0])
    if header is None:
        return None
    write_whole(store.path / FILE, text.getvalue())
    is_class = header[2] == "class"
    score = _accuracy if is_class else _r2
    every = [pair for of_fold in pairs.values() for pair in of_fold]
    of_folds = [score(of_fold) for of_fold in pairs.values()]
    return OutOfFold("accuracy" if is_class else "r2", score(every), len(rows), of_folds)


def _accuracy(pairs: Sequence[tuple[str, str]]) -> float:
    return fmean(target == answer for target, answer in pairs)


def _r2(pairs: Sequence[tuple[str, str]]) -> float:
    """1 minus the squared error, as a share of that of the mean."""
    targets = [float(target) for target, _ in pairs]
    mean = fmean(targets)
    spread = sum((target - mean) ** 2 for target in targets)
    error = sum((float(target) - float(answer)) ** 2 for target, answer in pairs)
    return 1 - error / spread if spread else float("nan")
