"""Gradients are added up over the ranks while the backward pass still makes the others.

A hook of each parameter puts its gradient into a bucket, and a bucket that is full is sent at once
(Li et al. 2020, arXiv:2006.15704, section 3.2). All ranks send them in the same order. What a turn
has to log, and what the ranks have to agree on, goes with the first bucket.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from trainwright.engine.ranks.world import noticing

FIRST_BYTES, MOST_BYTES = 2**20, 25 * 2**20  # of a bucket; the first one is soon under way
ROOM = 32  # numbers that a turn logs, without making room for more


@dataclass
class _Bucket:
    flat: Tensor
    missing: int = 0
    members: list[int] = field(default_factory=list)  # of the parameters, by number
    work: Any = None


class GradientExchange:
    """Of one player, whose parameters stay what they are. `flags` are added up with every turn."""

    def __init__(
        self,
        parameters: Sequence[Tensor],
        flags: Callable[[], Sequence[float]],
        agreed: Callable[[Sequence[float]], None],
    ) -> None:
        self._parameters = list(parameters)
        self._flags, self._agreed = flags, agreed
        self._num_flags = len(flags())
        self._is_armed = False
        self._earlier: Sequence[Tensor] = ()
        self._names: list[str] = []
        self._make_room(ROOM)
        for number, parameter in enumerate(self._parameters):
            parameter.register_hook(partial(self._arrived, number))  # type: ignore[no-untyped-call]

    def begin(self, earlier: Sequence[Tensor], notes: Mapping[str, Tensor]) -> None:
        """See `world.Exchange`."""
        self._names, self._earlier = list(notes), earlier
        if len(notes) > self._room:
            self._make_room(2 * len(notes))
        for bucket in self._buckets:
            bucket.missing, bucket.work = len(bucket.members), None
        self._has_arrived = [False] * len(self._parameters)
        self._num_sent = 0
        own = self._notes
        own[: self._num_flags].copy_(torch.tensor(self._flags(), dtype=own.dtype))
        for place, value in zip(own[self._num_flags :], notes.values(), strict=False):
            place.copy_(value)
        self._is_armed = True

    def end(self, gradients: Sequence[Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
        """See `world.Exchange`. The gradients are overwritten by the next turn of the player."""
        for number, gradient in enumerate(gradients):
            if not self._has_arrived[number]:  # the loss does not depend on it
                self._arrived(number, gradient)
        self._is_armed = False
        with noticing():
            for bucket in self._buckets:
                bucket.work.wait()
        sums = self._notes.clone()  # it is read later, if at all
        self._agreed(sums[: self._num_flags].tolist())
        noted = dict(zip(self._names, sums[self._num_flags :].unbind(), strict=False))
        return list(self._views), noted

    def _arrived(self, number: int, gradient: Tensor) -> None:
        if not self._is_armed:
            return
        view = self._views[number]
        if self._earlier:
            torch.add(self._earlier[number], gradient, out=view)
        else:
            view.copy_(gradient)
        self._has_arrived[number] = True
        self._buckets[self._bucket_of[number]].missing -= 1
        while self._num_sent < len(self._buckets) and not self._buckets[self._num_sent].missing:
            bucket = self._buckets[self._num_sent]
            with noticing():
                bucket.work = dist.all_reduce(bucket.flat, async_op=True)
            self._num_sent += 1

    def _make_room(self, room: int) -> None:
        """Lay out the buckets: the last parameters first, as their gradients come."""
        self._room = room
        self._buckets: list[_Bucket] = []
        self._bucket_of = [0] * len(self._parameters)
        open_bytes, kind = 0, None
        for number in reversed(range(len(self._parameters))):
            parameter = self._parameters[number]
            most = FIRST_BYTES if len(self._buckets) == 1 else MOST_BYTES
            if kind != (parameter.dtype, parameter.device) or open_bytes + parameter.nbytes > most:
                self._buckets.append(_Bucket(torch.empty(0)))
                open_bytes, kind = 0, (parameter.dtype, parameter.device)
            self._buckets[-1].members.append(number)
            self._bucket_of[number] = len(self._buckets) - 1
            open_bytes += parameter.nbytes
        self._views = [torch.empty(0)] * len(self._parameters)
        for place, bucket in enumerate(self._buckets):
            self._lay_out(bucket, self._num_flags + room if place == 0 else 0)
        self._notes = self._buckets[0].flat[: self._num_flags + room]

    def _lay_out(self, bucket: _Bucket, begin: int) -> None:
        """Give each gradient a place in the bucket, in its parameter's memory layout."""
        own = [self._parameters[number] for number in bucket.members]
        total = begin + sum(parameter.numel() for parameter in own)
        bucket.flat = torch.zeros(total, dtype=own[0].dtype, device=own[0].device)
        for number, parameter in zip(bucket.members, own, strict=True):
            place = bucket.flat[begin : begin + parameter.numel()]
            is_dense = torch.empty_like(parameter).stride() == parameter.stride()
            self._views[number] = (
                place.as_strided(parameter.shape, parameter.stride(), begin)
                if is_dense
                else place.view(parameter.shape)
            )
            begin += parameter.numel()


class NoteExchange:
    """Of a player whose gradients are sums already: adds up what a turn logs, and the flags."""

    def __init__(
        self, flags: Callable[[], Sequence[float]], agreed: Callable[[Sequence[float]], None]
    ) -> None:
        self._flags, self._agreed = flags, agreed
        self._earlier: Sequence[Tensor] = ()
        self._notes: Mapping[str, Tensor] = {}

    def begin(self, earlier: Sequence[Tensor], notes: Mapping[str, Tensor]) -> None:
        """See `world.Exchange`."""
        self._earlier, self._notes = earlier, notes

    def end(self, gradients: Sequence[Tensor]) -> tuple[list[Tensor], dict[str, Tensor]]:
        """See `world.Exchange`."""
        flags, like = self._flags(), gradients[0]
        notes = [
            like.new_tensor(flags),
            *(note.reshape(1).to(like) for note in self._notes.values()),
        ]
        sums = torch.cat(notes)
        with noticing():
            dist.all_reduce(sums)
        self._agreed(sums[: len(flags)].tolist())
        noted = dict(zip(self._notes, sums[len(flags) :].unbind(), strict=True))
        total = list(gradients)
        if self._earlier:
            torch._foreach_add_(total, list(self._earlier))
        return total, noted
