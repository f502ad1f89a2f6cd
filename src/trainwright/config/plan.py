"""The plan of a run: its config, read and checked once, as typed settings and parts to be built.

Imports no torch: what a wrong setting costs is no more than a moment.
"""

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from omegaconf import DictConfig

from trainwright.config.build import Section, plain, settings
from trainwright.config.compose import check_sections
from trainwright.config.conflicts import (
    check_federated,
    check_private,
    check_sharded,
    check_trainer,
)
from trainwright.config.from_environment import PLACES, check_environment, without_environment
from trainwright.config.validation import empty, unknown_key
from trainwright.engine.clock import Clock
from trainwright.engine.settings import (
    FederatedSettings,
    ForkSettings,
    RunSettings,
    TrainerSettings,
)
from trainwright.errors import ConfigError
from trainwright.targets import named_as_now

# What a target is given by name, if it has a parameter for it.
_OF_DATA = (
    "input_shape",
    "num_outputs",
    "num_classes",
    "vocab_size",
    "columns",
    "inputs",
    "train_inputs",
    "architecture",
)
GIVEN: Mapping[str, Sequence[str]] = {
    "data": ("learned", "whole", "known", "reads_tokens"),
    "model": _OF_DATA,
    "task": (*_OF_DATA, "model", "info", "seed", "train_targets"),
    "metrics": (*_OF_DATA, "model", "info", "seed"),
    "hooks": ("clock",),
    "optimizer": ("params", "fused"),
    "schedule": ("clock", "mode"),
    "logger": (),
}
LARGEST = (2 - 2**-23) * 2.0**127  # of the numbers of 32 bits


@dataclass(frozen=True)
class OptimizerPlan:
    """What moves a player. `others`: what Muon cannot move, if there is such a section."""

    main: Section
    others: Section | None
    l1: float


@dataclass(frozen=True)
class Plan:
    """All that a run is to be, but for what only its data can tell.

    `players`: the optimizers of those players that `optimizer.players` names.
    """

    config: Mapping[str, Any]  # as it was composed
    name: str
    overrides: Sequence[str]  # what was typed
    allow: Collection[str] | None  # the only targets that are built; None: whatever was typed
    seed: int
    run: RunSettings
    settings: TrainerSettings
    federated: FederatedSettings | None  # whose rounds are the steps
    fork: ForkSettings | None
    data: Section
    augment: Mapping[str, Any] | None
    balance: bool  # whether training shows every class equally often
    model: Section
    task: Section
    schedule: Section
    optimizer: OptimizerPlan
    players: Mapping[str, OptimizerPlan]
    loggers: Sequence[Section]
    metrics: Mapping[str, Section]  # of the user's own, beside the task's
    hooks: Mapping[str, Section]  # of the user's own

    @classmethod
    def of(
        cls,
        config: Mapping[str, Any],
        *,
        name: str = "run",
        overrides: Sequence[str] = (),
        allow: Collection[str] | None = None,
    ) -> "Plan":
        """Read a config and check all of it that can be checked before anything is built.

        `name`: what the run is called unless `run.name` says so.
        Raises ConfigError for a section that is missing or that nothing reads, for a wrong value,
        and for one from the environment that a run would have to keep.
        """
        if not isinstance(config, DictConfig) and "${" in json.dumps(config):
            config = DictConfig(config)  # a sweep keeps what comes from the environment so
        check_sections(config)
        values = named_as_now({str(key): plain(config[key]) for key in config})
        if isinstance(config, DictConfig):
            check_environment(config)
        _refuse_empty_places(values)
        run = settings(RunSettings, values.get("run"), key="run")
        trainer = settings(TrainerSettings, values["trainer"], key="trainer")
        fork, node = values.get("fork"), values.get("federated")
        rounds = None if node is None else settings(FederatedSettings, node, key="federated")
        check_trainer(trainer, has_length=rounds is not None)
        for key in ("optimizer", "schedule", "trainer", "data"):
            _check_numbers(values[key], key)
        data, augment, balance = _data(values["data"], allow)
        optimizer, players = _optimizers(values["optimizer"], allow)
        check_private(trainer, balance=balance, augment=augment)
        if rounds is not None:
            check_federated(trainer, balance=balance)
            trainer = replace(trainer, steps=rounds.rounds)
        check_sharded(trainer)
        task, metrics = _without(values["task"], "task", "metrics")
        return cls(
            config=config,
            name=(run.name or name).replace("/", "-"),
            overrides=overrides,
            allow=allow,
            seed=values["seed"],
            run=run,
            settings=trainer,
            federated=rounds,
            fork=None if fork is None else settings(ForkSettings, fork, key="fork"),
            data=data,
            augment=augment,
            balance=balance,
            model=Section("model", values["model"], GIVEN["model"], allow),
            task=Section("task", task, GIVEN["task"], allow),
            schedule=Section("schedule", values["schedule"], GIVEN["schedule"], allow),
            optimizer=optimizer,
            players=players,
            loggers=_loggers(values.get("logger"), allow),
            metrics=_named("task.metrics", metrics, GIVEN["metrics"], allow),
            hooks=_named("hooks", values.get("hooks"), GIVEN["hooks"], allow),
        )

    @cached_property
    def kept(self) -> DictConfig:
        """The config to be kept, resolved, but for where the run is, and who reads what it says.

        It may be moved, and others may go on with it.
        """
        kept = without_environment(DictConfig(self.config))
        kept.run.dir = None
        if "events" in kept.trainer:
            kept.trainer.events = None
        return kept

    @property
    def length_key(self) -> str:
        """What says how many steps the run has."""
        return "trainer.steps" if self.federated is None else "federated.rounds"

    def clock(self, num_examples: int, num_tokens: int = 0) -> Clock:
        """The clock of the run on so many training examples, of so many tokens each.

        Raises ValueError for a length in tokens where there are none.
        """
        options, federated = self.settings, self.federated
        size = options.batch_size
        return Clock.of_run(
            num_examples=num_examples,
            batch_size=size if federated is None else federated.examples_a_round(num_examples),
            epochs=options.epochs,
            steps=options.steps,
            tokens=options.tokens,
            num_tokens=num_tokens,
        )

    def optimizers(self, players: Iterable[str]) -> dict[str, OptimizerPlan]:
        """What moves each of these players. Raises ConfigError where another is named."""
        names = list(players)
        for name in self.players:
            if name not in names:
                raise unknown_key(f"optimizer.players.{name}", names)
        return {name: self.players.get(name, self.optimizer) for name in names}


def data_section(node: Mapping[str, Any], allow: Collection[str] | None = None) -> Section:
    """What makes the dataset that a section `data` describes, of which nothing else is asked."""
    return _data(named_as_now(dict(node)), allow)[0]


def _data(
    node: Mapping[str, Any], allow: Collection[str] | None
) -> tuple[Section, Mapping[str, Any] | None, bool]:
    """What makes the dataset, what augments its images, and whether its classes are balanced."""
    described, augment = _without(node, "data", "augment")
    balance = described.pop("balance", False)
    if not isinstance(balance, bool):
        raise ConfigError(f"data.balance={balance!r}: it must be true or false")
    section = Section("data", described, GIVEN["data"], allow)
    typed = next((name for name in GIVEN["data"] if name in described), None)
    if typed is not None and section.is_ours:
        raise ConfigError(f"data.{typed}: it is known when a run is opened again; leave it out")
    return section, augment, balance


def _optimizers(
    node: Mapping[str, Any], allow: Collection[str] | None
) -> tuple[OptimizerPlan, dict[str, OptimizerPlan]]:
    """What moves a player, and what moves those that `optimizer.players` names."""
    common, changes = _without(node, "optimizer", "players")
    players = {}
    for name, change in (changes or {}).items():
        if not isinstance(change, dict):
            raise ConfigError(
                f"optimizer.players.{name}={change!r}: it must be a section, such as {{lr: 1e-3}}"
            )
        for key in change:
            if key not in common:
                raise unknown_key(f"optimizer.players.{name}.{key}", list(common))
        players[str(name)] = _optimizer({**common, **change}, allow)
    return _optimizer(common, allow), players


def _optimizer(node: Mapping[str, Any], allow: Collection[str] | None) -> OptimizerPlan:
    main, others = _without(node, "optimizer", "others")
    l1 = main.pop("l1", 0.0)
    if not isinstance(l1, int | float) or l1 < 0:
        raise ConfigError(f"optimizer.l1={l1!r}: it must be a number, at least 0")
    given = GIVEN["optimizer"]
    second = None if others is None else Section("optimizer.others", others, given, allow)
    return OptimizerPlan(Section("optimizer", main, given, allow), second, float(l1))


def _loggers(node: Any, allow: Collection[str] | None) -> list[Section]:
    if node is not None and not isinstance(node, dict):
        raise ConfigError(f"logger={node!r}: it must be one of the group, such as tensorboard")
    return [
        Section(f"logger.{name}", inner if isinstance(inner, dict) else {}, GIVEN["logger"], allow)
        for name, inner in (node or {}).items()
    ]


def _named(
    key: str, node: Any, given: Sequence[str], allow: Collection[str] | None
) -> dict[str, Section]:
    """The objects of a section by name; none where there is no such section."""
    named = {} if node is None else node
    if not isinstance(named, dict) or not all(isinstance(inner, dict) for inner in named.values()):
        raise ConfigError(
            f"{key}={str(node)[:100]}: each of them is a section, {{mine: {{_target_: ...}}}}"
        )
    return {
        str(name): Section(f"{key}.{name}", inner, given, allow) for name, inner in named.items()
    }


def _without(
    node: Mapping[str, Any], key: str, name: str
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """A section, and the one in it that its target does not take."""
    rest = dict(node)
    inner = rest.pop(name, None)
    if inner is not None and not isinstance(inner, dict):
        raise ConfigError(f"{key}.{name}={inner!r}: it must be a section of keys, or null")
    return rest, inner


def _refuse_empty_places(values: Mapping[str, Any]) -> None:
    """Raise ConfigError for a folder without a name: an unset variable of a shell, most often."""
    for key in (*PLACES, "trainer.resume"):
        section, _, name = key.partition(".")
        node = values.get(section)
        place = node.get(name) if isinstance(node, dict) else None
        if isinstance(place, str) and not place.strip():
            raise empty(key)


def _check_numbers(value: Any, key: str) -> None:
    """Raise ConfigError for a number that is no number, or none of 32 bits."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_numbers(inner, f"{key}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_numbers(inner, f"{key}[{index}]")
    elif isinstance(value, float) and not abs(value) <= LARGEST:
        kind = "a finite number" if math.isnan(value) else f"at most {LARGEST:.2g}"
        raise ConfigError(f"{key}={value}: it must be {kind}")
