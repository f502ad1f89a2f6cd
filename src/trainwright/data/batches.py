"""A batch is a pure function of the seed and the step: resuming needs no sampler state.

The training data is an endless stream, one shuffled pass after another, cut into equal batches.
Every window of one pass holds every example once, unless classes are balanced; a batch may run on
from one pass into the next, so that all batches have the same size.
"""

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from trainwright.data.balance import Balance
from trainwright.data.columns import Column, Image
from trainwright.data.columns import Scaling as Normalisation  # noqa: F401 - imported by code of 0.1
from trainwright.data.dataset import Dataset
from trainwright.data.examples import Batch, Split, all_of, evenly, first_of
from trainwright.data.images.augment import Augment
from trainwright.data.images.mixing import Mixing, with_neighbours
from trainwright.data.read_ahead import ReadAhead
from trainwright.data.shuffle import shuffled
from trainwright.seeds import derive_seed, generator_for

STEPS_AHEAD = 2  # for which a disk is asked: time for it to answer, and little memory
ALL = slice(None)
MOST_KEPT = 2**24  # examples whose order is kept: 134 MB for each of two passes
MOST_VALUES = 2**24  # that `train_examples` brings
PLACES, MIRRORED = "places", "mirrored"  # what a batch is made of besides stored columns


class Batches:
    """Batches of one split as a network sees them, on the device that computes.

    A split that fits on the device is moved there whole; a larger one stays where it is (in
    memory, or mapped from disk), and each batch is moved. Where the disk is waited for, it is asked
    for the batches to come. `columns`: how each is prepared; what they do not name is left out.
    `augment`: of training images; `mixing`: of training examples with each other; `balance`: the
    order of training examples, where classes are to be equally often. `rows` (n,): those of each
    training batch that this process computes, where several share it. `sampling_rate`: each
    training example is in a batch with this probability, so that batches differ in size. `name`: of
    the split.
    """

    def __init__(
        self,
        split: Split,
        columns: Mapping[str, Column],
        *,
        batch_size: int,
        seed: int,
        device: torch.device,
        memory_format: torch.memory_format = torch.contiguous_format,
        augment: Augment | None = None,
        mixing: Mixing | None = None,
        balance: Balance | None = None,
        rows: Tensor | None = None,
        sampling_rate: float | None = None,
        name: str = "",
    ) -> None:
        self.num_examples = len(split)
        self.batch_size = batch_size
        self._seed = seed
        self._device = device
        self._prepare = {name: column.preparation(device) for name, column in columns.items()}
        self._images = [name for name, column in columns.items() if isinstance(column, Image)]
        self._channels_last = [
            name
            for name in self._images
            if memory_format == torch.channels_last and columns[name].shape[0] > 1
        ]
        self._augment = augment
        self._mixing = mixing
        self._balance = balance
        # A row that is mixed needs its neighbour too, which another process may compute.
        if rows is not None and mixing is not None:
            rows = with_neighbours(rows, batch_size)
        self._rows = rows
        self._sampling_rate = sampling_rate
        self.name = name
        self._split = split.on(device)
        self._read_ahead: ReadAhead | None = None
        if self._split is split and split.mapped is not None:
            self._read_ahead = ReadAhead(*split.mapped)
        self._orders: dict[int, Tensor] = {}
        self._coins: Tensor | None = None  # (N,) bool, once asked for

    def at(self, step: int) -> Batch:
        """The training batch of `step`: shuffled and augmented, the same whenever asked for."""
        is_plain = self._augment is None and self._mixing is None
        generator = None if is_plain else self.reseeded(None, step)
        return self._finished(self._shuffled(step), generator, self._mirrored(step))

    def material(self, step: int) -> Batch:
        """What the batch of `step` is made of, on the device, of the same shapes in every step.

        Where all examples are there already: the indices (B,) of those of the batch. Else they
        themselves as stored, each column (B, ...). Where mirror images alternate, also which
        examples are mirrored, (B,).
        """
        material = {PLACES: self.indices(step)} if self._is_resident else self._shuffled(step)
        mirrored = self._mirrored(step)
        return material if mirrored is None else {MIRRORED: mirrored, **material}

    def made_of(self, material: Batch, generator: torch.Generator) -> Batch:
        """The batch that `at` gives, of its material, and of the generator as `reseeded` for it."""
        stored = dict(material)
        mirrored = stored.pop(MIRRORED) if self._alternates else None
        if self._is_resident:
            stored = self._stored(stored[PLACES])
        return self._finished(stored, generator, mirrored)

    def reseeded(self, generator: torch.Generator | None, step: int) -> torch.Generator:
        """The generator, or a new one, from which the augmentation of `step` draws."""
        if generator is None:
            generator = torch.Generator(self._device)
        return generator.manual_seed(derive_seed(self._seed, "augment", step))

    def in_order(
        self, batch_size: int, *, limit: int | None = None, some: slice = ALL
    ) -> Iterator[Batch]:
        """Every example once, as stored and without augmentation; the last batch may be smaller.

        Of more than `limit` as many, spread evenly: a split may be sorted by its classes. `some`:
        which of these batches.
        """
        num_examples = self.num_examples if limit is None else min(limit, self.num_examples)
        for start in range(0, num_examples, batch_size)[some]:
            stop = min(start + batch_size, num_examples)
            yield self.taken(evenly(start, stop, num_examples, self._split))

    @property
    def _is_resident(self) -> bool:
        """Whether all examples are on the device, and no file that is read as they are needed."""
        return self._read_ahead is None and self._split.device.type == self._device.type

    def indices(self, step: int, num_steps: int = 1) -> Tensor:
        """Where the examples of so many batches from that of `step` on are stored, one by one."""
        if self._sampling_rate is not None:
            rate, numbers = self._sampling_rate, range(step, step + num_steps)
            return self._moved(torch.cat([self._drawn(number, rate) for number in numbers]))
        num = num_steps * self.batch_size
        epoch, start = divmod(step * self.batch_size, self.num_examples)
        indices = self._ordered(epoch, start, num)
        while len(indices) < num:
            epoch += 1
            indices = torch.cat([indices, self._ordered(epoch, 0, num - len(indices))])
        return indices

    def _drawn(self, step: int, rate: float) -> Tensor:
        """The examples that are drawn for a step, each by a coin of its own (Poisson sampling)."""
        generator = generator_for(self._seed, "sample", step)
        drawn = torch.rand(self.num_examples, generator=generator, dtype=torch.float64)
        return torch.nonzero(drawn < rate).flatten()

    def taken(self, indices: Tensor) -> Batch:
        """The examples that are stored there, (B,), prepared and not augmented."""
        return self._finished(self._stored(indices), None, None)

    def are_taken_from(self, other: "Batches") -> bool:
        """Whether batches are examples in memory as they are, the same ones that `other` has."""
        is_plain = self._read_ahead is None and self._augment is None and self._mixing is None
        return is_plain and self._split is other._split

    def _shuffled(self, step: int) -> Batch:
        indices = self._mine(self.indices(step))
        if self._read_ahead is None:
            return self._stored(indices)
        if self._read_ahead.is_worth_it:
            self._read_ahead.ask_for(self._mine(self.indices(step + STEPS_AHEAD)))
        with self._read_ahead.watching(len(indices)):
            return self._stored(indices)

    def _mine(self, of_batch: Tensor) -> Tensor:
        """Of what there is for each row of a batch (B, ...) that of the rows of this process."""
        return of_batch if self._rows is None else of_batch[self._rows.to(of_batch.device)]

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
            self._coins = coins.to(self._split.device)
        epoch, start = divmod(step * self.batch_size, self.num_examples)
        places = torch.arange(start, start + self.batch_size, device=self._coins.device)
        is_odd = (epoch + places // self.num_examples) % 2 == 1
        return self._moved(self._mine(self._coins[self.indices(step)] ^ is_odd))

    def _ordered(self, epoch: int, start: int, num: int) -> Tensor:
        """So many indices of a pass from a place on, fewer where it ends."""
        if self.num_examples <= MOST_KEPT or self._balance is not None:
            return self._order(epoch)[start : start + num]
        places = torch.arange(start, min(start + num, self.num_examples))
        seed = derive_seed(self._seed, "order", epoch)
        order = shuffled(places, self.num_examples, seed)
        return self._moved(order) if self._is_resident else order

    def _order(self, epoch: int) -> Tensor:
        """The shuffled order of one pass over the data, kept while batches come from it."""
        if epoch not in self._orders:
            self._orders = {e: order for e, order in self._orders.items() if e == epoch - 1}
            if self._balance is not None:
                order = self._balance.order(epoch)
            else:
                generator = torch.Generator().manual_seed(derive_seed(self._seed, "order", epoch))
                order = torch.randperm(self.num_examples, generator=generator)
            self._orders[epoch] = self._moved(order) if self._is_resident else order
        return self._orders[epoch]

    def _stored(self, indices: Tensor) -> Batch:
        """The columns as they are stored, on the device."""
        stored = self._split.take(indices.to(self._split.device))
        return {name: self._moved(stored[name]) for name in self._prepare if name in stored}

    def _moved(self, tensor: Tensor) -> Tensor:
        """On the device; from the memory of the host without waiting for a GPU to have it."""
        if self._device.type == "cuda" and tensor.device.type == "cpu":
            return tensor.pin_memory().to(self._device, non_blocking=True)
        return tensor.to(self._device)

    def _finished(
        self, stored: Batch, generator: torch.Generator | None, mirrored: Tensor | None
    ) -> Batch:
        """As a network sees it; augmented where there is a generator, in the format of its maps."""
        batch = {name: self._prepare[name](column) for name, column in stored.items()}
        rows_of = None if self._rows is None else (self._rows, self.batch_size)
        if self._augment is not None and generator is not None:
            for name in self._images:
                batch[name] = self._augment(
                    batch[name], generator, mirrored=mirrored, rows_of=rows_of
                )
        if self._mixing is not None and generator is not None:
            batch = self._mixing(batch, generator, rows_of=rows_of)
        for name in self._channels_last:
            batch[name] = batch[name].contiguous(memory_format=torch.channels_last)
        return batch


def train_examples(dataset: Dataset, num: int, name: str | None = None) -> Tensor:
    """So many training examples (n, ...) of an input as a network sees them.

    The first ones of the first input; of the input of that `name` from all over the split, which
    may be sorted. Fewer of large images, for which fewer will do: such that they fit into 64 MB.
    """
    column = dataset.info.columns[name or dataset.info.inputs[0]]
    num = min(num, max(1, MOST_VALUES // math.prod(column.shape)), len(dataset.train))
    if name is None:
        stored = first_of(dataset.train, num)[dataset.info.inputs[0]]
    else:
        stored = all_of(dataset.train, name, torch.arange(num) * len(dataset.train) // num)
    return column.preparation(torch.device("cpu"))(stored)
