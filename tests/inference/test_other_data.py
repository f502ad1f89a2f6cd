"""Other data for a trained run: their numbers mean what they meant in training."""

import pytest
import torch

from trainwright.data.columns import (
    Categories,
    Classes,
    Labels,
    Numbers,
    Target,
    Tokens,
    Values,
)
from trainwright.data.examples import Arrays
from trainwright.data.splits import make_dataset
from trainwright.inference.other_data import as_learned

NUMBERS = torch.arange(12.0).view(4, 3)
TRUE = torch.tensor([[1, 0, 0], [0, 1, 1], [1, 1, 0], [0, 0, 1]])
COLOURS = torch.tensor([[0, 2], [1, 1], [0, 0], [1, 2]])


@pytest.mark.parametrize(
    ("learned", "other", "expected"),
    [
        ((Classes(("a", "b", "c")), [0, 1, 2, 0]),
         (Classes(("c", "a")), [0, 1, 0, 1]), [2, 0, 2, 0]),
        ((Labels(("a", "b", "c")), TRUE), (Labels(("c", "a", "b")), TRUE), TRUE[:, [1, 2, 0]]),
        ((Labels(("a", "b", "c")), TRUE), (Labels(("c", "a")), TRUE[:, :2]),
         torch.stack((TRUE[:, 1], 0 * TRUE[:, 0], TRUE[:, 0]), 1)),
        ((Values((0,) * 3, (1,) * 3, ("a", "b", "c")), NUMBERS),
         (Values((0,) * 3, (1,) * 3, ("c", "a", "b")), NUMBERS), NUMBERS[:, [1, 2, 0]]),
        ((Tokens(3, ("a", "b", "c")), TRUE), (Tokens(3, ("c", "a")), TRUE), 2 - 2 * TRUE),
        ((Categories(("x", "y"), (("r", "g"), ("s", "m", "l"))), COLOURS),
         (Categories(("y", "x"), (("l", "m", "s"), ("g", "r"))), COLOURS.flip(1)),
         torch.stack((1 - COLOURS[:, 0], 2 - COLOURS[:, 1]), 1)),
    ],
    ids=["classes", "labels", "fewer labels", "values", "tokens", "categories"],
)  # fmt: skip
def test_what_other_data_number_otherwise_is_renumbered_by_name(learned, other, expected):
    """Of inputs and of targets: a number means what it meant in training."""
    datasets = []
    for column, stored in (learned, other):
        splits = [Arrays({"inputs": NUMBERS, "it": torch.as_tensor(stored)}) for _ in range(3)]
        is_target = isinstance(column, Target)
        datasets.append(
            make_dataset(
                "x", train=splits[0], validation=splits[1], test=splits[2],
                columns={"inputs": Numbers(), "it": column},
                inputs=("inputs",) if is_target else ("inputs", "it"),
                targets=("it",) if is_target else (),
            )
        )  # fmt: skip
    taken = as_learned(datasets[1], datasets[0].info).test.take(torch.arange(4))
    assert torch.equal(taken["it"], torch.as_tensor(expected))
