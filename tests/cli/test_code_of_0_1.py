"""A module as the page of 0.1 had it: all but its task runs, and that says what to change."""

import pytest

IMPORTS = """\
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import SGD

from trainwright.data.batches import Batch, Normalisation
from trainwright.data.dataset import DataInfo, Dataset
from trainwright.data.splits import split_arrays
from trainwright.engine.clock import Clock, Duration
from trainwright.engine.schedule import Schedule
from trainwright.tasks.task import Objective, Task
"""
CODE = """

class Net(nn.Linear):
    def __init__(self, *, input_shape: tuple[int, ...], num_outputs: int):
        super().__init__(*input_shape, num_outputs)


def points(*, split_seed: int = 0) -> Dataset:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 2, generator=generator)
    classes = (inputs[:, 0] > 0).long()
    return split_arrays("points", inputs, classes, class_names=["l", "r"], split_seed=split_seed)


class Half(Schedule):
    def __init__(self, *, clock: Clock, warmup: Duration = 0):
        super().__init__(clock=clock, warmup=warmup)

    def shape(self, progress, step):
        return 1 - progress / 2


class Old(Task):
    objective = Objective("error", higher_is_better=False)

    def __init__(self, *, model: nn.Module, info: DataInfo):
        super().__init__()
        self.model = model
        self.normalisation = Normalisation.standard(info)

    @property
    def players(self):
        return {"model": self.model}

    def forward(self, player, batch, handed):
        loss = self.model(batch.inputs).square().mean()
        return loss, {"loss": loss.detach()}

    def evaluate(self, batch: Batch):
        return {"error": self.model(batch.inputs).square().mean(dim=1)}

    def score(self, values):
        return {"error": float(values["error"].mean())}
"""


@pytest.fixture
def project(empty):
    (empty / "old.py").write_text(IMPORTS + CODE)
    for group, target in {
        "model": "Net",
        "data": "points",
        "schedule": "Half",
        "task": "Old",
    }.items():
        (empty / "configs" / group).mkdir(parents=True)
        (empty / "configs" / group / "old.yaml").write_text(f"_target_: old.{target}\n")
    return empty


WORDS = ("model=old", "data=old", "schedule=old", "trainer=smoke", "trainer.plots=false")


def test_a_model_data_and_a_schedule_of_0_1_train(project, run_main):
    result = run_main(*WORDS)
    assert result.code == 0, result.err


def test_a_task_of_0_1_says_what_to_change(project, run_main):
    result = run_main(*WORDS, "task=old")
    assert result.code == 2
    assert "score(values), and not metrics()" in result.err
    assert "docs/from-0.1.md" in result.err


def test_what_has_moved_is_said_where_it_is_imported(project, run_main):
    (project / "old.py").write_text(
        "from trainwright.tasks.metrics import classification_metrics\n"
    )
    result = run_main(*WORDS)
    assert result.code == 2
    assert "cannot import name 'classification_metrics'" in result.err
    assert "docs/from-0.1.md" in result.err
