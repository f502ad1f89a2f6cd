"""What moves a task, built from the config: an optimizer for each player, and the schedule."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.optim import Optimizer

from trainwright.config.build import build, plain, section
from trainwright.config.validation import unknown_key
from trainwright.engine.clock import Clock
from trainwright.engine.device.device import Placement
from trainwright.engine.optim.player_optimizer import PlayerOptimizer, decay_groups
from trainwright.engine.schedule import Plateau, Schedule
from trainwright.engine.settings import TrainerSettings
from trainwright.errors import ConfigError
from trainwright.tasks.task import Objective


class Slower(NamedTuple):
    """Parameters that are trained at a share of the learning rate."""

    parameters: Collection[Tensor]
    factor: float


def build_optimizers(
    config: Mapping[str, Any],
    players: Mapping[str, nn.Module],
    placement: Placement,
    allow: Collection[str] | None,
    slower: Slower | None = None,
) -> dict[str, PlayerOptimizer]:
    """One optimizer a player: the section `optimizer`, with what `optimizer.players` changes."""
    node, reserved = section(config, "optimizer", "players")
    changes = reserved["players"] or {}
    for name, change in changes.items():
        if name not in players:
            raise unknown_key(f"optimizer.players.{name}", list(players))
        if not isinstance(change, dict):
            raise ConfigError(
                f"optimizer.players.{name}={change!r}: it must be a section, such as {{lr: 1e-3}}"
            )
        for key in change:
            if key not in node:
                raise unknown_key(f"optimizer.players.{name}.{key}", list(node))
    return {
        name: _player_optimizer(player, {**node, **changes.get(name, {})}, placement, allow, slower)
        for name, player in players.items()
    }


def _player_optimizer(
    player: nn.Module,
    node: dict[str, Any],
    placement: Placement,
    allow: Collection[str] | None,
    slower: Slower | None,
) -> PlayerOptimizer:
    l1 = node.pop("l1", 0.0)
    if not isinstance(l1, int | float) or l1 < 0:
        raise ConfigError(f"optimizer.l1={l1!r}: it must be a number, at least 0")
    others = node.pop("others", None)
    parameters = [p for p in player.parameters() if p.requires_grad]
    optimizers = []
    if others is not None:
        hidden = set(map(id, _hidden_weights(player)))
        rest = [p for p in parameters if id(p) not in hidden]
        parameters = [p for p in parameters if id(p) in hidden]
        if rest:
            made = _torch_optimizer(rest, others, "optimizer.others", placement, allow, slower)
            optimizers.append(made)
    if parameters:
        made = _torch_optimizer(parameters, node, "optimizer", placement, allow, slower)
        optimizers.insert(0, made)
    return PlayerOptimizer(player, optimizers, l1=float(l1))


def _hidden_weights(player: nn.Module) -> list[nn.Parameter]:
    """Weights of layers, the last of which is taken to be the output: that one is not hidden."""
    return [p for p in player.parameters() if p.dim() >= 2][:-1]


def _torch_optimizer(
    parameters: list[nn.Parameter],
    node: dict[str, Any],
    key: str,
    placement: Placement,
    allow: Collection[str] | None,
    slower: Slower | None,
) -> Optimizer:
    weight_decay = node.get("weight_decay", 0.0)
    slow = set() if slower is None or slower.factor == 1 else set(map(id, slower.parameters))
    # The first group's learning rate is the one that is logged: that of what is new, if any is.
    groups = decay_groups([p for p in parameters if id(p) not in slow], weight_decay)
    groups += decay_groups([p for p in parameters if id(p) in slow], weight_decay)
    groups = [group for group in groups if group["params"]]
    # The fused kernels are the fastest, where an optimizer has one and the user has not chosen.
    has_chosen = any(node.get(other) for other in ("foreach", "differentiable"))
    fused = None if has_chosen or placement.device.type == "mps" else True
    facts = {"params": groups, "fused": fused}
    optimizer = build(Optimizer, node, key=key, facts=facts, allow=allow)
    for group in optimizer.param_groups:
        if slower is not None and id(group["params"][0]) in slow:
            group["lr"] *= slower.factor
    return optimizer


def build_schedule(
    config: Mapping[str, Any],
    options: TrainerSettings,
    objective: Objective,
    clock: Clock,
    allow: Collection[str] | None,
) -> Schedule:
    """The schedule of a run of this length. Raises ConfigError."""
    mode = "max" if objective.higher_is_better else "min"
    begin = round(clock.steps(options.schedule_from))
    end = max(begin + 1, round(clock.steps(options.schedule_until)))
    span = replace(clock, first_step=begin, total_steps=end - begin)
    facts = {"clock": span, "mode": mode}
    schedule = build(Schedule, plain(config["schedule"]), key="schedule", facts=facts, allow=allow)
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
