"""What a network of one's own must be is said before anything is written."""

import sys

import pytest

from trainwright.errors import ConfigError

OWN = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, *, input_shape, num_outputs):
        super().__init__()
        self.layer = self.made(num_outputs)
        self.in_training = []

    def made(self, num_outputs):
        return nn.Linear(64, num_outputs)

    def forward(self, inputs):
        self.in_training.append(self.training)
        return self.layer(inputs.flatten(1))


class TooNarrow(Net):
    def made(self, num_outputs):
        return nn.Linear(63, num_outputs)


class OneMore(Net):
    def made(self, num_outputs):
        return nn.Linear(64, num_outputs + 1)


class Pair(Net):
    def forward(self, inputs):
        return super().forward(inputs), 0


class Listed(Net):
    def __init__(self, *, input_shape, num_outputs):
        super().__init__(input_shape=input_shape, num_outputs=num_outputs)
        self.layers = [self.layer]
        del self.layer

    def forward(self, inputs):
        return self.layers[0](inputs.flatten(1))


class Lazy(Net):
    def made(self, num_outputs):
        return nn.LazyLinear(num_outputs)
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The options that choose one of the networks above; run from a directory that has them."""
    (tmp_path / "own_nets.py").write_text(OWN)
    (tmp_path / "configs" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_nets", raising=False)

    def chosen(name):
        (tmp_path / "configs" / "model" / f"{name}.yaml").write_text(f"_target_: own_nets.{name}\n")
        return ("data=digits", f"model={name}", "trainer.steps=2")

    return chosen


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("TooNarrow", ["own_nets.TooNarrow fails with 2 examples of shape (1, 8, 8)",
                       "own_nets.py:17: return self.layer(inputs.flatten(1))",
                       "RuntimeError: mat1 and mat2 shapes", "--debug"]),
        ("OneMore", ["answers 2 examples with (2, 11)", "(2, 10): num_outputs is 10"]),
        ("Pair", ["answers 2 examples with a tuple", "(2, 10)"]),
        ("Listed", ["(own_nets.Listed) has no parameter that learns", "nn.ModuleList"]),
        ("Lazy", ["layer.weight of own_nets.Lazy has no size", "input_shape"]),
    ],
)  # fmt: skip
def test_what_is_wrong_with_it_is_said_in_a_few_lines(own, assembled, name, says):
    with pytest.raises(ConfigError) as error:
        assembled(*own(name))
    assert [each for each in says if each not in str(error.value)] == []
    assert len(str(error.value).splitlines()) <= 4


def test_it_is_tried_as_it_evaluates_and_then_trains(own, assembled):
    network = assembled(*own("Net")).state.task.model
    assert network.in_training == [False]
    assert network.training
