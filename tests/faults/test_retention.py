"""Whatever the metrics do, `best` is the best of what was evaluated and `last` is the last."""

import math
import random
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from trainwright.data.batches import Batches, Normalisation
from trainwright.data.dataset import Split
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.clock import Clock
from trainwright.engine.device.device import Placement
from trainwright.engine.optim.player_optimizer import PlayerOptimizer
from trainwright.engine.schedule import Constant
from trainwright.engine.state import TrainState
from trainwright.hooks.evaluate import Evaluate
from trainwright.hooks.save import Save
from trainwright.run.resume.recover import go_back_to, mend_best, newest_whole
from trainwright.runs.folder import RunFolder
from trainwright.tasks.task import Objective, Task

CPU = Placement(torch.device("cpu"), "fp32", torch.contiguous_format, 1)
IDENTITY = Normalisation(scale=(1.0,), shift=(0.0,))


class Scripted(Task):
    """A task whose evaluations are written down beforehand; its one weight is the step."""

    def __init__(self, values, higher_is_better):
        super().__init__()
        self.normalisation = IDENTITY
        self.objective = Objective("value", higher_is_better)
        self.net = nn.Linear(1, 1, bias=False)
        self.values = values

    @property
    def players(self):
        return {"net": self.net}

    @property
    def step(self):
        return int(self.net.weight)

    def forward(self, player, batch, handed):
        return self.net(batch.inputs).mean(), {}

    def evaluate(self, batch):
        return {"inputs": batch.inputs}

    def score(self, values):
        return {"value": self.values[self.step]}


class Run:
    """A run of scripted evaluations in a folder."""

    def __init__(self, folder, values, higher_is_better, evaluate_every, save_every):
        task = Scripted(values, higher_is_better)
        optimizer = torch.optim.SGD(task.net.parameters(), lr=0.1)
        clock = Clock(num_examples=4, batch_size=4, total_steps=len(values) - 1)
        optimizers = {"net": PlayerOptimizer(task.net, [optimizer], l1=0.0)}
        self.state = TrainState(task, optimizers, Constant(clock=clock), clock, CPU, seed=0)
        self.folder = folder
        self._cadences = {"every": save_every, "evaluate_every": evaluate_every}
        split = Split(torch.zeros(4, 1), None)
        batches = Batches(
            split, IDENTITY, batch_size=4, seed=0, device=CPU.device,
            memory_format=CPU.memory_format,
        )  # fmt: skip
        self.evaluate = Evaluate(batches, every=evaluate_every, batch_size=4)
        self.save = self._save(None)

    def _save(self, step_of_last):
        return Save(
            self.folder,
            {"name": "run", "config": {}},
            [],
            **self._cadences,
            step_of_last=step_of_last,
        )

    def take_step(self):
        self.state.step += 1
        with torch.no_grad():
            self.state.task.net.weight.fill_(self.state.step)
        for hook in (self.evaluate, self.save):
            if hook.due(self.state.step, self.state.clock.total_steps):
                hook(self.state, {})

    def resume(self):
        """As after a kill: from what is on disk."""
        found = newest_whole(self.folder)
        checkpoint.restore(self.state, found.tensors, found.metadata["progress"])
        mend_best(self.folder, self.state, found, is_same_run=True)
        go_back_to(self.folder, found)
        self.save = self._save(found.step)


def step_of(path):
    tensors, metadata = checkpoint.load(path)
    assert int(tensors["task.net.weight"]) == metadata["progress"]["step"]
    return metadata["progress"]["step"]


def expected_best(values, steps, higher_is_better):
    """The first of the best, by a plain scan; None where there is no number."""
    numbers = [(values[s], -s) for s in steps if not math.isnan(values[s])]
    if not numbers:
        return None
    sign = 1 if higher_is_better else -1
    return -max(numbers, key=lambda pair: (sign * pair[0], pair[1]))[1]


def problem_with(rng, root):
    """Run one random sequence with random kills; say what is wrong with its checkpoints."""
    total = rng.randint(1, 10)
    choices = rng.choice([(0.0, 1.0), (0.0, 1.0, math.nan), tuple(rng.random() for _ in range(9))])
    values = [0.0, *rng.choices(choices, k=total)]
    higher, every = rng.random() < 0.5, rng.choice([1, 2, 3])
    folder = RunFolder.create(root, "run", exact=root / "run")
    run = Run(folder, values, higher, every, rng.choice([0, 1, 2, 3]))
    num_kills = rng.choice([0, 0, 1, 2, 3])
    furthest = 0
    while run.state.step < total:
        run.take_step()
        now = run.state.step
        steps = [s for s in range(1, now + 1) if s % every == 0 or s == total]
        furthest = max(furthest, now)
        best = expected_best(values, steps, higher)
        # A run that was killed when it had found a better one than its `last` knows comes to that
        # again; until then the file is ahead.
        ahead = expected_best(values, [s for s in range(1, furthest + 1) if s % every == 0], higher)
        allowed = [best, ahead] if ahead is not None and ahead > now else [best]
        if best is not None and step_of(folder.best) not in allowed:
            return f"best is of step {step_of(folder.best)}, not {allowed}: {values}, {higher}"
        if num_kills and folder.last.exists() and rng.random() < 0.4:
            num_kills -= 1
            run.resume()
            if run.state.step < now and step_of(folder.last) != run.state.step:
                return "last is not where the run goes on"
    if steps and not folder.best.exists():
        return "there is no best"
    return None


@pytest.fixture
def root(tmp_path):
    """Memory where there is some: thousands of runs flush every file they write."""
    memory = Path("/dev/shm")
    if not memory.is_dir():
        yield tmp_path
        return
    folder = memory / f"retention-{random.random()}"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)


def problems(num_sequences, root):
    found = []
    for number in range(num_sequences):
        place = root / str(number)
        place.mkdir()
        problem = problem_with(random.Random(number), place)
        shutil.rmtree(place)
        if problem is not None:
            found.append(f"{number}: {problem}")
    return found


@pytest.mark.parametrize("num_sequences", [100, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.timeout(7200)
def test_best_is_the_best_after_every_step_of_random_runs_with_kills(num_sequences, root):
    assert problems(num_sequences, root) == []


def test_control_where_a_tie_counts_as_better_it_is_noticed(root, monkeypatch):
    def better_or_equal(self, value, than):
        return than is None or (value >= than if self.higher_is_better else value <= than)

    monkeypatch.setattr(Objective, "is_better", better_or_equal)
    assert problems(100, root) != []
