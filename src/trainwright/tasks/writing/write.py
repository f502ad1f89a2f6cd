"""Texts go on, all at once, token by token."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trainwright.tasks.show import Piece
from trainwright.tasks.writing.reader import Reader
from trainwright.tasks.writing.sampling import Draws, Sampling
from trainwright.tasks.writing.spelling import Spelling


@dataclass(frozen=True)
class Author:
    """A network that says what comes next, and how its tokens are spelt; `end` ends a text."""

    network: nn.Module
    context: int  # tokens that it sees
    spell: Callable[[Sequence[int]], str]
    end: int | None = None

    @torch.no_grad()
    def write(
        self,
        prompt: Tensor,
        numbers: Sequence[int],
        *,
        seed: int,
        most: int,
        sampling: Sampling,
        stop: Sequence[str] = (),
    ) -> Iterator[Piece]:
        """A continuation of the prompt (T,) for each number, of at most so many tokens, in pieces.

        What a text is depends on its number and the seed, not on the others. Its last piece says
        how many `tokens` it has, their `logprob` in nats as the network says before `sampling`, and
        what it `ended` by: `length`, `stop` or `end`.
        """
        draws = Draws(seed, numbers, most)
        reader = Reader(self.network, self.context)
        logits = reader(prompt[None])
        reader.repeat(len(numbers))
        texts, logits = prompt.repeat(len(numbers), 1), logits.repeat(len(numbers), 1)
        spellings = [Spelling(self.spell, prompt.tolist(), stop) for _ in numbers]
        logprobs = torch.zeros(len(numbers), dtype=torch.float64)
        left = set(range(len(numbers)))
        for place in range(most):
            tokens = draws.token(sampling.shares(logits, texts), place)
            logprobs += logits.log_softmax(dim=1).gather(1, tokens[:, None])[:, 0]
            texts = torch.cat([texts, tokens[:, None]], dim=1)
            for row in sorted(left):
                token, spelling = int(tokens[row]), spellings[row]
                shown = "" if token == self.end else spelling.add(token)
                endings = {"end": token == self.end, "stop": spelling.is_stopped}
                by = next((name for name, is_so in endings.items() if is_so), None)
                if by is not None or place == most - 1:
                    left.discard(row)
                    facts = {"tokens": place + 1, "logprob": float(logprobs[row])}
                    yield Piece(
                        numbers[row], shown + spelling.end(), {**facts, "ended": by or "length"}
                    )
                elif shown:
                    yield Piece(numbers[row], shown)
            if not left:
                return
            logits = reader(texts)
