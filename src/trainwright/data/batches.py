"""A batch is a pure function of the seed and the step: resuming needs no sampler state.

The training data is an endless stream, one shuffled pass after another, cut into equal batches.
Every window of one pass holds every example once; a batch may run on from one pass into the next,
so that all batches have the same size.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from trainwright.data.augment import Augment
from trainwright.data.dataset import DataInfo, Split
from trainwright.data.read_ahead import ReadAhead
from trainwright.seeds import derive_seed, generator_for

STEPS_AHEAD = 2  # for which a disk is asked: time for it to answer, and little memory
STEPS_AT_ONCE = 32  # whose indices are found in one go for runs that train together


class Batch(NamedTuple):
    """Inputs (B, ...) float32, normalised, and targets (B,) where there are any."""

    inputs: Tensor
    targets: Tensor | None


@dataclass(frozen=True)
class Normalisation:
    """Maps stored inputs to what a network sees, `inputs * scale + shift`, channel by channel.

    `scale` and `shift` hold one number a channel (images) or a feature (tables).
    """

    scale: tuple[float, ...]
    shift: tuple[float, ...]

    @classmethod
    def standard(cls, info: DataInfo) -> "Normalisation":
        """Mean 0 and standard deviation 1 over the training split."""
        unit = 255.0 if info.is_image else 1.0
        return cls(
            scale=tuple(1 / (unit * std) for std in info.std),
            shift=tuple(-mean / std for mean, std in zip(info.mean, info.std, strict=True)),
        )

    @classmethod
    def symmetric(cls, info: DataInfo) -> "Normalisation":
        """Pixels from 0..255 to -1..1, the range of a generator's tanh."""
        num_channels = info.input_shape[0]
        return cls(scale=(2 / 255,) * num_channels, shift=(-1.0,) * num_channels)

    def tensors(self, num_dims: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Scale and shift, shaped to broadcast over a batch of `num_dims` dimensions."""
        shape = (1, -1) + (1,) * (num_dims - 2)  # (1, C, 1, 1) for images, (1, F) for tables
        scale = torch.tensor(self.scale, device=device).reshape(shape)
        shift = torch.tensor(self.shift, device=device).reshape(shape)
        return scale, shift


class Batches:
    """Normalised batches of one split, on the device that computes.

    A split that fits on the device is moved there whole; a larger one stays where it is (in
    memory, or mapped from disk), and each batch is moved. Where the disk is waited for, it is asked
    for the batches to come.
    """

    def __init__(
        self,
        split: Split,
        normalisation: Normalisation,
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        memory_format: torch.memory_format = torch.contiguous_format,
        augment: Augment | None = None,
    ) -> None:
        self.num_examples = len(split)
        self.batch_size = batch_size
        self._seed = seed
        self._device = device
        self._channels_last = (
            memory_format == torch.channels_last
            and split.inputs.dim() == 4
            and split.inputs.shape[1] > 1
        )
        self._augment = augment
        self._normalisation = normalisation
        self._scale, self._shift = normalisation.tensors(split.inputs.dim(), device)
        self._inputs, self._targets = split.inputs, split.targets
        self._read_ahead: ReadAhead | None = None
        if _fits(self._inputs, device):
            self._inputs = self._inputs.to(device)
        elif split.mapping is not None:
            self._read_ahead = ReadAhead(split.mapping, split.inputs)
        if self._targets is not None:
            self._targets = self._targets.to(device)
        self._orders: dict[int, Tensor] = {}

    def at(self, step: int) -> Batch:
        """The training batch of `step`: shuffled and augmented, the same whenever asked for."""
        batch = self._shuffled(step)
        if self._augment is None:
            return self._in_format(batch)
        generator = generator_for(self._seed, "augment", step, device=self._device)
        return self._in_format(batch._replace(inputs=self._augment(batch.inputs, generator)))

    def in_order(self, batch_size: int, *, limit: int | None = None) -> Iterator[Batch]:
        """Every example once, as stored and without augmentation; the last batch may be smaller."""
        num_examples = self.num_examples if limit is None else min(limit, self.num_examples)
        for start in range(0, num_examples, batch_size):
            stop = min(start + batch_size, num_examples)
            yield self._in_format(self._take(torch.arange(start, stop)))

    def _shuffled(self, step: int) -> Batch:
        indices = self._indices(step * self.batch_size, self.batch_size)
        if self._read_ahead is None:
            return self._take(indices)
        if self._read_ahead.is_worth_it:
            ahead = (step + STEPS_AHEAD) * self.batch_size
            self._read_ahead.ask_for(self._indices(ahead, self.batch_size))
        with self._read_ahead.watching(self.batch_size):
            return self._take(indices)

    def _indices(self, position: int, num: int) -> Tensor:
        """Where `num` examples from `position` of the stream on are stored."""
        epoch, start = divmod(position, self.num_examples)
        indices = self._order(epoch)[start : start + num]
        while len(indices) < num:
            epoch += 1
            missing = num - len(indices)
            indices = torch.cat([indices, self._order(epoch)[:missing]])
        return indices

    def _order(self, epoch: int) -> Tensor:
        """The shuffled order of one pass over the data, kept while batches come from it."""
        if epoch not in self._orders:
            self._orders = {e: order for e, order in self._orders.items() if e == epoch - 1}
            generator = torch.Generator().manual_seed(derive_seed(self._seed, "order", epoch))
            order = torch.randperm(self.num_examples, generator=generator)
            self._orders[epoch] = order.to(self._inputs.device)
        return self._orders[epoch]

    def _take(self, indices: Tensor) -> Batch:
        stored = self._inputs.index_select(0, indices.to(self._inputs.device))
        inputs = self._normalised(stored.to(self._device).float())
        if self._targets is None:
            return Batch(inputs, None)
        return Batch(inputs, self._targets.index_select(0, indices.to(self._targets.device)))

    def _normalised(self, inputs: Tensor) -> Tensor:
        """`inputs * scale + shift`; the inputs are overwritten, or not needed any more.

        Images on a CPU channel by channel: torch computes with a number in whole vectors, with a
        broadcast tensor one value at a time, which takes three times as long.
        """
        if inputs.dim() != 4 or inputs.device.type != "cpu":
            return torch.addcmul(self._shift, inputs, self._scale)
        for channel, scale in enumerate(self._normalisation.scale):
            plane = inputs[:, channel : channel + 1]  # (B, 1, H, W)
            torch.add(self._shift[:, channel : channel + 1], plane, alpha=scale, out=plane)
        return inputs

    def _in_format(self, batch: Batch) -> Batch:
        if not self._channels_last:
            return batch
        return batch._replace(inputs=batch.inputs.contiguous(memory_format=torch.channels_last))


class StackedBatches:
    """The batches of K runs with the same shapes.

    Taken in one go where all have the same data in memory, and nothing is augmented; then the
    indices are found for many steps at a time.
    """

    def __init__(self, several: Sequence[Batches]) -> None:
        self._several = list(several)
        first = self._several[0]
        self._is_shared = first._read_ahead is None and all(
            b._inputs is first._inputs and b._augment is None for b in several
        )
        self._found = range(0)  # the steps whose indices are known
        self._indices = torch.empty(0)  # of them, (K, steps * B)

    def at(self, step: int) -> Batch:
        """The batches of a step: inputs (K, B, ...), targets (K, B)."""
        first, num = self._several[0], len(self._several)
        if not self._is_shared:
            parts = [batches.at(step) for batches in self._several]
            inputs = torch.stack([part.inputs for part in parts])
            found = [part.targets for part in parts if part.targets is not None]
            return Batch(inputs, torch.stack(found) if found else None)
        size = first.batch_size
        if step not in self._found:
            self._found = range(step, step + STEPS_AT_ONCE)
            of_each = [b._indices(step * size, STEPS_AT_ONCE * size) for b in self._several]
            self._indices = torch.stack(of_each)
        start = (step - self._found.start) * size
        batch = first._take(self._indices[:, start : start + size].flatten())
        inputs = first._in_format(batch).inputs
        targets = None if batch.targets is None else batch.targets.view(num, size)
        return Batch(inputs.view(num, size, *inputs.shape[1:]), targets)


def _fits(inputs: Tensor, device: torch.device) -> bool:
    """Whether a GPU has room for the whole split beside the model: half of what is free."""
    if device.type != "cuda":
        return device.type != "cpu"
    free, _ = torch.cuda.mem_get_info(device)
    return inputs.nbytes < free // 2
