"""Weights and all that goes with them, shared out over the ranks: torch's FSDP2.

Each rank has so many rows of each weight, of its gradient, its average and what its optimizer keeps
(Rajbhandari et al. 2020, arXiv:1910.02054). The weights of a block are put together while it
computes (`torch.distributed.fsdp.fully_shard`). What looks at whole networks between the steps
(evaluations, samples) has them whole from `open` to `close`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, Shard

from trainwright.engine.checkpoint.tensor_file import digest
from trainwright.engine.optim.averages import AveragedTask
from trainwright.engine.ranks.world import RankLostError, World, held, noticing
from trainwright.errors import ConfigError
from trainwright.tasks.task import Task

SMALLEST_BLOCK = 2**16  # weights; a smaller one takes longer to put together than it saves


class Shards:
    """What a rank has of a task and its averages. They must not have been sharded before."""

    def __init__(self, world: World, task: Task, averaged: AveragedTask | None) -> None:
        self._world = world
        world.is_sharded = True
        weights = {name: t.detach().cpu().contiguous() for name, t in task.state_dict().items()}
        self.begun_with = digest(weights)  # of which each rank keeps only a part
        device = next(task.parameters()).device.type
        group = dist.group.WORLD
        assert group is not None
        self._mesh = DeviceMesh.from_group(group, device)
        copies = {} if averaged is None else averaged.players
        self._roots: list[FSDPModule] = []
        self._inner: list[FSDPModule] = []
        for network in (*task.players.values(), *copies.values()):
            self._shard(network)
        if averaged is not None:
            averaged.take_hold()
        self._is_open = False
        self._parameters = {
            player: [p for p in network.parameters() if p.requires_grad]
            for player, network in task.players.items()
        }
        named: dict[str, Tensor] = {f"task.{k}": v for k, v in task.state_dict().items()}
        for player, copy in copies.items():
            named |= {f"averaged.{player}.{k}": v for k, v in copy.state_dict().items()}
        for player, network in task.players.items():
            named |= {f"optimizer.{player}.{k}": p for k, p in network.named_parameters()}
        self._sharded = {name: t for name, t in named.items() if isinstance(t, DTensor)}

    @contextmanager
    def computing(self) -> Iterator[None]:
        """Raise ConfigError for a task that uses weights where they have not been put together."""
        try:
            yield
        except RuntimeError as error:
            if "DTensor" not in str(error):
                raise
            if not self._world.leads:  # which says it for all
                raise RankLostError("rank 0 ends, too") from error
            raise ConfigError(
                "trainer.shard=true: this task uses parts of its network, which has its weights "
                "together only while all of it computes\n  leave trainer.shard out"
            ) from error

    def gradients(self, player: str, loss: Tensor) -> list[Tensor]:
        """Of the sum of all ranks' losses, for what this rank holds of the player's parameters."""
        with noticing(those_of_others=True):
            loss.backward()  # type: ignore[no-untyped-call]
        found = []
        for parameter in self._parameters[player]:
            gradient, parameter.grad = parameter.grad, None
            mine = held(parameter)
            found.append(torch.zeros_like(mine) if gradient is None else held(gradient))
        return found

    def norm(self, gradients: list[Tensor]) -> float:
        """The Euclidean norm of what all ranks hold of them together."""
        squares = torch.stack([g.square().sum() for g in gradients]).sum()
        return float(self._world.total(squares).sqrt())

    def open(self) -> None:
        """Let each rank have all weights; rank 0 tells the others, who must listen."""
        if self._is_open:
            return
        if self._world.leads:
            self._world.tell("open")
        self._is_open = True
        with noticing():
            for module in (*self._roots, *self._inner):
                module.set_reshard_after_forward(False, recurse=False)
                module.unshard()

    def close(self) -> None:
        """Let go of the weights of others."""
        if not self._is_open:
            return
        self._is_open = False
        for module in (*self._roots, *self._inner):
            module.reshard()
        for module in self._inner:
            module.set_reshard_after_forward(True, recurse=False)

    def spread(self, name: str, value: Tensor) -> Tensor:
        """What an optimizer keeps of a parameter, as what it is a part of."""
        owner = self._owner(name)
        if owner is None or value.dim() == 0:
            return value
        return self._part_of(owner, value)

    def gathered(self, named: Mapping[str, Tensor]) -> "Gathered":
        """On rank 0: whole tensors on the CPU, each put together when it is asked for."""
        return Gathered(named, partial(self._world.tell, "gather"), self.put_together)

    @torch.no_grad()
    def put_together(self, part: Tensor) -> Tensor:
        """The whole of which each rank has a part; all must ask for it."""
        assert isinstance(part, DTensor)
        with noticing():
            whole: Tensor = part.full_tensor()
        return whole

    @torch.no_grad()
    def load(self, prefix: str, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
        """Give a module what `cut` has made of the whole tensors of its state."""
        for name, mine in module.state_dict().items():
            held(mine).copy_(held(self.cut(f"{prefix}.{name}", tensors[name])))

    def cut(self, name: str, whole: Tensor) -> Tensor:
        """This rank's part of a tensor of a checkpoint, of which rank 0 tells the others.

        What is not sharded, and what has been cut already, stays as it is.
        """
        if isinstance(whole, DTensor):
            return whole
        if self._world.leads:
            self._world.tell("piece", name, {name: whole})
        like = self._sharded.get(name, self._owner(name))
        if like is None or whole.shape != like.shape:
            return whole
        parts = whole.chunk(self._world.size)
        mine = parts[self._world.rank] if self._world.rank < len(parts) else whole[:0]
        return self._part_of(like, mine.to(like.device, copy=True))

    def _owner(self, name: str) -> Tensor | None:
        """The sharded parameter that a part of an optimizer's state is of."""
        return self._sharded.get(name.rpartition(".")[0]) if name.startswith("optimizer.") else None

    def _part_of(self, like: Tensor, mine: Tensor) -> DTensor:
        return DTensor.from_local(
            mine, self._mesh, [Shard(0)], run_check=False, shape=like.shape, stride=like.stride()
        )

    def _shard(self, network: nn.Module) -> None:
        for parameter in network.parameters():
            parameter.data = parameter.data.contiguous()
        for block in blocks(network):
            self._inner.append(fully_shard(block, mesh=self._mesh, reshard_after_forward=True))
        # All that is left is needed until the way back has begun.
        self._roots.append(fully_shard(network, mesh=self._mesh, reshard_after_forward=False))
        for module in (*self._inner, *self._roots):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)


class Gathered(Mapping[str, Tensor]):
    """Tensors by name, of which there is one at a time. `known` has their shapes and types."""

    def __init__(
        self,
        named: Mapping[str, Tensor],
        tell: Callable[[str], None],
        put_together: Callable[[Tensor], Tensor],
    ) -> None:
        self._named, self._tell, self._put_together = named, tell, put_together
        self.known: Mapping[str, Tensor] = {
            name: torch.empty(t.shape, dtype=t.dtype, device="meta") for name, t in named.items()
        }

    def __getitem__(self, name: str) -> Tensor:
        value = self._named[name]
        if isinstance(value, DTensor):
            self._tell(name)
            value = self._put_together(value)
        return value.detach().cpu().contiguous()

    def __iter__(self) -> Iterator[str]:
        return iter(self._named)

    def __len__(self) -> int:
        return len(self._named)


def blocks(network: nn.Module) -> list[nn.Module]:
    """The modules that a network repeats, the inner ones first, unless others have their weights.

    Such are those of one class in an `nn.ModuleList` or `nn.Sequential` that have layers in them,
    and at least `SMALLEST_BLOCK` weights.
    """
    found: list[nn.Module] = []
    for module in network.modules():
        if not isinstance(module, nn.ModuleList | nn.Sequential):
            continue
        children = [child for child in module.children() if _has_layers(child)]
        kinds = [type(child) for child in children]
        found += [child for child in children if kinds.count(type(child)) > 1]
    owners: dict[int, int] = {}
    for module in network.modules():
        for parameter in module.parameters(recurse=False):
            owners[id(parameter)] = owners.get(id(parameter), 0) + 1
    alone = (b for b in found if all(owners[id(p)] == 1 for p in b.parameters()))
    return list(dict.fromkeys(alone))[::-1]


def _has_layers(module: nn.Module) -> bool:
    """Whether it computes by layers of its own, and has weights enough to be worth it."""
    if isinstance(module, nn.ModuleList | nn.ModuleDict):
        return False
    num_weights = sum(parameter.numel() for parameter in module.parameters())
    return num_weights >= SMALLEST_BLOCK and any(True for _ in module.children())
