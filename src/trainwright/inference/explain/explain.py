"""Examples explained: by which methods, and whether these are to be believed."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trainwright.data.columns import Column, Image, Series, Tokens
from trainwright.data.dataset import Dataset
from trainwright.data.examples import Batch, Split, evenly
from trainwright.errors import ConfigError
from trainwright.inference.explain import attribution, shapley
from trainwright.inference.explain.asked import Asked, asked_of, chosen
from trainwright.inference.explain.sanity import (
    SHUFFLED,
    Sane,
    deletion,
    orders_of,
    rank_correlation,
    shuffled,
)
from trainwright.inference.explain.subjects import Features, Picture, Row, Subject, Words
from trainwright.inference.trained import Trained
from trainwright.report.explanation import overlay
from trainwright.tasks.task import can

NUM_OTHERS = 128  # training rows whose values stand for a feature that is gone
BASES = {"mean": None, "black": 0.0, "white": 1.0}

Values = Tensor | tuple[Tensor, Tensor]  # (P,), perhaps with standard errors
Method = Callable[[Any, Asked], Values]


@dataclass(frozen=True)
class Found:
    """What a method says of one example, and how it did."""

    values: Tensor  # (P,): what each part adds to the score
    error: Tensor | None  # (P,): standard errors, where values are sampled
    correlation: float  # with those of networks with shuffled weights
    curve: Tensor  # (D + 1,): what is left of the answer while parts go
    at_random: Tensor  # the same in random orders, their mean

    def plain(self, shape: tuple[int, ...]) -> dict[str, Any]:
        """As plain JSON types, the values as the parts of the example lie."""
        errors = {} if self.error is None else {"standard_errors": self.error.tolist()}
        return {
            "values": self.values.view(shape).tolist(),
            **errors,
            "shuffled_weights": self.correlation,
            "deletion": self.curve.tolist(),
            "at_random": self.at_random.tolist(),
        }


@dataclass(frozen=True)
class Explained:
    """One example: what is said of it, the score of that and of nothing, and why."""

    subject: Subject
    asked: Asked
    answer: Tensor  # as `predict` says it
    score: float
    base: float
    found: Mapping[str, Found]

    def over(self) -> np.ndarray | None:
        """An image with what the first method found over it, (H, W, 3) uint8; None of others."""
        first = next(iter(self.found.values())).values
        if not isinstance(self.subject, Picture):
            return None
        return overlay(self.subject.seen(), first.view(self.subject.shape).numpy())

    def plain(self) -> dict[str, Any]:
        """All that is known, as plain JSON types."""
        parts = {"features": self.subject.names(), "parts": self.subject.parts()}
        return {
            "answer": self.asked.target.told(self.answer, 3),
            "explained": self.asked.name,
            "score": self.score,
            "score_of_nothing": self.base,
            **{name: told for name, told in parts.items() if told},
            "methods": {name: f.plain(self.subject.shape) for name, f in self.found.items()},
        }


class Explainer:
    """Explains examples of one run, of one view of an image, with copies of its network.

    `others`: rows that stand for what is gone; none for images and texts. `base`: the colour of
    pixels that are gone; `samples`: orders of a row's features; `captum`: names of its methods,
    for images; `pause`: see Asked.
    """

    def __init__(
        self,
        trained: Trained,
        others: Batch | None = None,
        *,
        base: str = "mean",
        samples: int = 512,
        seed: int = 0,
        captum: Sequence[str] = (),
        pause: Callable[[], None] = lambda: None,
    ) -> None:
        asked = asked_of(trained)
        self.methods = methods_of(trained, samples=samples, seed=seed)
        if captum:
            from trainwright.inference.explain.further import captums

            self.methods |= {f"captum's {name}": captums(name, seed=seed) for name in captum}
        self.asked = replace(asked, task=copy.deepcopy(asked.task), pause=pause)
        if can(asked.task, "take_views"):
            self.asked.task.take_views("none")  # type: ignore[operator]
        self._seed, self._device, self._base = seed, trained.placement.device, BASES[base]
        self._shuffled = [shuffled(self.asked.task, seed + i) for i in range(SHUFFLED)]
        self._others = others or {}
        self.features = Features.of(inputs_of(trained))

    def explain(
        self, stored: Batch, output: str | None = None, methods: Sequence[str] | None = None
    ) -> Explained:
        """One example, each column as it is stored (...), by these methods, or by all that are.

        Raises ConfigError for an `output` that there is not.
        """
        subject = self._subject(stored)
        kept = torch.ones(1, subject.num_parts, dtype=torch.bool)
        batch = {name: column[:1] for name, column in subject.without(kept).items()}
        asked = chosen(self.asked, batch, output)
        with torch.no_grad():
            (answer,) = asked.task.predict(batch).values()  # type: ignore[operator]
        score, base = (float(subject.scores(asked, some)) for some in (kept, ~kept))
        names = self.methods if methods is None else methods
        found = {name: self._found(subject, asked, self.methods[name]) for name in names}
        return Explained(subject, asked, answer[0].float().cpu(), score, base, found)

    def _subject(self, stored: Batch) -> Subject:
        (name, column), *others = self.features.columns.items()
        batch = {name: stored[name][None]}
        if isinstance(column, Image) and not others:
            colours = [mean if self._base is None else self._base for mean in column.mean]
            plain = 255 * torch.tensor(colours).view(-1, 1, 1).expand(1, *column.shape)
            batch = {name: torch.cat([batch[name].float(), plain])}
            seen = self.features.prepared(batch, self._device)[name]
            return Picture(name, seen[:1], seen[1:, :, :1, :1], stored[name])
        if isinstance(column, Tokens) and not others:
            return Words(name, self.features.prepared(batch, self._device)[name], column)
        return Row(self.features, stored, self._others, self._device)

    def _found(self, subject: Subject, asked: Asked, method: Method) -> Found:
        values, error = _apart(method(subject, asked))
        others = [_apart(method(subject, asked.of(task)))[0] for task in self._shuffled]
        correlation = np.mean([rank_correlation(values, other) for other in others])
        curves = deletion(subject, asked, orders_of(values, asked, self._seed))
        return Found(values, error, float(correlation), curves[0], curves[1:].mean(0))


def _apart(found: Values) -> tuple[Tensor, Tensor | None]:
    return found if isinstance(found, tuple) else (found, None)


def methods_of(trained: Trained, *, samples: int = 512, seed: int = 0) -> dict[str, Method]:
    """How its kind of input is explained, by name. Raises ConfigError for one that is not."""
    asked_of(trained)
    inputs_of(trained)
    if is_table(trained):
        return {"Shapley values": partial(shapley.shared, samples=samples, seed=seed)}
    if isinstance(trained.info.input, Tokens):
        return {
            "integrated gradients": attribution.of_tokens,
            "leaving it out": attribution.of_absence,
        }
    methods: dict[str, Method] = {
        "integrated gradients": attribution.of_pixels,
        "occlusion": attribution.of_windows,
    }
    has_maps = attribution.last_convolution(trained.task) is not None
    return {**methods, **({"Grad-CAM": attribution.of_maps} if has_maps else {})}


def sanity(explained: Sequence[Explained]) -> dict[str, Sane]:
    """What was found of each method over some examples."""
    every = {name: [one.found[name] for one in explained] for name in explained[0].found}
    return {
        name: Sane(
            *(float(np.mean(numbers)) for numbers in zip(*map(_numbers, found), strict=True))
        )
        for name, found in every.items()
    }


def _numbers(found: Found) -> tuple[float, float, float]:
    return found.correlation, float(found.curve.mean()), float(found.at_random.mean())


def inputs_of(trained: Trained) -> dict[str, Column]:
    """The columns that are explained. Raises ConfigError for a kind that has no parts to see."""
    if len(trained.info.inputs) == 1 and isinstance(trained.info.input, Series):
        raise ConfigError(
            "this run has learned time series, which nothing here explains\n"
            "  what can be explained are images, texts and the rows of tables"
        )
    return {name: trained.info.columns[name] for name in trained.info.inputs}


def is_table(trained: Trained) -> bool:
    """Whether its examples are rows of features, and no single image or text."""
    return len(trained.info.inputs) > 1 or not isinstance(trained.info.input, Image | Tokens)


def others_of(dataset: Dataset) -> Batch:
    """Training rows whose values stand for a feature that is gone."""
    return spread(dataset.train, NUM_OTHERS)


def spread(split: Split, num: int) -> Batch:
    """So many examples from all over a split, as stored on the CPU; fewer where there are fewer."""
    num = min(num, len(split))
    taken = split.take(evenly(0, num, num, split))
    return {name: column.cpu() for name, column in taken.items()}
