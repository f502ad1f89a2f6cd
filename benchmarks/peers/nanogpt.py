"""A decoder trained by a loop written by hand, after nanoGPT, without trainwright.

Karpathy's recipe for tiny Shakespeare on a CPU (github.com/karpathy/nanoGPT, "I only have a
macbook") in our own words and with its numbers: 4 layers of 128, 4 heads, windows of 64 letters at
random places, 12 a step, 2,000 steps of AdamW at 1e-3 with a cosine and a warm-up of 100, fp32.

    python benchmarks/peers/nanogpt.py ~/data/tinyshakespeare/input.txt --steps 2000
"""

import argparse
import contextlib
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

LAYERS, HEADS, WIDTH, CONTEXT, BATCH = 4, 4, 128, 64, 12
LR, LEAST_LR, WARM_UP, DECAY, CLIP = 1e-3, 1e-4, 100, 0.1, 1.0


class Block(nn.Module):
    """Causal attention and a feed-forward layer, each after a layer norm, added to what came in."""

    def __init__(self) -> None:
        super().__init__()
        self.first_norm = nn.LayerNorm(WIDTH, bias=False)
        self.attend = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.project = nn.Linear(WIDTH, WIDTH, bias=False)
        self.second_norm = nn.LayerNorm(WIDTH, bias=False)
        self.widen = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.narrow = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, W) to (B, T, W)."""
        batch, length, _ = x.shape
        parts = self.attend(self.first_norm(x)).split(WIDTH, dim=2)
        q, k, v = (p.view(batch, length, HEADS, WIDTH // HEADS).transpose(1, 2) for p in parts)
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.project(y.transpose(1, 2).contiguous().view(batch, length, WIDTH))
        return x + self.narrow(functional.gelu(self.widen(self.second_norm(x))))


class Decoder(nn.Module):
    """Learned positions, blocks, and an output whose weights are those of the embedding."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, WIDTH)
        self.places = nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.ModuleList(Block() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH, bias=False)
        self.output = nn.Linear(WIDTH, vocabulary, bias=False)
        for name, parameter in self.named_parameters():
            if parameter.dim() > 1:
                is_residual = name.endswith(("project.weight", "narrow.weight"))
                std = 0.02 / math.sqrt(2 * LAYERS) if is_residual else 0.02
                nn.init.normal_(parameter, std=std)
        self.tokens.weight = self.output.weight

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """The mean cross-entropy of targets (B, T) after tokens (B, T)."""
        places = torch.arange(tokens.shape[1])
        x = self.tokens(tokens) + self.places(places)
        for block in self.blocks:
            x = block(x)
        logits = self.output(self.norm(x))
        return functional.cross_entropy(logits.view(-1, logits.shape[-1]), targets.flatten())


def read(path: Path) -> tuple[np.ndarray, np.ndarray, int]:
    """Letters of the first nine tenths and of the last, as numbers; and how many kinds."""
    text = path.read_text()
    letters = sorted(set(text))
    number = {letter: i for i, letter in enumerate(letters)}
    stream = np.array([number[letter] for letter in text], dtype=np.uint16)
    cut = int(0.9 * len(stream))
    return stream[:cut], stream[cut:], len(letters)


def drawn(stream: np.ndarray) -> tuple[Tensor, Tensor]:
    """A batch of windows, and the letters that come next."""
    starts = torch.randint(len(stream) - CONTEXT, (BATCH,))
    rows = [stream[i : i + CONTEXT + 1].astype(np.int64) for i in starts.tolist()]
    both = torch.from_numpy(np.stack(rows))
    return both[:, :-1], both[:, 1:]


def rate(step: int, steps: int) -> float:
    """The learning rate of a step."""
    if step < WARM_UP:
        return LR * (step + 1) / (WARM_UP + 1)
    share = (step - WARM_UP) / max(1, steps - WARM_UP)
    return LEAST_LR + 0.5 * (1 + math.cos(math.pi * share)) * (LR - LEAST_LR)


@torch.no_grad()
def loss_of(model: Decoder, stream: np.ndarray) -> float:
    """The mean loss over all windows of a part, one after the other."""
    model.eval()
    num = (len(stream) - 1) // CONTEXT
    x = torch.from_numpy(stream[: num * CONTEXT].astype(np.int64)).view(num, CONTEXT)
    y = torch.from_numpy(stream[1 : num * CONTEXT + 1].astype(np.int64)).view(num, CONTEXT)
    total = sum(
        float(model(a, b)) * len(a) for a, b in zip(x.split(256), y.split(256), strict=True)
    )
    model.train()
    return total / num


@contextlib.contextmanager
def timed(steps: int) -> Iterator[None]:
    """Say how fast so many steps were made."""
    began, used = time.perf_counter(), time.process_time()
    yield
    seconds, of_processor = time.perf_counter() - began, time.process_time() - used
    speed = f"{steps * BATCH * CONTEXT / seconds:,.0f} tokens/s"
    print(f"{speed}, {seconds:.1f} s ({of_processor:.1f} s of processors) for {steps} steps")


def train(path: Path, *, steps: int, evaluate: bool) -> None:
    """Train, and say how fast, and how good."""
    torch.manual_seed(1337)
    train_part, held_out, vocabulary = read(path)
    model = Decoder(vocabulary)
    weights = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": weights, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.99))
    with timed(steps):
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = rate(step, steps)
            tokens, targets = drawn(train_part)
            loss = model(tokens, targets)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
    if evaluate:
        print(f"validation loss {loss_of(model, held_out):.4f}")


def main(what: str, train: Callable[..., None]) -> None:
    """Train as the command line says."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("path", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--evaluate", action="store_true")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    train(arguments.path, steps=arguments.steps, evaluate=arguments.evaluate)


if __name__ == "__main__":
    main(str(__doc__), train)
