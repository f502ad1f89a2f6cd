"""Masked language modelling: the hidden tokens of a text from those around them."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.data.columns import PADDING, Tokens
from trainwright.data.dataset import DataInfo
from trainwright.data.examples import Batch
from trainwright.nn.gpt.text_encoder import TextEncoder
from trainwright.tasks.metrics.language import LanguageMetrics
from trainwright.tasks.metrics.metric import Answers
from trainwright.tasks.task import Carry, Objective, Task


class MaskedLanguage(Task):
    """Learns to say which tokens were hidden, a `share` of them (Devlin et al. 2019).

    Of those that are to be said 8 in 10 are hidden, 1 is another token, and 1 is left as it is,
    since texts that are read later have nothing hidden. The same tokens are hidden whenever a split
    is measured.
    """

    objective: Objective = Objective("loss", higher_is_better=False)

    def __init__(self, *, model: nn.Module, info: DataInfo, share: float = 0.15) -> None:
        super().__init__()
        column = info.input
        if not isinstance(column, Tokens) or len(info.inputs) > 1 or info.targets:
            raise ValueError(
                f"task=masked_language needs a text and nothing else, and {info.name} is none; "
                "use data=text"
            )
        if not isinstance(model, TextEncoder):
            raise ValueError("task=masked_language needs model=text_encoder")
        if not 0 < share < 1:
            raise ValueError(f"share={share} is not between 0 and 1")
        self.model, self.share, self.column = model, share, column
        (self.name,) = info.inputs
        self.columns = {self.name: column}

    @property
    def players(self) -> Mapping[str, nn.Module]:
        """The one network."""
        return {"model": self.model}

    def pattern(self, step: int) -> str:
        """All steps are alike."""
        return "masked"

    def forward(self, player: str, batch: Batch, carry: Carry) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean cross-entropy of the tokens that are to be said."""
        cost, is_asked, _ = self._asked(batch[self.name])
        loss = cost.sum() / is_asked.sum().clamp(min=1)
        return loss, {"loss": loss.detach()}

    def weight_of(self, batch: Batch) -> Tensor:
        """How many tokens are to be said: as many a text, unless that is shorter."""
        tokens = batch[self.name]
        return (tokens != PADDING).sum(dim=1).clamp(max=self._num_asked(tokens)).sum()

    def _num_asked(self, tokens: Tensor) -> int:
        return max(1, round(self.share * tokens.shape[1]))

    def evaluate(self, batch: Batch) -> Answers:
        """Of each window what the tokens that are to be said cost, and how many are right; (B,)."""
        cost, is_asked, is_right = self._asked(batch[self.name])
        return {
            "cost": cost.sum(dim=1, dtype=torch.float64),
            "right": (is_right & is_asked).sum(dim=1),
            "tokens": is_asked.sum(dim=1),
        }

    def _asked(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What each token (B, T) costs, 0 where it is not asked for; whether it is, and is right.

        Only these become logits: their number is known, so that all steps have the same shapes.
        """
        num = self._num_asked(tokens)
        draws = torch.rand(tokens.shape, device=tokens.device)
        draws = draws.masked_fill(tokens == PADDING, 2.0)
        asked = draws.topk(num, dim=1, largest=False).indices  # (B, n), those of the least draws
        kind = torch.rand(asked.shape, device=tokens.device)
        truth = tokens.gather(1, asked)
        other = torch.randint_like(truth, self.column.num_options)
        shown = torch.where((kind >= 0.8) & (kind < 0.9), other, truth)
        is_there = truth != PADDING
        shown = tokens.scatter(1, asked, torch.where(is_there, shown, truth))
        is_hidden = torch.zeros_like(tokens, dtype=torch.bool).scatter(1, asked, kind < 0.8)
        assert isinstance(self.model, TextEncoder)
        features = self.model.features(shown, is_hidden)  # (B, T, W)
        places = asked.unsqueeze(-1).expand(-1, -1, features.shape[-1])
        logits = self.model.token_logits(features.gather(1, places)).float()  # (B, n, V)
        cost = functional.cross_entropy(
            logits.flatten(0, 1), truth.flatten(), ignore_index=PADDING, reduction="none"
        )
        return cost.view(truth.shape), is_there, logits.argmax(dim=-1) == truth

    def metrics(self) -> LanguageMetrics:
        """Loss, perplexity and accuracy of the hidden tokens."""
        return LanguageMetrics()
