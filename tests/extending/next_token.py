"""A user's module: windows of a stream of letters, a small transformer, and what comes next."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainwright.data.columns import Tokens
from trainwright.data.dataset import DataInfo, Dataset
from trainwright.data.examples import Windows
from trainwright.data.splits import make_dataset
from trainwright.tasks.metrics.metric import Gathered
from trainwright.tasks.show import Text
from trainwright.tasks.task import Objective, Task

WORDS = ("a cat", "the dog", "one bird", "sees", "hears", "likes", "a tree", "the sun", "my hat")


def sentences(
    *, num: int = 300, length: int = 17, text_seed: int = 0, is_sorted: bool = True
) -> Dataset:
    """Sentences of three parts, one after the other, as windows of so many letters.

    `is_sorted`: letters are numbered by the alphabet, and else as they occur.
    """
    draws = torch.randint(0, 3, (num, 3), generator=torch.Generator().manual_seed(text_seed))
    parts = [" ".join(WORDS[3 * i + n] for i, n in enumerate(row)) for row in draws.tolist()]
    text = ". ".join(parts)
    vocabulary = tuple(sorted(set(text)) if is_sorted else dict.fromkeys(text))
    stream = torch.tensor([vocabulary.index(letter) for letter in text], dtype=torch.uint8)
    cuts = int(0.8 * len(stream)), int(0.9 * len(stream))
    train, validation, test = (
        Windows("text", part, length=length) for part in stream.tensor_split(cuts)
    )
    column = Tokens(length=length, vocabulary=vocabulary)
    return make_dataset(
        "sentences",
        train=train,
        validation=validation,
        test=test,
        columns={"text": column},
        inputs=("text",),
    )


class Transformer(nn.Module):
    """Letters (B, T) to what each next one may be, (B, T, vocabulary); no look ahead."""

    def __init__(
        self,
        *,
        vocab_size: int,
        input_shape: tuple[int, ...],
        width: int = 16,
        heads: int = 2,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.letters = nn.Embedding(vocab_size, width)
        self.places = nn.Parameter(0.02 * torch.randn(input_shape[0], width))
        self.norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, dropout=dropout, batch_first=True)
        self.head = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.out = nn.Linear(width, vocab_size)

    def forward(self, letters: Tensor) -> Tensor:
        """Each place sees itself and those before it."""
        length = letters.shape[1]
        hidden = self.letters(letters) + self.places[:length]  # (B, T, width)
        ahead = torch.ones(length, length, dtype=torch.bool, device=letters.device).triu(1)
        seen = self.norm(hidden)
        hidden = hidden + self.attention(seen, seen, seen, attn_mask=ahead, need_weights=False)[0]
        return self.out(hidden + self.head(hidden))


class NextToken(Task):
    """Learns each token of a window from those before it, and writes."""

    objective = Objective("bits", higher_is_better=False)

    def __init__(self, *, model: nn.Module, info: DataInfo) -> None:
        super().__init__()
        if not isinstance(info.input, Tokens):
            raise ValueError(f"task=next_token needs a text, and {info.name} has none")
        self.model = model
        self.columns = info.columns
        (self.name,) = info.inputs

    @property
    def players(self) -> dict[str, nn.Module]:
        """The one network."""
        return {"model": self.model}

    def losses(self, batch: dict) -> Tensor:
        """The cross-entropy of each token but the first, (B, T - 1)."""
        window = batch[self.name]
        logits = self.model(window[:, :-1]).float()
        return functional.cross_entropy(logits.transpose(1, 2), window[:, 1:], reduction="none")

    def forward(self, player: str, batch: dict, carry: dict) -> tuple[Tensor, dict[str, Tensor]]:
        """The mean over all tokens."""
        loss = self.losses(batch).mean()
        return loss, {"loss": loss.detach()}

    def evaluate(self, batch: dict) -> dict[str, Tensor]:
        """The mean cross-entropy of each window (B,)."""
        return {"loss": self.losses(batch).mean(dim=1)}

    def metrics(self) -> "Bits":
        """Bits a token."""
        return Bits()

    def showcase(self) -> Text:
        """Three lines, always from the same draws."""
        return self.generate(3, seed=0, classes=())

    def generate(self, num: int, *, seed: int, classes: list[int]) -> Text:
        """So many lines of text, drawn token by token."""
        column = self.columns[self.name]
        device = next(self.model.parameters()).device
        generator = torch.Generator().manual_seed(seed)
        written = torch.randint(0, len(column.vocabulary), (num, 1), generator=generator)
        for _ in range(40):
            seen = written[:, -column.length + 1 :].to(device)
            shares = self.model(seen)[:, -1].float().softmax(dim=-1).cpu()
            written = torch.cat([written, shares.multinomial(1, generator=generator)], dim=1)
        return Text("\n".join(column.text(line) for line in written))


class Bits(Gathered):
    """The mean over windows of what a token costs, in bits, and e to the power of it in nats."""

    def update(self, batch: dict, answers: dict) -> None:
        """Keep the loss of each window."""
        self.keep({"loss": answers["loss"]})

    def of(self, values: dict) -> dict[str, float]:
        """Of these windows."""
        loss = float(values["loss"].double().mean())
        return {"bits": loss / math.log(2), "perplexity": math.exp(loss)}
