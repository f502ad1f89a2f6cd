"""Several processes as a world: what they say to each other, by torch.distributed.

Messages go through gloo, whatever computes; gradients on CUDA through nccl.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from safetensors.torch import load, save
from torch import Tensor
from torch._C._distributed_c10d import PrefixStore, TCPStore
from torch.distributed import distributed_c10d

from trainwright.engine.ranks.draws import RowsOfDraws
from trainwright.engine.ranks.exchange import GradientExchange, NoteExchange
from trainwright.engine.ranks.world import Exchange, Message, World, noticing
from trainwright.seeds import derive_seed
from trainwright.stop_signals import STOP_SIGNALS

FOR_EVER = timedelta(days=30)  # until all are there and have their data: see `wait_at_most`


class Meeting(NamedTuple):
    """Where the ranks find each other. `listener`: a socket of rank 0's that listens already."""

    rank: int
    size: int
    local_rank: int
    address: str
    port: int
    listener: int | None = None


class Ranks(World):
    """One of several processes; `join` it, and `leave` it at the end."""

    def __init__(self, meeting: Meeting) -> None:
        self.rank, self.size = meeting.rank, meeting.size
        self.wants_listening = False  # of rank 0: after the step that it begins
        self._exchanges: dict[str, GradientExchange] = {}
        self._num_told = 0
        self._has_posted = False
        on_gpu = torch.cuda.is_available()
        if on_gpu:
            torch.cuda.set_device(meeting.local_rank)
        if meeting.address in ("127.0.0.1", "localhost"):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        with self._talking():
            self._store = TCPStore(
                meeting.address,
                meeting.port,
                meeting.size,
                is_master=meeting.rank == 0 and not _has_store(),
                timeout=timedelta(minutes=10),
                master_listen_fd=meeting.listener,
            )
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if on_gpu and dist.is_nccl_available() else "gloo",
                store=PrefixStore(_attempt(), self._store),
                rank=meeting.rank,
                world_size=meeting.size,
                timeout=FOR_EVER,
            )

    def wait_at_most(self, seconds: float) -> None:
        """See `World`."""
        distributed_c10d._set_pg_timeout(timedelta(seconds=seconds), dist.group.WORLD)

    def leave(self) -> None:
        """End what runs in threads of torch's."""
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()

    def begin_step(self, *, listen: bool) -> None:
        """Rank 0 knows whether it will have something to say after this step."""
        self.wants_listening = listen

    def exchange(self, player: str, parameters: Sequence[Tensor]) -> Exchange:
        """See `World`."""
        if self.is_sharded:
            return NoteExchange(self._flags, self._agree)
        if player not in self._exchanges:
            self._exchanges[player] = GradientExchange(parameters, self._flags, self._agree)
        return self._exchanges[player]

    def total(self, mine: Tensor) -> Tensor:
        """See `World`."""
        total = mine.clone()
        with noticing():
            dist.all_reduce(total)
        return total

    def drawing(
        self, num_rows: int, num_mine: int, seed: Sequence[int | str], device: torch.device
    ) -> contextlib.AbstractContextManager[object]:
        """See `World`."""
        own = derive_seed(*seed, "rank", self.rank)
        return RowsOfDraws(
            rank=self.rank,
            size=self.size,
            num_rows=num_rows,
            num_mine=num_mine,
            seed=own,
            device=device,
        )

    def tell(
        self, what: str, plain: Any = None, tensors: Mapping[str, Tensor] | None = None
    ) -> None:
        """See `World`."""
        self._put(what, plain, tensors, partial(dist.broadcast, src=0))
        self._num_told += 1

    def hear(self) -> Message:
        """See `World`."""
        message = self._taken(partial(dist.broadcast, src=0))
        self._num_told += 1
        return message

    def answer(self, plain: Any = None, tensors: Mapping[str, Tensor] | None = None) -> None:
        """See `World`."""
        self._put("", plain, tensors, partial(dist.send, dst=0))

    def answers(self) -> list[Message]:
        """See `World`."""
        return [self._taken(partial(dist.recv, src=rank)) for rank in range(1, self.size)]

    def _put(
        self, what: str, plain: Any, tensors: Mapping[str, Tensor] | None, put: Callable[..., Any]
    ) -> None:
        """A message is its length, and the bytes of a safetensors file."""
        values = {name: v.detach().cpu().contiguous() for name, v in (tensors or {}).items()}
        data = save(values, metadata={"message": json.dumps([what, plain])})
        with self._talking():
            put(torch.tensor([len(data)]))
            put(torch.frombuffer(bytearray(data), dtype=torch.uint8))

    def _taken(self, take: Callable[..., Any]) -> Message:
        with self._talking():
            length = torch.zeros(1, dtype=torch.int64)
            take(length)
            values = torch.empty(int(length), dtype=torch.uint8)
            take(values)
        data = values.numpy().tobytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        what, plain = json.loads(header["__metadata__"]["message"])
        return Message(what, plain, load(data))

    def look_up(self) -> bool:
        """See `World`."""
        with self._talking():
            if self.leads:
                if self.on_signal is not None and not self._has_posted and self._has("asked"):
                    self._has_posted = True
                    self.on_signal(int(self._store.get("asked")))
                return False
            if self.asked is not None and not self._has_posted:
                self._has_posted = True
                self._store.set("asked", str(self.asked))
            return self._has(f"cut/{self._num_told}")

    def cut_short(self) -> None:
        """See `World`."""
        with self._talking():
            self._store.set(f"cut/{self._num_told}", "")

    @contextlib.contextmanager
    def _talking(self) -> Iterator[None]:
        """Nothing of what is said is left half said."""
        before, self.is_talking = self.is_talking, True
        try:
            with noticing():
                yield
        finally:
            self.is_talking = before

    def _has(self, key: str) -> bool:
        return bool(self._store.check([key]))

    def _flags(self) -> list[float]:
        signals = [float(self.asked == number) for number in STOP_SIGNALS]
        return [float(self.leads and self.wants_listening), *signals]

    def _agree(self, sums: Sequence[float]) -> None:
        """All ranks get the same sums with the same turn of a step."""
        listen, *signals = sums
        self.listening |= listen > 0
        for number, count in zip(STOP_SIGNALS, signals, strict=True):
            if count > 0 and self.on_signal is not None:
                self.on_signal(number)


def _has_store() -> bool:
    """Whether torchrun's agent holds the store at that address for its ranks."""
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _attempt() -> str:
    """What tells this world from the one before, in a store that outlives it."""
    return os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
