"""What moves a task, built from the config: an optimizer for each player, and the schedule."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import NamedTuple

from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.config.build import Section
from trainwright.config.plan import OptimizerPlan, Plan
from trainwright.engine.clock import Clock
from trainwright.engine.device.device import Placement
from trainwright.engine.optim.player_optimizer import PlayerOptimizer, decay_groups
from trainwright.engine.ranks.world import held
from trainwright.engine.schedule import Plateau, Schedule
from trainwright.errors import ConfigError
from trainwright.tasks.task import Objective


class Slower(NamedTuple):
    """Parameters that are trained at a share of the learning rate."""

    parameters: Collection[Tensor]
    factor: float


def build_optimizers(
    plan: Plan,
    players: Mapping[str, nn.Module],
    placement: Placement,
    slower: Slower | None = None,
) -> dict[str, PlayerOptimizer]:
    """One optimizer a player. Raises ConfigError."""
    return {
        name: _player_optimizer(players[name], wanted, placement, slower)
        for name, wanted in plan.optimizers(players).items()
    }


def _player_optimizer(
    player: nn.Module, wanted: OptimizerPlan, placement: Placement, slower: Slower | None
) -> PlayerOptimizer:
    parameters = [p for p in player.parameters() if p.requires_grad]
    factors = _factors(player)
    if slower is not None:
        for parameter in slower.parameters:
            factors[id(parameter)] = factors.get(id(parameter), 1.0) * slower.factor
    optimizers = []
    if wanted.others is not None:
        hidden = set(map(id, _hidden_weights(player)))
        rest = [p for p in parameters if id(p) not in hidden]
        parameters = [p for p in parameters if id(p) in hidden]
        if rest:
            optimizers.append(_torch_optimizer(rest, wanted.others, placement, factors))
    if parameters:
        optimizers.insert(0, _torch_optimizer(parameters, wanted.main, placement, factors))
    return PlayerOptimizer(player, optimizers, l1=wanted.l1)


def _hidden_weights(player: nn.Module) -> list[nn.Parameter]:
    """Weights of layers, the last of which is taken to be the output: that one is not hidden.

    A network that knows better has `hidden_weights`.
    """
    own = getattr(player, "hidden_weights", None)
    if own is not None:
        return list(own())
    return [p for p in player.parameters() if p.dim() >= 2][:-1]


def _factors(player: nn.Module) -> dict[int, float]:
    """The factor on the learning rate of a parameter, by its id, where a network has such."""
    own = getattr(player, "learning_rates", None)
    return {} if own is None else {id(p): factor for p, factor in own().items()}


def _torch_optimizer(
    parameters: list[nn.Parameter],
    wanted: Section,
    placement: Placement,
    factors: Mapping[int, float],
) -> Optimizer:
    weight_decay = wanted.node.get("weight_decay", 0.0)
    by_factor: dict[float, list[nn.Parameter]] = {}
    for parameter in parameters:
        by_factor.setdefault(factors.get(id(parameter), 1.0), []).append(parameter)
    # The first group's learning rate is the one that is logged: that of what learns fastest.
    groups, rates = [], []
    for factor, alike in sorted(by_factor.items(), key=lambda item: -item[0]):
        for group in decay_groups([held(p) for p in alike], weight_decay):
            groups.append(group)
            rates.append(factor)
    # The fused kernels are the fastest, where an optimizer has one and the user has not chosen.
    has_chosen = any(wanted.node.get(other) for other in ("foreach", "differentiable"))
    fused = None if has_chosen or placement.device.type == "mps" else True
    optimizer = wanted.build(Optimizer, {"params": groups, "fused": fused})
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if rate != 1:
            group["lr"] *= rate
    return optimizer


def build_schedule(plan: Plan, objective: Objective, clock: Clock) -> Schedule:
    """The schedule of a run of this length. Raises ConfigError."""
    options = plan.settings
    mode = "max" if objective.higher_is_better else "min"
    begin = round(clock.steps(options.schedule_from))
    end = max(begin + 1, round(clock.steps(options.schedule_until)))
    span = replace(clock, first_step=begin, total_steps=end - begin)
    schedule = plan.schedule.build(Schedule, {"clock": span, "mode": mode})
    if isinstance(schedule, Plateau) and clock.steps(options.evaluate_every) <= 0:
        raise ConfigError("schedule=plateau needs evaluations, and trainer.evaluate_every is 0")
    if end < clock.total_steps and schedule.factor(end) == 0:
        raise ConfigError(
            f"trainer.schedule_until={options.schedule_until}: the run goes on after that with a "
            "learning rate of 0, and would learn nothing\n"
            "  to stretch it over the whole run: trainer.schedule_until=100%\n"
            "  or, when a run goes on, begin another: schedule=constant optimizer.lr=1e-4"
        )
    return schedule
