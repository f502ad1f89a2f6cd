"""A task whose network writes."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn

from trainwright.data.columns import BadInputError, Tokens
from trainwright.data.text.as_library import library_json
from trainwright.tasks.ports import Pretrained
from trainwright.tasks.show import Piece, Writing
from trainwright.tasks.task import Task
from trainwright.tasks.writing.reader import log_probabilities
from trainwright.tasks.writing.sampling import Sampling
from trainwright.tasks.writing.write import Author
from trainwright.wording import printable

MOST_PROMPTS = 2**26  # bytes of their file


class Writer(Task):
    """Its `model` maps tokens (B, T) to logits (B, T, V) of the next, and sees `column.length - 1`.

    With a method `memory` it is asked for a new token alone (`tasks/writing/reader.py`).
    """

    model: nn.Module
    column: Tokens
    sample_tokens: int  # that a text goes on by, where nothing else is said

    def generate(
        self,
        num: int = 1,
        *,
        seed: int,
        prompt: Annotated[str, "of texts: what they begin with"] = "",
        prompts: Annotated[
            Path | None, "a file of prompts: one a line, or of .jsonl each an object's `prompt`"
        ] = None,
        max_tokens: Annotated[
            int | None, "tokens to write; 0: only how likely each token of the prompt is"
        ] = None,
        temperature: Annotated[
            float, "below 1 likelier tokens, above bolder; 0: the likeliest"
        ] = 1.0,
        top_k: Annotated[int | None, "draw only from so many likeliest tokens"] = None,
        top_p: Annotated[float, "only from the likeliest that have this share together"] = 1.0,
        min_p: Annotated[float, "only from those at least this share as likely as the first"] = 0.0,
        repetition_penalty: Annotated[float, "above 1 what is there comes again less"] = 1.0,
        stop: Annotated[Sequence[str], 'a text to end before, or several: \'["\\n", "END"]\''] = (),
    ) -> Writing:
        """`num` texts for each prompt. Raises ValueError before the first piece."""
        sampling = Sampling(temperature, top_k, top_p, min_p, repetition_penalty)
        most = self.sample_tokens if max_tokens is None else max_tokens
        if most < 0:
            raise ValueError(f"max_tokens={most} is below 0")
        if "" in stop:
            raise ValueError("stop='': it would end a text before its first letter")
        if prompts is not None and prompt:
            raise ValueError("prompt and prompts: give one of them")
        texts = [prompt] if prompts is None else _read(prompts)
        tokens = [self.tokens_of(text) for text in texts]
        if most == 0:
            return Writing(self._likelihoods(texts, tokens), len(texts))
        pieces = self._continued(
            texts, tokens, num, seed=seed, most=most, sampling=sampling, stop=stop
        )
        return Writing(pieces, num * len(texts))

    def continuation(self, prompt: str, num_tokens: int, *, seed: int = 0) -> str:
        """A prompt and what comes after it, drawn as the network says."""
        drawn = self.generate(seed=seed, prompt=prompt, max_tokens=num_tokens).pieces
        return "".join(piece.text for piece in drawn)

    def pretrained(self) -> Pretrained:
        """As a folder for transformers. Raises ValueError for a network that has no such form."""
        make = getattr(self.model, "as_pretrained", None)
        if make is None:
            raise ValueError(
                f"transformers has no architecture for {type(self.model).__name__}: a network that "
                "has one has a method `as_pretrained`"
            )
        config, tensors = make()
        end = None if self.column.end is None else self._spell([self.column.end])
        tokenizer = library_json(self.column)
        config = {**config, "eos_token_id": self.column.end}
        return Pretrained(config, tensors, tokenizer, end, self.model)

    def tokens_of(self, prompt: str) -> Tensor:
        """A prompt (T,), which begins as a text does where it is empty. Raises ValueError."""
        try:
            tokens = self.column.encode(prompt)
        except BadInputError as error:
            raise ValueError(
                f"prompt {printable(prompt)[:40]!r}: {printable(str(error))}"
            ) from None
        return tokens if len(tokens) else torch.tensor([self._beginning])

    @property
    def _beginning(self) -> int:
        """What a text comes after: the end of a document, or of a line."""
        if self.column.end is not None:
            return self.column.end
        try:
            return int(self.column.encode("\n")[0])
        except BadInputError:
            return 0

    def _author(self) -> Author:
        context = max(1, self.column.length - 1)
        return Author(self.model, context, self._spell, self.column.end)

    def _spell(self, tokens: Sequence[int]) -> str:
        return self.column.text(torch.tensor(tokens, dtype=torch.int64))

    def _continued(
        self, texts: Sequence[str], tokens: Sequence[Tensor], num: int, **how: Any
    ) -> Iterator[Piece]:
        author = self._author()
        for place, (text, prompt) in enumerate(zip(texts, tokens, strict=True)):
            numbers = range(place * num, (place + 1) * num)
            written = dict.fromkeys(numbers, "")
            for number in numbers:
                yield Piece(number, text)
            for piece in author.write(prompt, numbers, **how):
                written[piece.number] += piece.text
                if piece.facts is None:
                    yield piece
                else:
                    told = {"prompt": text, "text": written[piece.number], **piece.facts}
                    yield replace(piece, facts=told)

    def _likelihoods(self, texts: Sequence[str], tokens: Sequence[Tensor]) -> Iterator[Piece]:
        """How likely each token of a text is after those before it; not the first."""
        context = self._author().context
        for number, (text, row) in enumerate(zip(texts, tokens, strict=True)):
            found = log_probabilities(self.model, row, context).tolist()
            spelt = [self._spell([token]) for token in row.tolist()]
            each = [[word, value] for word, value in zip(spelt, [None, *found], strict=True)]
            lines = [
                f"{value:9.4f}  {word!r}" for word, value in zip(spelt[1:], found, strict=True)
            ]
            told = f"{sum(found):9.4f}  in nats: {len(found):,} tokens"
            facts = {"prompt": text, "tokens": len(found), "logprob": sum(found), "logprobs": each}
            yield Piece(number, "\n".join([*lines, told]), facts)


def _read(path: Path) -> list[str]:
    """The prompts in a file. Raises ValueError that names a line."""
    try:
        if path.stat().st_size > MOST_PROMPTS:
            raise ValueError(f"prompts={path} is larger than {MOST_PROMPTS >> 20} MiB")
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ValueError(f"prompts={path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"prompts={path} is not UTF-8: see byte {error.start:,}") from None
    if path.suffix == ".jsonl":
        lines = [_prompt(line, path, n) for n, line in enumerate(lines, 1) if line.strip()]
    found = [line for line in lines if line]
    if not found:
        raise ValueError(f"prompts={path} holds none")
    return found


def _prompt(line: str, path: Path, number: int) -> str:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    text = found.get("prompt") if isinstance(found, dict) else None
    if not isinstance(text, str):
        raise ValueError(f'prompts={path}: line {number} is not like {{"prompt": "..."}}')
    return text
