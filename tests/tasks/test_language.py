"""Language modelling: what is measured, and what is learned."""

import math

import pytest
import torch
from torch import nn

from trainwright.data.columns import PADDING, Tokens
from trainwright.data.dataset import DataInfo
from trainwright.tasks import language
from trainwright.tasks.language import Language

COLUMN = Tokens(length=5, vocabulary=("a", "b", "é"))
INFO = DataInfo("letters", {"text": COLUMN}, ("text",))
WINDOWS = torch.tensor([[0, 1, 2, 0, 1], [1, 2, 2, PADDING, PADDING]])


class Bigrams(nn.Module):
    """What comes next by the last token alone, from a table."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.tensor([[1.0, 2, 0], [0, 0, 3], [0.5, 0, 1]]))

    def forward(self, tokens):
        return self.table[tokens]


def measured(task, batch):
    metric = task.metrics()
    metric.update(batch, task.evaluate(batch))
    return metric.compute()


@pytest.mark.numeric
@pytest.mark.usefixtures("doubles")
@pytest.mark.parametrize("most", [2**24, 1])
def test_loss_perplexity_accuracy_and_bits_per_byte_are_those_by_hand(most, monkeypatch):
    monkeypatch.setattr(language, "MOST_LOGITS", most)
    task = Language(model=Bigrams(), info=INFO)
    shares = task.model.table.detach().softmax(dim=1)
    pairs = [(0, 1), (1, 2), (2, 0), (0, 1), (1, 2), (2, 2)]
    cost = -sum(math.log(float(shares[a, b])) for a, b in pairs)
    num_bytes = 1 + 2 + 1 + 1 + 2 + 2
    assert measured(task, {"text": WINDOWS}) == pytest.approx(
        {
            "loss": cost / 6,
            "perplexity": math.exp(cost / 6),
            "accuracy": 5 / 6,
            "bits_per_byte": cost / math.log(2) / num_bytes,
        }
    )


@pytest.mark.numeric
@pytest.mark.usefixtures("doubles")
def test_what_is_learned_is_the_mean_over_the_tokens_that_are_there():
    task = Language(model=Bigrams(), info=INFO)
    loss, seen = task("model", {"text": WINDOWS}, {})
    assert float(loss.detach()) == pytest.approx(measured(task, {"text": WINDOWS})["loss"])
    assert torch.equal(seen["loss"], loss.detach())
    task.z_loss = 0.5
    there = torch.tensor([0, 1, 2, 0, 1, 2])
    size = task.model.table.detach().exp().sum(dim=1).log().square()[there].mean()
    more, seen = task("model", {"text": WINDOWS}, {})
    assert float(more.detach()) == pytest.approx(float(loss.detach() + 0.5 * size))
    assert float(seen["z"]) == pytest.approx(float(size))


def test_the_same_prompts_and_seed_write_the_same():
    task = Language(model=Bigrams(), info=INFO, prompts=["ab", ""], sample_tokens=7)
    shown = task.showcase()
    assert shown == task.showcase()
    first, second = shown.text.split("\n\n----\n")
    assert (first[:2], len(first), len(second)) == ("ab", 9, 7)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"label_smoothing": 1.0}, "label_smoothing=1.0"),
        ({"z_loss": -1.0}, "z_loss=-1.0"),
        ({"prompts": ["abc"]}, "prompt 'abc': a letter is 'c', which is new"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings, why):
    with pytest.raises(ValueError, match=why):
        Language(model=Bigrams(), info=INFO, **settings)


def test_data_without_a_text_are_refused():
    rows = DataInfo.of_one_input("rows", (3,), "classes", ("a", "b"), (0.0,) * 3, (1.0,) * 3)
    with pytest.raises(ValueError, match="task=language needs a text, and rows has none"):
        Language(model=Bigrams(), info=rows)
