"""What a network costs and gives: its size, its time on one thread, its metric, its agreement."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainwright.data.columns import Classes, Labels
from trainwright.data.dataset import Dataset
from trainwright.data.examples import Batch, Split, evenly
from trainwright.inference.evaluate import Measured, with_intervals
from trainwright.inference.predict import targets_of
from trainwright.inference.trained import Trained
from trainwright.tasks.ports import Portable

BATCH = 256
REPEATS, SECONDS = 7, 0.1  # a time is the median of so many, each over so long
SIZES = (1, 64)

Inputs = dict[str, np.ndarray]  # a batch by the names of the ports
Answer = Callable[[Inputs], Tensor]  # to what `Task.outputs` is


@dataclass(frozen=True)
class Row:
    """A form of the network, on the test split of its own data."""

    form: str
    num_bytes: int
    ms: dict[int, float]  # an example, in batches of these sizes, on one thread
    metric: Measured
    agreement: float  # with the original


class Measure:
    """Measures forms of a run's network, the original first."""

    def __init__(self, trained: Trained, network: Portable, dataset: Dataset) -> None:
        self._trained, self._ports, self._split = trained, network.inputs, dataset.test
        self._original: Tensor | None = None
        (self._target,) = targets_of(trained).values()

    def inputs(self, split: Split, num: int | None = None) -> Iterator[tuple[Inputs, Batch]]:
        """So many examples from all over a split, as the network takes them and as stored."""
        total = len(split)
        num = total if num is None else min(num, total)
        for start in range(0, num, BATCH):
            places = evenly(start, min(start + BATCH, num), num, split)
            stored = {name: column.cpu() for name, column in split.take(places).items()}
            yield {p.name: stored[p.name].to(p.dtype).numpy() for p in self._ports}, stored

    def __call__(self, form: str, answer: Answer, num_bytes: int) -> Row:
        """What is found of a form."""
        task: Any = self._trained.task
        metric, said = task.metrics(), []
        columns = [n for n in self._trained.info.targets if n in task.columns]
        with torch.inference_mode():
            for given, stored in self.inputs(self._split):
                outputs = answer(given)
                batch = {
                    name: task.columns[name].preparation(torch.device("cpu"))(stored[name])
                    for name in columns
                }
                metric.update(batch, task.answers(outputs, batch))
                said.append(outputs)
            all_said = torch.cat(said)
            if self._original is None:
                self._original = all_said
            ms = {size: self._time(answer, size) for size in SIZES}
        found = with_intervals(metric, metric.compute(), seed=self._trained.plan.seed)
        agreement = self._agreement(all_said, self._original)
        return Row(form, num_bytes, ms, found[task.objective.metric], agreement)

    def _time(self, answer: Answer, size: int) -> float:
        """Milliseconds an example, of this process alone, whatever else the machine does."""
        given, _ = next(self.inputs(self._split, size))
        batch = {n: np.resize(values, (size, *values.shape[1:])) for n, values in given.items()}
        answer(batch)
        times = []
        for _ in range(REPEATS):
            num, began = 0, time.process_time()
            while (passed := time.process_time() - began) < SECONDS:
                answer(batch)
                num += 1
            times.append(passed / num)
        return float(np.median(times)) * 1000 / size

    def _agreement(self, said: Tensor, original: Tensor) -> float:
        """The share of the same classes or labels; of values the share of their variance kept."""
        if isinstance(self._target, Classes):
            return (said.argmax(1) == original.argmax(1)).double().mean().item()
        if isinstance(self._target, Labels):
            return ((said > 0) == (original > 0)).double().mean().item()
        spread = original.double().var(0, correction=0).mean()
        return 1 - ((said - original).double().square().mean() / spread.clamp(min=1e-30)).item()


def of_torch(network: Portable) -> Answer:
    """The run's own network, in float32."""
    names = [port.name for port in network.inputs]
    return lambda given: network(*(torch.from_numpy(given[name]) for name in names))


def of_onnx(path: Path) -> Answer:
    """A file, as onnxruntime computes it on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda given: torch.from_numpy(session.run(None, given)[0])
