"""The CIFAR-10 speed record's recipe as a loop written by hand, without trainwright.

After Jordan's airbench94_muon (github.com/KellerJordan/cifar10-airbench, 94.01 % in 2.6 s on an
A100), in our own words and with its numbers: half precision and channels last, a whole pass
augmented at once, Muon for the filters, SGD for the head and the biases. Where there is no CUDA
it computes in bf16 by autocast, around weights in fp32, and nothing is compiled unless asked for.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
WHITENING_EPOCHS = 3  # for which the first layer's bias learns
BIAS_LR, HEAD_LR, FILTER_LR = 0.053, 0.67, 0.24
DECAY = 2e-6  # an example, of what SGD moves
PAD = 2


class Block(nn.Module):
    """Convolution, pooling, convolution, each with a normalisation that has no gain."""

    def __init__(self, num_in: int, num_out: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(num_in, num_out, 3, padding="same", bias=False)
        self.second = nn.Conv2d(num_out, num_out, 3, padding="same", bias=False)
        self.norms = nn.ModuleList(nn.BatchNorm2d(num_out, eps=1e-12, momentum=0.4) for _ in "12")
        for convolution in (self.first, self.second):
            nn.init.dirac_(convolution.weight.data[: convolution.in_channels])
        for norm in self.norms:
            norm.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_in, H, W) to (B, num_out, H / 2, W / 2)."""
        x = functional.gelu(self.norms[0](functional.max_pool2d(self.first(x), 2)))
        return functional.gelu(self.norms[1](self.second(x)))


class Net(nn.Module):
    """Whitened patches of 2x2, three blocks, the largest value of each map, ten logits."""

    def __init__(self, images: Tensor, widths: tuple[int, int, int]) -> None:
        super().__init__()
        patches = images.float().unfold(2, 2, 1).unfold(3, 2, 1)  # (N, 3, 31, 31, 2, 2)
        patches = patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2)  # (n, 12)
        values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
        filters = (vectors / (values + 5e-4).sqrt()).T.view(12, 3, 2, 2)
        self.whiten = nn.Conv2d(3, 24, 2)
        self.whiten.weight.data.copy_(torch.cat([filters, -filters]))
        self.whiten.weight.requires_grad_(False)
        sizes = (24, *widths)
        self.blocks = nn.Sequential(*(Block(*pair) for pair in zip(sizes, widths, strict=False)))
        self.head = nn.Linear(widths[-1], 10, bias=False)
        self.head.weight.data /= self.head.weight.data.std()

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 32, 32) to logits (B, 10)."""
        maps = self.blocks(functional.gelu(self.whiten(x)))
        features = functional.max_pool2d(maps, 3).flatten(1)
        return self.head(features) / features.shape[1]


class Filters:
    """Muon as that script has it: three iterations, weights held at a fixed norm."""

    def __init__(self, weights: list[nn.Parameter]) -> None:
        self.weights = weights
        self.momenta = [torch.zeros_like(w) for w in weights]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move along the gradients that the weights hold."""
        for weight, momentum in zip(self.weights, self.momenta, strict=True):
            gradient = weight.grad
            assert gradient is not None
            momentum.mul_(0.6).add_(gradient)
            x = gradient.add(momentum, alpha=0.6).reshape(len(weight), -1).bfloat16()
            tall = x.shape[0] > x.shape[1]
            x = x.T if tall else x
            x = x / (x.norm() + 1e-7)
            for _ in range(3):
                a = x @ x.T
                x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
            x = (x.T if tall else x).to(weight.dtype).reshape(weight.shape)
            weight.mul_(len(weight) ** 0.5 / weight.norm())
            weight.add_(x, alpha=-lr)


class Airbench:
    """One training on images (N, 3, 32, 32) uint8 and classes (N,), step by step."""

    def __init__(
        self,
        images: Tensor,
        classes: Tensor,
        *,
        epochs: float = 8,
        batch_size: int = 2000,
        widths: tuple[int, int, int] = (64, 256, 256),
        seed: int = 0,
        compiled: bool = False,
    ) -> None:
        torch.manual_seed(seed)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.dtype = torch.half if self.device.type == "cuda" else torch.bfloat16
        self.batch_size = batch_size
        self.classes = classes.to(self.device)
        self.images = self.normalised(images)
        self.net = Net(self.images[:5000], widths).to(self.device)
        self.net = self.net.to(memory_format=torch.channels_last)
        if self.device.type == "cuda":
            self.net.half()
            for module in self.net.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.float()
        if compiled:
            self.net.compile(mode="max-autotune")
        flips = torch.rand(len(self.images), 1, 1, 1, device=self.device) < 0.5
        mirrored = torch.where(flips, self.images.flip(-1), self.images)
        self.padded = functional.pad(mirrored, (PAD,) * 4, "reflect")
        named = dict(self.net.named_parameters())
        biases = [p for name, p in named.items() if "norms" in name and p.requires_grad]
        decay = DECAY * batch_size
        self.sgd = torch.optim.SGD(
            [
                {"params": params, "lr": lr, "weight_decay": decay / lr}
                for params, lr in (
                    ([self.net.whiten.bias], BIAS_LR),
                    (biases, BIAS_LR),
                    ([self.net.head.weight], HEAD_LR),
                )
            ],
            momentum=0.85,
            nesterov=True,
            fused=True,
        )
        self.filters = Filters([p for p in named.values() if p.dim() == 4 and p.requires_grad])
        self.steps_an_epoch = len(self.images) // batch_size
        self.total = math.ceil(epochs * self.steps_an_epoch)
        self.whitening_steps = math.ceil(WHITENING_EPOCHS * self.steps_an_epoch)
        self.done = 0
        self._epoch = 0
        self._augmented = self.images
        self._parts: Iterator[Tensor] = iter(())

    def normalised(self, images: Tensor) -> Tensor:
        """Pixels as the network sees them."""
        mean, std = (torch.tensor(v, device=self.device).view(1, 3, 1, 1) for v in (MEAN, STD))
        scaled = (images.to(self.device).float() / 255 - mean) / std
        return scaled.to(self.dtype, memory_format=torch.channels_last)

    def next_batch(self) -> tuple[Tensor, Tensor]:
        """The next images and classes; at the start of a pass, it augments the whole of it."""
        part = next(self._parts, None)
        if part is None:
            self._augment()
            part = next(self._parts)
        return self._augmented[part], self.classes[part]

    def _autocast(self) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=self.dtype == torch.bfloat16)

    def _augment(self) -> None:
        num, size = len(self.images), self.images.shape[-1]
        shifts = torch.randint(0, 2 * PAD + 1, (num, 2), device=self.device)
        images = torch.empty_like(self.images)
        for y in range(2 * PAD + 1):
            for x in range(2 * PAD + 1):
                chosen = (shifts[:, 0] == y) & (shifts[:, 1] == x)
                images[chosen] = self.padded[chosen, :, y : y + size, x : x + size]
        if self._epoch % 2:
            images = images.flip(-1)
        self._epoch += 1
        order = torch.randperm(num, device=self.device)
        self._augmented = images
        self._parts = iter(order[: self.steps_an_epoch * self.batch_size].split(self.batch_size))

    def step(self) -> None:
        """Learn from the next batch."""
        self.learn(*self.next_batch())

    def learn(self, images: Tensor, classes: Tensor) -> None:
        """One move of everything, on normalised images (B, 3, 32, 32) and classes (B,)."""
        self.net.train()
        with self._autocast():
            logits = self.net(images)
        loss = functional.cross_entropy(
            logits.float(), classes, label_smoothing=0.2, reduction="sum"
        )
        loss.backward()
        left = 1 - self.done / self.total
        for group, lr in zip(self.sgd.param_groups, (BIAS_LR, BIAS_LR, HEAD_LR), strict=True):
            group["lr"] = lr * left
        self.sgd.param_groups[0]["lr"] = BIAS_LR * max(0.0, 1 - self.done / self.whitening_steps)
        self.sgd.step()
        self.filters.step(FILTER_LR * left)
        self.net.zero_grad(set_to_none=True)
        self.done += 1

    @torch.no_grad()
    def accuracy(self, images: Tensor, classes: Tensor) -> float:
        """The share of images that six views of each, averaged, put into the right class."""
        self.net.eval()
        hits = 0
        for part, truth in zip(
            images.split(1000), classes.to(self.device).split(1000), strict=True
        ):
            x = self.normalised(part)
            padded = functional.pad(x, (1,) * 4, "reflect")
            views = ((x, 0.25), (padded[..., :32, :32], 0.125), (padded[..., 2:, 2:], 0.125))
            with self._autocast():
                logits = sum(w * (self.net(v) + self.net(v.flip(-1))).float() for v, w in views)
            hits += int((torch.as_tensor(logits).argmax(1) == truth).sum())
        return hits / len(images)
