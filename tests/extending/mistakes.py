"""A user's mistakes: each class and function has one."""

import torch
from next_token import Bits, NextToken, Transformer, sentences
from torch import nn

from trainwright.data.columns import Tokens
from trainwright.data.dataset import Dataset
from trainwright.data.splits import make_dataset
from trainwright.engine.hook import Hook
from trainwright.tasks.task import Objective


class OtherColumn(NextToken):
    def losses(self, batch):
        return self.model(batch["txt"])


class NoMetric(NextToken):
    objective = Objective("bit", higher_is_better=False)


class NotANumber(NextToken):
    def metrics(self):
        return Vague()


class Vague(Bits):
    def of(self, values):
        return {"bits": None}


class LossAlone(NextToken):
    def forward(self, player, batch, carry):
        return super().forward(player, batch, carry)[0]


class LossOfEach(NextToken):
    def forward(self, player, batch, carry):
        loss = self.losses(batch).mean(dim=1)
        return loss, {"loss": loss.detach()}


class OtherColumns(NextToken):
    def __init__(self, *, model, info):
        super().__init__(model=model, info=info)
        self.columns = {"words": info.input}


class Unranked(NextToken):
    objective = "bits"


class Answer(NextToken):
    def evaluate(self, batch):
        return self.losses(batch)


class NoSuper(nn.Module):
    def __init__(self, *, vocab_size: int) -> None:
        self.layer = nn.Linear(vocab_size, vocab_size)


class NoSuperNorLayers(nn.Module):
    def __init__(self, *, vocab_size: int) -> None:
        self.width = vocab_size


class Typo(Transformer):
    def __init__(self, *, vocab_size: int) -> None:
        super().__init__(vocab_size=vocab_sizes)  # noqa: F821


class MakesUp(NextToken):
    def showcase(self):
        return None

    def generate(self, num):
        return None


class Impatient(Hook):
    def due(self, step, total):
        return step == 1

    def __call__(self, state):
        return None


class Careless(Hook):
    def due(self, step, total):
        return step == 1

    def __call__(self, state, metrics):
        return {"loss": metrics["lss"]}


class Wordy(Careless):
    def __call__(self, state, metrics):
        return {"mood": "good"}


class Listing(Careless):
    def __call__(self, state, metrics):
        return [1.0]


class Numbers(NextToken):
    def showcase(self):
        return torch.zeros(3)


def changed(name="text", inputs=("text",), **facts) -> Dataset:
    data = sentences()
    column = data.info.columns["text"]
    facts = {"length": column.length, "vocabulary": column.vocabulary, **facts}
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    return make_dataset("told", **splits, columns={name: Tokens(**facts)}, inputs=inputs)


def lost() -> Dataset:
    return {"train": 1}["test"]


def misnamed() -> Dataset:
    return changed(inputs=("txt",))


def unfounded() -> Dataset:
    return changed(name="txt", inputs=("txt",))


def too_long() -> Dataset:
    return changed(length=20)


def too_few() -> Dataset:
    return changed(vocabulary=("a", "b"))
