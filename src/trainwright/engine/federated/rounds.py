"""A round of federated averaging is a step: clients train, and the weights move to their mean.

McMahan et al. 2017, arXiv:1602.05629. With a pull towards the weights that a round began with
(FedProx: Li et al. 2020, arXiv:1812.06127), and with momentum of the mean (FedAvgM: Hsu, Qi and
Brown 2019, arXiv:1909.06335). Nothing of a round is kept but what it comes to: between two there
are the weights, the momentum, and the number of the round.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from trainwright.data.batches import Batches
from trainwright.engine.clock import Clock
from trainwright.engine.nonfinite import refused_move
from trainwright.engine.optim.player_optimizer import PlayerOptimizer
from trainwright.engine.schedule import Constant
from trainwright.engine.settings import FederatedSettings, TrainerSettings
from trainwright.engine.state import TrainState
from trainwright.engine.step import Metrics, Parts, global_norm, make_step, train_step
from trainwright.errors import NonFiniteError
from trainwright.seeds import derive_seed, generator_for


@dataclass(frozen=True)
class Client:
    """Who holds some of the training examples, and trains on these alone."""

    number: int
    train: Batches
    steps: int  # of one round


def client_seed(seed: int, number: int) -> int:
    """The seed from which the draws of a client derive, by that of its run."""
    return derive_seed(seed, "client", number)


@dataclass(frozen=True)
class Federation:
    """The clients of a run, and how they train. `held_out`: validation examples of each."""

    settings: FederatedSettings
    clients: Sequence[Client]
    held_out: Sequence[Batches]
    optimizers: Mapping[str, PlayerOptimizer]  # with which each client begins, without a memory

    def chosen(self, state: TrainState) -> list[Client]:
        """Who takes part in the round that comes."""
        generator = generator_for(state.seed, "round", state.step)
        order = torch.randperm(len(self.clients), generator=generator)
        numbers = order[: self.settings.num_chosen].sort().values
        return [self.clients[number] for number in numbers.tolist()]

    def step(self, state: TrainState, settings: TrainerSettings) -> dict[str, Tensor]:
        """Make one round; returns detached tensors to be logged, means over its clients.

        Raises NonFiniteError before anything has changed.
        """
        return make_step(_Round(self, state, settings), state.task, state.step, ())

    def train(
        self, client: Client, state: TrainState, settings: TrainerSettings, start: Sequence[Tensor]
    ) -> dict[str, Tensor]:
        """Let a client train from the weights as they are; returns the means of what it saw.

        `start`: these weights, to which FedProx pulls. The learning rate is that of the round.
        """
        num, size = client.train.num_examples, client.train.batch_size
        clock = Clock(num, size, client.steps * state.clock.total_steps)
        factor = state.schedule.factor(state.step) * state.recovery.lr_scale
        local = replace(
            state,
            rounds=None,
            averaged=None,
            optimizers=dict(self.optimizers),
            clock=clock,
            schedule=Constant(clock=clock),
            recovery=replace(state.recovery, lr_scale=factor),
            seed=client_seed(state.seed, client.number),
            step=client.steps * state.step,
        )
        for optimizer in self.optimizers.values():
            optimizer.load_state_dict({})
            optimizer.pull_to(start, self.settings.proximal)
        seen: dict[str, Tensor] = {}
        for _ in range(client.steps):
            try:
                metrics = train_step(local, client.train.at(local.step), settings)
            except NonFiniteError as error:
                where = f"round {state.step + 1}, client {client.number + 1}"
                raise NonFiniteError(f"{where}: {error}") from error
            seen = {k: seen.get(k, 0) + v / client.steps for k, v in metrics.items()}
            local.step += 1
        return seen

    def __str__(self) -> str:
        sizes = [client.train.num_examples for client in self.clients]
        wanted = self.settings
        split = f"dirichlet, alpha {wanted.alpha:g}" if wanted.split == "dirichlet" else "iid"
        options = {"proximal": wanted.proximal, "server momentum": wanted.momentum}
        more = "".join(f", {name} {value:g}" for name, value in options.items() if value)
        return (
            f"{len(sizes)} clients of {min(sizes):,} to {max(sizes):,} examples ({split}), "
            f"{wanted.num_chosen} in a round, epochs each: {wanted.epochs:g}{more}"
        )


class _Round:
    """The backend of a round: its gradient is how far the weights are from the clients' mean."""

    def __init__(
        self, federation: Federation, state: TrainState, settings: TrainerSettings
    ) -> None:
        self._federation, self._state, self._settings = federation, state, settings
        self._buffers: list[tuple[Tensor, Tensor]] = []  # each with what it is to hold

    def gradients(self, player: str, parts: Parts) -> tuple[list[Tensor], Metrics]:
        """The weights less their mean, over clients by their examples; what these saw.

        The floating-point buffers, such as statistics of batch normalisation, get their mean too;
        of counts the largest counts.
        """
        state, chosen = self._state, self._federation.chosen(self._state)
        weights = state.optimizers[player].parameters
        held = [*weights, *state.task.buffers()]
        start = [tensor.detach().clone() for tensor in held]
        means = [_zeros(tensor) for tensor in held]
        total = sum(client.train.num_examples for client in chosen)
        seen: dict[str, Tensor] = {}
        try:
            for client in chosen:
                told = self._federation.train(client, state, self._settings, start[: len(weights)])
                share = client.train.num_examples / total
                seen = {name: seen.get(name, 0) + value * share for name, value in told.items()}
                _add(means, held, share)
                _put(start, held)
        finally:
            _put(start, held)
        num = len(weights)
        self._buffers = list(zip(held[num:], means[num:], strict=True))
        behind = [w.to(m.dtype) - m for w, m in zip(start[:num], means[:num], strict=True)]
        return [d.to(w.dtype) for d, w in zip(behind, weights, strict=True)], seen

    def decide(self, player: str, loss: Tensor, grads: list[Tensor]) -> tuple[float, Tensor]:
        norm = global_norm(grads)
        if not torch.isfinite(loss + norm):
            raise refused_move(self._state, player, {}, loss, grads, norm)
        return norm, torch.tensor(norm)

    def clip(self, grads: list[Tensor], norm: float) -> None:
        """Each client has clipped its own."""

    def apply(self, player: str, grads: list[Tensor]) -> None:
        server, clients = self._state.optimizers[player], self._federation.optimizers[player]
        server.step(grads, 1.0)
        server.learning_rate = clients.learning_rate  # that is the one which is logged
        with torch.no_grad():
            for buffer, mean in self._buffers:
                buffer.copy_(mean)

    def finish(self) -> None:
        if self._state.averaged is not None:
            self._state.averaged.update(self._state.step)


def _zeros(tensor: Tensor) -> Tensor:
    """Where the mean of a tensor is added up: in float64 where the device has that."""
    wide = torch.float32 if tensor.device.type == "mps" else torch.float64
    return torch.zeros_like(tensor, dtype=wide if tensor.is_floating_point() else None)


@torch.no_grad()
def _add(means: Sequence[Tensor], held: Sequence[Tensor], share: float) -> None:
    for mean, tensor in zip(means, held, strict=True):
        if tensor.is_floating_point():
            mean.add_(tensor.to(mean.dtype), alpha=share)
        else:
            torch.maximum(mean, tensor, out=mean)


@torch.no_grad()
def _put(values: Sequence[Tensor], tensors: Sequence[Tensor]) -> None:
    for value, tensor in zip(values, tensors, strict=True):
        tensor.copy_(value)


def server_optimizer(
    client: PlayerOptimizer, player: torch.nn.Module, momentum: float
) -> PlayerOptimizer:
    """What moves a player to the mean: SGD with a learning rate of 1, which is all the way."""
    server = torch.optim.SGD(client.parameters, lr=1.0, momentum=momentum)
    return PlayerOptimizer(player, [server], l1=0.0)
