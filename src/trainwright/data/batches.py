"""A batch is a pure function of the seed and the step: resuming needs no sampler state.

The training data is an endless stream, one shuffled pass after another, cut into equal batches.
Every window of one pass holds every example once; a batch may run on from one pass into the next,
so that all batches have the same size.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from trainwright.data.dataset import DataInfo, Dataset, Split
from trainwright.data.images.augment import Augment
from trainwright.data.read_ahead import ReadAhead
from trainwright.seeds import derive_seed

STEPS_AHEAD = 2  # for which a disk is asked: time for it to answer, and little memory
MOST_VALUES = 2**24  # that `train_examples` brings


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
        # As large as an example: what is broadcast within one is walked through number by number,
        # which takes three times as long.
        self._scale, self._shift = (
            tensor.expand(1, *split.inputs.shape[1:]).contiguous()
            for tensor in normalisation.tensors(split.inputs.dim(), device)
        )
        self._inputs, self._targets = split.inputs, split.targets
        self._read_ahead: ReadAhead | None = None
        if _fits(self._inputs, device):
            self._inputs = self._inputs.to(device)
        elif split.mapping is not None:
            self._read_ahead = ReadAhead(split.mapping, split.inputs)
        if self._targets is not None:
            self._targets = self._targets.to(device)
        self._orders: dict[int, Tensor] = {}
        self._coins: Tensor | None = None  # (N,) bool, once asked for

    def at(self, step: int) -> Batch:
        """The training batch of `step`: shuffled and augmented, the same whenever asked for."""
        generator = None if self._augment is None else self.reseeded(None, step)
        batch = self._normalised(self._shuffled(step))
        return self._finished(batch, generator, self._mirrored(step))

    def material(self, step: int) -> list[Tensor]:
        """What the batch of `step` is made of, on the device, of the same shapes in every step.

        Where all examples are there already: the indices (B,) of those of the batch. Else they
        themselves as stored, (B, ...), and their targets (B,) where there are any. Where mirror
        images alternate, first of all which examples are mirrored, (B,).
        """
        material = [self.indices(step)] if self._is_resident else self._shuffled(step)
        mirrored = self._mirrored(step)
        return material if mirrored is None else [mirrored, *material]

    def made_of(self, material: Sequence[Tensor], generator: torch.Generator) -> Batch:
        """The batch that `at` gives, of its material, and of the generator as `reseeded` for it."""
        examples = list(material)
        mirrored = examples.pop(0) if self._alternates else None
        stored = self._stored(examples[0]) if self._is_resident else examples
        return self._finished(self._normalised(stored), generator, mirrored)

    def reseeded(self, generator: torch.Generator | None, step: int) -> torch.Generator:
        """The generator, or a new one, from which the augmentation of `step` draws."""
        if generator is None:
            generator = torch.Generator(self._device)
        return generator.manual_seed(derive_seed(self._seed, "augment", step))

    def in_order(self, batch_size: int, *, limit: int | None = None) -> Iterator[Batch]:
        """Every example once, as stored and without augmentation; the last batch may be smaller.

        Of more than `limit` as many, spread evenly: a split may be sorted by its classes.
        """
        num_examples = self.num_examples if limit is None else min(limit, self.num_examples)
        for start in range(0, num_examples, batch_size):
            stop = min(start + batch_size, num_examples)
            indices = torch.arange(start, stop, device=self._inputs.device)
            indices = indices * self.num_examples // num_examples
            yield self.taken(indices)

    @property
    def _is_resident(self) -> bool:
        """Whether all examples are on the device, and no file that is read as they are needed."""
        return self._read_ahead is None and self._inputs.device.type == self._device.type

    def indices(self, step: int, num_steps: int = 1) -> Tensor:
        """Where the examples of so many batches from that of `step` on are stored, one by one."""
        num = num_steps * self.batch_size
        epoch, start = divmod(step * self.batch_size, self.num_examples)
        indices = self._order(epoch)[start : start + num]
        while len(indices) < num:
            epoch += 1
            missing = num - len(indices)
            indices = torch.cat([indices, self._order(epoch)[:missing]])
        return indices

    def taken(self, indices: Tensor) -> Batch:
        """The examples that are stored there, (B,), as they are."""
        return self._in_format(self._normalised(self._stored(indices)))

    def are_taken_from(self, other: "Batches") -> bool:
        """Whether batches are examples in memory as they are, the same ones that `other` has."""
        is_plain = self._read_ahead is None and self._augment is None
        return is_plain and self._inputs is other._inputs

    def _shuffled(self, step: int) -> list[Tensor]:
        indices = self.indices(step)
        if self._read_ahead is None:
            return self._stored(indices)
        if self._read_ahead.is_worth_it:
            self._read_ahead.ask_for(self.indices(step + STEPS_AHEAD))
        with self._read_ahead.watching(self.batch_size):
            return self._stored(indices)

    @property
    def _alternates(self) -> bool:
        return self._augment is not None and self._augment.alternates

    def _mirrored(self, step: int) -> Tensor | None:
        """Which examples of a step's batch alternation mirrors: (B,) bool; None without it.

        In the first pass those for which a coin says so, and in every pass the others of the last.
        """
        if not self._alternates:
            return None
        if self._coins is None:
            generator = torch.Generator().manual_seed(derive_seed(self._seed, "alternating flip"))
            coins = torch.rand(self.num_examples, generator=generator) < 0.5
            self._coins = coins.to(self._inputs.device)
        epoch, start = divmod(step * self.batch_size, self.num_examples)
        places = torch.arange(start, start + self.batch_size, device=self._coins.device)
        is_odd = (epoch + places // self.num_examples) % 2 == 1
        return self._moved(self._coins[self.indices(step)] ^ is_odd)

    def _order(self, epoch: int) -> Tensor:
        """The shuffled order of one pass over the data, kept while batches come from it."""
        if epoch not in self._orders:
            self._orders = {e: order for e, order in self._orders.items() if e == epoch - 1}
            generator = torch.Generator().manual_seed(derive_seed(self._seed, "order", epoch))
            order = torch.randperm(self.num_examples, generator=generator)
            self._orders[epoch] = self._moved(order) if self._is_resident else order
        return self._orders[epoch]

    def _stored(self, indices: Tensor) -> list[Tensor]:
        """Inputs, and targets where there are any, as they are stored, on the device."""
        inputs = self._inputs.index_select(0, indices.to(self._inputs.device))
        if self._targets is None:
            return [self._moved(inputs)]
        return [self._moved(inputs), self._targets.index_select(0, self._moved(indices))]

    def _moved(self, tensor: Tensor) -> Tensor:
        """On the device; from the memory of the host without waiting for a GPU to have it."""
        if self._device.type == "cuda" and tensor.device.type == "cpu":
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.to(self._device)

    def _normalised(self, stored: Sequence[Tensor]) -> Batch:
        """`inputs * scale + shift`, and the targets."""
        inputs = stored[0].to(self._scale.dtype, copy=True)
        torch.addcmul(self._shift, inputs, self._scale, out=inputs)
        return Batch(inputs, stored[1] if len(stored) > 1 else None)

    def _finished(
        self, batch: Batch, generator: torch.Generator | None, mirrored: Tensor | None
    ) -> Batch:
        """Augmented, where that is wanted, and in the format of the network's maps."""
        if self._augment is None or generator is None:
            return self._in_format(batch)
        inputs = self._augment(batch.inputs, generator, mirrored=mirrored)
        return self._in_format(batch._replace(inputs=inputs))

    def _in_format(self, batch: Batch) -> Batch:
        if not self._channels_last:
            return batch
        return batch._replace(inputs=batch.inputs.contiguous(memory_format=torch.channels_last))


def train_examples(dataset: Dataset, num: int) -> Tensor:
    """The first `num` training examples (n, ...) float32, normalised to mean 0 and variance 1.

    Fewer of large images, for which fewer will do: such that they fit into 64 MB.
    """
    most = max(1, MOST_VALUES // math.prod(dataset.info.input_shape))
    stored = dataset.train.inputs[: min(num, most)]
    cpu = torch.device("cpu")
    scale, shift = Normalisation.standard(dataset.info).tensors(stored.dim(), cpu)
    return torch.addcmul(shift, stored.float(), scale)


def _fits(inputs: Tensor, device: torch.device) -> bool:
    """Whether a GPU has room for the whole split beside the model: half of what is free."""
    if device.type != "cuda":
        return device.type != "cpu"
    free, _ = torch.cuda.mem_get_info(device)
    return inputs.nbytes < free // 2
