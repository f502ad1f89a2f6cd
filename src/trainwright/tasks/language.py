"""Language modelling: each token of a window from those before it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.data.columns import PADDING, Tokens
from trainwright.data.dataset import DataInfo
from trainwright.data.examples import Batch
from trainwright.tasks.metrics.language import LanguageMetrics
from trainwright.tasks.metrics.metric import Answers
from trainwright.tasks.ports import Port, Predictor
from trainwright.tasks.show import Text
from trainwright.tasks.task import Carry, Objective
from trainwright.tasks.writing.writer import Writer

MOST_LOGITS = 2**24  # that an evaluation computes at a time


class Language(Writer):
    """Learns what comes next, by cross-entropy, and writes.

    The network maps tokens (B, T) to logits (B, T, vocabulary); it may see T - 1 tokens of a window
    of T, whose last is only predicted. `z_loss` keeps the logits' normaliser near 1 (Chowdhery et
    al. 2022, arXiv:2204.02311). `prompts` are what samples along the way begin with.
    """

    objective: Objective = Objective("loss", higher_is_better=False)

    def __init__(
        self,
        *,
        model: nn.Module,
        info: DataInfo,
        label_smoothing: float = 0.0,
        z_loss: float = 0.0,
        prompts: Sequence[str] = ("",),
        sample_tokens: int = 200,
    ) -> None:
        super().__init__()
        column = info.input
        if not isinstance(column, Tokens) or len(info.inputs) > 1:
            raise ValueError(
                f"task=language needs a text, and {info.name} has none; use data=shakespeare, or "
                "data=text"
            )
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing={label_smoothing} is not in 0 <= value < 1")
        if z_loss < 0:
            raise ValueError(f"z_loss={z_loss} is below 0")
        if sample_tokens < 1:
            raise ValueError(f"sample_tokens={sample_tokens} is below 1")
        if column.is_apart and "documents" not in signature(model.forward).parameters:
            raise ValueError(
                f"data.packing=within: {type(model).__name__} cannot keep documents apart; its "
                "forward takes no documents=..."
            )
        self.model = model
        self.column: Tokens = column
        (self.name,) = info.inputs
        self.columns = {self.name: column}
        self.label_smoothing, self.z_loss = label_smoothing, z_loss
        self.prompts, self.sample_tokens = tuple(prompts), sample_tokens
        for prompt in self.prompts:
            self.tokens_of(prompt)
        self.register_buffer("num_bytes", column.num_bytes, persistent=False)

    @property
    def players(self) -> Mapping[str, nn.Module]:
        """The one network."""
        return {"model": self.model}

    @property
    def training_flops(self) -> float | None:
        """Of all tokens of a window, where the network says what one takes."""
        per_token = getattr(self.model, "flops_per_token", None)
        return None if per_token is None else per_token() * (self.column.length - 1)

    def pattern(self, step: int) -> str:
        """All steps are alike."""
        return "language"

    def forward(self, player: str, batch: Batch, carry: Carry) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean over all tokens that are predicted."""
        window = batch[self.name]  # (B, T + 1)
        logits, targets = self.logits(window).flatten(0, 1).float(), window[:, 1:].flatten()
        num = self.weight_of(batch).clamp(min=1)
        cost = functional.cross_entropy(
            logits,
            targets,
            ignore_index=PADDING,
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )
        cost = cost / num
        if not self.z_loss:
            return cost, {"loss": cost.detach()}
        size = logits.logsumexp(dim=-1).square().masked_fill(targets == PADDING, 0).sum() / num
        loss = cost + self.z_loss * size
        return loss, {"loss": loss.detach(), "z": size.detach()}

    def weight_of(self, batch: Batch) -> Tensor:
        """How many tokens are predicted."""
        return (batch[self.name][:, 1:] != PADDING).sum()

    def logits(self, window: Tensor) -> Tensor:
        """Of what comes after each token of windows (B, T + 1) but their last, (B, T, V)."""
        tokens = window[:, :-1].clamp(min=0)
        end, documents = self.column.end, {}
        if self.column.is_apart and end is not None:
            documents["documents"] = tokens.eq(end).cumsum(dim=1)
        logits: Tensor = self.model(tokens, **documents)
        return logits

    def evaluate(self, batch: Batch) -> Answers:
        """Of each window what its tokens cost in nats, and how many they, the right ones and their
        bytes are; each (B,).
        """
        window = batch[self.name]
        targets = window[:, 1:]
        is_there = targets != PADDING
        rows = max(1, MOST_LOGITS // (targets.shape[1] * self.column.num_options))
        cost, right = [], []
        for start in range(0, len(window), rows):
            part = window[start : start + rows]
            logits, truth = self.logits(part).float(), part[:, 1:]
            cost.append(self._cost(logits, truth).sum(dim=1, dtype=torch.float64))
            right.append((logits.argmax(dim=-1) == truth).sum(dim=1))
        size = self.get_buffer("num_bytes")[targets.clamp(min=0)] * is_there
        return {
            "cost": torch.cat(cost),
            "right": torch.cat(right),
            "tokens": is_there.sum(dim=1),
            "bytes": size.sum(dim=1),
        }

    def _cost(self, logits: Tensor, truth: Tensor) -> Tensor:
        """What each token costs in nats, (B, T); nothing where there is none."""
        cost = functional.cross_entropy(
            logits.flatten(0, 1), truth.flatten(), ignore_index=PADDING, reduction="none"
        )
        return cost.view(truth.shape)

    def metrics(self) -> LanguageMetrics:
        """Loss, perplexity, accuracy, bits per byte."""
        return LanguageMetrics()

    def portable(self) -> Predictor:
        """Tokens in, logits of what comes after each out, for windows of the learned length."""
        length = self.column.length - 1
        meaning = "of what comes after each token; softmax of it: probabilities"
        output = Port("logits", (length, self.column.num_options), torch.float32, meaning)
        return Predictor(
            self.model,
            {self.name: replace(self.column, length=length)},
            output,
            does="language model",
            answer=lambda batch: self.model(batch[self.name]).float(),
            facts={},
        )

    def showcase(self) -> Text:
        """A continuation of each prompt, always from the same draws."""
        texts = [self.continuation(prompt, self.sample_tokens) for prompt in self.prompts]
        return Text("\n\n----\n".join(text.strip("\n") for text in texts))
