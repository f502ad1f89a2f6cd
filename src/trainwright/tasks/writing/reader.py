"""A network reads a text that grows, and says what may come next."""

from typing import Protocol

import torch
from torch import Tensor, nn


class Memory(Protocol):
    """What a network remembers of the tokens before, which it makes by its method `memory`."""

    length: int  # tokens that it holds

    def repeat(self, num: int) -> None:
        """Go on with so many texts that have begun alike, where there was one."""


class Reader:
    """Logits of what comes next, after texts (B, T) each of which goes on from the one before.

    A network sees at most `context` tokens. A text that is longer is read from a later token on:
    each time that is full, the older half is forgotten. A network with a method `memory`, whose
    `forward` takes what that returns as `cache`, reads each token once; any other all that it sees.
    """

    def __init__(self, network: nn.Module, context: int) -> None:
        self._network, self._context = network, context
        self._make = getattr(network, "memory", None)
        self._memory: Memory | None = None
        self._begin = 0

    def __call__(self, texts: Tensor) -> Tensor:
        """(B, V) float64, on the CPU."""
        device = next(self._network.parameters()).device
        length = texts.shape[1]
        if length - self._begin > self._context:
            self._begin, self._memory = length - (self._context + 1) // 2, None
        if self._make is None:
            seen = texts[:, self._begin :].to(device)
            return _last(self._network(seen))
        if self._memory is None:
            self._memory = self._make()
        new = texts[:, self._begin + self._memory.length :].to(device)
        logits = self._network(new, cache=self._memory)
        self._memory.length += new.shape[1]
        return _last(logits)

    def repeat(self, num: int) -> None:
        """Go on with so many texts that have begun alike, where there was one."""
        if self._memory is not None:
            self._memory.repeat(num)


def _last(logits: Tensor) -> Tensor:
    return logits[:, -1].to("cpu", torch.float64)


@torch.no_grad()
def log_probabilities(network: nn.Module, text: Tensor, context: int) -> Tensor:
    """Of each token (T,) but the first in nats, (T - 1,) float64.

    Each is seen after all before it, and in a longer text after at least half of `context`.
    """
    device = next(network.parameters()).device
    found, done, begin = [], 1, 0
    while done < len(text):
        end = min(len(text), begin + context + 1)
        window = text[begin:end].to(device)
        logits = network(window[None, :-1])[0, done - begin - 1 :].double()
        costs = torch.nn.functional.cross_entropy(logits, window[done - begin :], reduction="none")
        found.append(-costs.cpu())
        done, begin = end, end - (context + 1) // 2
    return torch.cat(found) if found else torch.zeros(0, dtype=torch.float64)
