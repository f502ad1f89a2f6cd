"""Whatever the metrics do, `best` is the best of what was evaluated and `last` is the last."""

import math
import random
import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from trainwright.data.batches import Batches
from trainwright.data.columns import Numbers
from trainwright.data.splits import split_of
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.checkpoint.several import best_paths
from trainwright.engine.clock import Clock
from trainwright.engine.device.device import Placement
from trainwright.engine.optim.player_optimizer import PlayerOptimizer
from trainwright.engine.schedule import Constant
from trainwright.engine.state import TrainState
from trainwright.errors import DiskError
from trainwright.hooks.evaluate import Evaluate
from trainwright.hooks.save import Save
from trainwright.run.resume.recover import go_back_to, mend_best, newest_whole
from trainwright.runs.folder import RunFolder
from trainwright.tasks.metrics.metric import Metric
from trainwright.tasks.task import Objective, Task

CPU = Placement(torch.device("cpu"), "fp32", torch.contiguous_format, 1)
IDENTITY = {"inputs": Numbers((0.0,), (1.0,))}


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
        return self.net(batch["inputs"]).mean(), {}

    def evaluate(self, batch):
        return {}

    def metrics(self):
        return Said(self.values[self.step])


class Said(Metric):
    """A value, whatever is measured."""

    def __init__(self, value):
        self.value = value

    def update(self, batch, answers):
        pass

    def merge(self, other):
        raise NotImplementedError

    def compute(self):
        return {"value": self.value}


class Run:
    """A run of scripted evaluations in a folder."""

    def __init__(self, folder, values, higher_is_better, evaluate_every, save_every, keep=1):
        task = Scripted(values, higher_is_better)
        optimizer = torch.optim.SGD(task.net.parameters(), lr=0.1)
        clock = Clock(num_examples=4, batch_size=4, total_steps=len(values) - 1)
        optimizers = {"net": PlayerOptimizer(task.net, [optimizer], l1=0.0)}
        self.state = TrainState(task, optimizers, Constant(clock=clock), clock, CPU, seed=0)
        self.folder = folder
        self._cadences = {"every": save_every, "evaluate_every": evaluate_every, "keep": keep}
        split = split_of(torch.zeros(4, 1), None)
        batches = Batches(
            split, IDENTITY, batch_size=4, seed=0, device=CPU.device,
            memory_format=CPU.memory_format,
        )  # fmt: skip
        self.evaluate = Evaluate(batches, every=evaluate_every, batch_size=4)
        self.save = self._save(None)

    def _save(self, step_of_last):
        best = self.state.best
        return Save(
            self.folder,
            {"name": "run", "config": {}},
            [],
            **self._cadences,
            step_of_last=step_of_last,
            step_of_best=None if best is None else best.step,
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
        go_back_to(self.folder, found, keep=self._cadences["keep"])
        self.save = self._save(found.step)


def step_of(path):
    tensors, metadata = checkpoint.load(path)
    assert int(tensors["task.net.weight"]) == metadata["progress"]["step"]
    return metadata["progress"]["step"]


def expected_places(values, steps, higher_is_better):
    """The steps from the best to the worst, of equals the first before, without what is NaN."""
    sign = -1 if higher_is_better else 1
    return sorted((s for s in steps if not math.isnan(values[s])), key=lambda s: sign * values[s])


def expected_best(values, steps, higher_is_better):
    """The first of the best, by a plain scan; None where there is no number."""
    return next(iter(expected_places(values, steps, higher_is_better)), None)


def problem_with(rng, root):
    """Run one random sequence with random kills; say what is wrong with its checkpoints."""
    total = rng.randint(1, 10)
    choices = rng.choice([(0.0, 1.0), (0.0, 1.0, math.nan), tuple(rng.random() for _ in range(9))])
    values = [0.0, *rng.choices(choices, k=total)]
    higher, every = rng.random() < 0.5, rng.choice([1, 2, 3])
    folder = RunFolder.create(root, "run", exact=root / "run")
    keep = rng.choice([1, 2, 3])
    run = Run(folder, values, higher, every, rng.choice([0, 1, 2, 3]), keep)
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
        # (One that was killed has lost what came after its `last`, until it comes to that again.)
        kept = [step_of(path) for path in best_paths(folder).values()]
        if best is not None and now == furthest:
            wanted = expected_places(values, steps, higher)[:keep]
            if kept != wanted:
                return f"{kept} are kept, not {wanted} at {now}: {values}, {higher}"
        if len(kept) > keep or len(set(kept)) < len(kept):
            return f"{kept} are kept, at most {keep}"
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


def kept_at_the_end(root, values, keep, *, harm=None):
    """The steps of best, best-2, ... of a run that is resumed in its middle, after some harm."""
    folder = RunFolder.create(root, "run", exact=root / "run")
    run = Run(folder, values, True, 1, 1, keep)
    for step in range(1, len(values)):
        run.take_step()
        if harm is not None and step == len(values) // 2:
            harm(folder)
            run.resume()
    return [step_of(path) for path in best_paths(folder).values()]


def test_a_kill_between_two_renames_leaves_no_checkpoint_under_two_names(root):
    def half_renamed(folder):
        shutil.copyfile(folder.best, folder.best_of(2))

    assert kept_at_the_end(root, [0.0, 0.5, 0.9, 0.1, 0.2], 3, harm=half_renamed) == [2, 4, 3]


def test_a_damaged_second_best_is_dropped_and_the_third_takes_its_place(root):
    def damaged(folder):
        folder.best_of(2).write_bytes(b"nothing")

    values = [0.0, 0.5, 0.7, 0.9, 0.1, 0.2, 0.3]
    assert kept_at_the_end(root, values, 3, harm=damaged) == [3, 1, 6]


def test_a_folder_in_the_place_of_a_checkpoint_is_an_error_of_the_disk(root):
    def in_the_way(folder):
        folder.best_of(2).rename(folder.best_of(3))
        folder.best_of(2).mkdir()

    with pytest.raises(DiskError, match="best-3"):
        kept_at_the_end(root, [0.0, 0.5, 0.9, 0.1, 0.2], 3, harm=in_the_way)


def test_a_lower_keep_deletes_what_is_beyond_it_when_the_run_goes_on(root):
    folder = RunFolder.create(root, "run", exact=root / "run")
    run = Run(folder, [0.0, 0.3, 0.2, 0.1, 0.0], True, 1, 1, 4)
    for _ in range(4):
        run.take_step()
    assert [step_of(path) for path in best_paths(folder).values()] == [1, 2, 3, 4]
    run._cadences["keep"] = 2
    run.resume()
    assert [step_of(path) for path in best_paths(folder).values()] == [1, 2]


def test_a_full_disk_leaves_the_best_so_far_under_its_name(root, no_file_beyond):
    folder = RunFolder.create(root, "run", exact=root / "run")
    run = Run(folder, [0.0, 0.1, 0.2, 0.3], True, 1, 1, 2)
    run.take_step()
    run.take_step()
    with no_file_beyond(100), pytest.raises(DiskError):
        run.take_step()
    assert [step_of(path) for path in best_paths(folder).values()] == [2, 1]
