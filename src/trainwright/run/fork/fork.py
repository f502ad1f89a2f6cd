"""A run that begins with the weights of another: what it takes, begins anew, and leaves as it is.

It is a new run in all else: its optimizers, its schedule and its step begin at the beginning.
"""

import dataclasses
import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trainwright.data.columns import Classes, Labels
from trainwright.data.dataset import DataInfo, Dataset
from trainwright.engine.checkpoint.checkpoint import under
from trainwright.engine.settings import ForkSettings
from trainwright.errors import CheckpointError, ConfigError
from trainwright.run.fork.lineage import Lineage, Part
from trainwright.run.fork.matching import MOST_NAMED, in_short, layer_of, layers_of, match
from trainwright.run.resume.recover import read
from trainwright.runs.header import check_header
from trainwright.tasks.task import Task
from trainwright.wording import nearest, printable


@dataclass
class Fork:
    """A fork that is being put together, or put together again because it goes on."""

    settings: ForkSettings
    facts: DataInfo  # about the data, as the weights have seen it
    lineage: Lineage
    tensors: Mapping[str, Tensor] | None  # of the other run; None where this one goes on
    architecture: Mapping[str, Any] | None = None  # of the network, where it is to be the same

    def normalised(self, dataset: Dataset) -> Dataset:
        """The dataset, to be normalised as that which the weights were learned on.

        Another number of channels, or other features of a table, are normalised their own way.
        """
        info = dataset.info
        for name, column in info.columns.items():
            theirs = self.facts.columns.get(name)
            if theirs is not None and column.is_like(theirs):
                info = info.with_column(name, column.normalised_as(theirs))
        return dataclasses.replace(dataset, info=info)

    def begin(self, task: Task, info: DataInfo, build: Callable[[DataInfo], Task]) -> None:
        """Give a new task the other run's weights where they fit, and freeze what is to be.

        `build` makes such a task for other facts. Raises ConfigError where nothing fits, or where
        `freeze` means nothing, too much, or what begins anew.
        """
        network = dict(_tensors(task))
        if self.tensors is not None:
            theirs = _of_players(task, self.tensors)
            by_class = self._layers_by_class(network, info, build)
            self.lineage = self._take(network, theirs, by_class)
        self._freeze(task)
        if self.tensors is not None:
            parts = _parts(task, self.lineage, self.settings.old_lr)
            self.lineage = dataclasses.replace(self.lineage, parts=[*parts, *self.lineage.parts])

    def old_parameters(self, task: Task) -> list[nn.Parameter]:
        """What was taken and is trained further, at `old_lr` times the learning rate."""
        taken = set(self.lineage.taken)
        return [p for name, p in _parameters(task) if p.requires_grad and layer_of(name) in taken]

    def _layers_by_class(
        self, network: Mapping[str, Tensor], info: DataInfo, build: Callable[[DataInfo], Task]
    ) -> set[str]:
        """The layers whose rows are classes, where these are other ones, however many.

        They are those that would be larger with one more class.
        """
        if self.facts.class_names == info.class_names or not info.class_names:
            return set()
        classes = info.target_column
        assert isinstance(classes, Classes | Labels)
        more = dataclasses.replace(classes, names=(*classes.names, "one more"))
        larger = info.with_column(info.targets[0], more)
        with torch.random.fork_rng(devices=[]):
            shapes = {name: tensor.shape for name, tensor in _tensors(build(larger))}
        return {layer_of(name) for name in network if shapes.get(name) != network[name].shape}

    @torch.no_grad()
    def _take(
        self, network: Mapping[str, Tensor], theirs: Mapping[str, Tensor], by_class: set[str]
    ) -> Lineage:
        mine, others = layers_of(network), layers_of(theirs)
        found = match(mine, others)
        taken = {name: other for name, other in found.taken.items() if name not in by_class}
        if not taken:
            raise ConfigError(
                f"fork: no layer of {printable(self.lineage.name)} fits this network\n"
                f"  it has {_sizes(others)}; here are {_sizes(mine)}\n"
                "  keep its model, or train from the beginning: train model=..."
            )
        for name, other in taken.items():
            for leaf, tensor in mine[name].items():
                tensor.copy_(others[other][leaf])
        left = [_left(others, found.left)] if found.left else []
        return dataclasses.replace(self.lineage, taken=list(taken), parts=left)

    def _freeze(self, task: Task) -> None:
        """Take parameters out of training, and hold the statistics of their layers."""
        named = dict(_parameters(task))
        frozen = {n for pattern in self.settings.freeze for n in _meant(pattern, named)}
        anew = [n for n in frozen if layer_of(n) not in self.lineage.taken]
        if anew:
            raise ConfigError(
                f"fork.freeze: {min(anew)} begins anew, and would stay as it was drawn\n"
                f"  taken were: {in_short(self.lineage.taken, _layer_names(named))}"
            )
        for name in frozen:
            named[name].requires_grad_(False)
        for player, module in task.players.items():
            if not any(p.requires_grad for p in module.parameters()):
                raise ConfigError(
                    f"fork.freeze: nothing of {player} is left to learn\n  freeze less of it: "
                    f"{', '.join(_layer_names(dict(module.named_parameters()))[:MOST_NAMED])}"
                )
        if self.settings.old_lr != 1 and not self.old_parameters(task):
            raise ConfigError(
                f"old_lr={self.settings.old_lr:g} has no effect: all that was taken is frozen\n"
                "  leave one of them out"
            )
        moving = {layer_of(name) for name in named if name not in frozen}
        held = {layer_of(name) for name in frozen} - moving
        _hold(task, lambda name: layer_of(name) in held)


def architecture_of(metadata: Mapping[str, Any], model: Mapping[str, Any]) -> Any:
    """What another run remembers of its network; None where `model` names another one."""
    theirs = metadata["config"].get("model")
    is_same = all(theirs.get(key) == model.get(key) for key in ("_target_", "path"))
    return metadata.get("architecture", {}) if is_same else None


def fork_of(
    wanted: ForkSettings, again: Mapping[str, Any] | None, model: Mapping[str, Any]
) -> Fork:
    """The other run that a run begins with, whose own `model` is this section.

    `again`: the metadata of a checkpoint of this run, which goes on and does not need the other.
    Raises CheckpointError where the other one is not there any more, damaged, or another.
    """
    if again is not None:
        return Fork(
            wanted,
            DataInfo.of_plain(again["data"]),
            Lineage.stored(again.get("lineage")),
            None,
            again.get("architecture", {}),
        )
    path = Path(wanted.checkpoint)
    if not path.is_file():
        raise CheckpointError(f"fork.checkpoint={path}: the run to begin with is not there")
    if check_header(path).labels.get("sha256") != wanted.sha256:
        raise CheckpointError(
            f"{path} is no longer the checkpoint that the fork was to begin with\n"
            "  the run has gone on; fork it as it is now: runs fork RUN"
        )
    found = read(path)
    try:
        facts = DataInfo.of_plain(found.metadata.get("data"))
    except ValueError as error:
        raise CheckpointError(f"{path} lacks the facts about its data\n  {error}") from error
    lineage = Lineage.of(found, wanted.sha256)
    known = architecture_of(found.metadata, model)
    return Fork(wanted, facts, lineage, found.tensors, known)


def _tensors(task: Task) -> Iterator[tuple[str, Tensor]]:
    """Every tensor of the players: `features.0.weight`, `generator.stem.weight` of several."""
    for player, module in task.players.items():
        for name, tensor in module.state_dict().items():
            yield _full(task, player, name), tensor


def _parameters(task: Task) -> Iterator[tuple[str, nn.Parameter]]:
    for player, module in task.players.items():
        for name, parameter in module.named_parameters():
            yield _full(task, player, name), parameter


def _full(task: Task, player: str, name: str) -> str:
    return f"{player}.{name}" if len(task.players) > 1 else name


def _of_players(task: Task, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of another run's checkpoint by the names that they would have in this task.

    Averaged where the run has averaged: those are what it was evaluated with.
    """
    found: dict[str, Tensor] = {}
    places = {id(module): name for name, module in task.named_modules()}
    for player, module in task.players.items():
        theirs = under(f"task.{places[id(module)]}", dict(tensors))
        theirs |= under(f"averaged.{player}", dict(tensors))
        found |= {_full(task, player, name): tensor for name, tensor in theirs.items()}
    return found


def _meant(pattern: str, named: Mapping[str, nn.Parameter]) -> set[str]:
    """The parameters that a name, the beginning of one, or one with wildcards stands for."""
    prefixes = {
        name: [".".join(name.split(".")[:n]) for n in range(1, name.count(".") + 2)]
        for name in named
    }
    found = {name for name in named if any(fnmatch.fnmatchcase(p, pattern) for p in prefixes[name])}
    if not found:
        known = list(dict.fromkeys(prefix for parts in prefixes.values() for prefix in parts))
        raise ConfigError(
            f"freeze={printable(pattern)}: no layer has such a name{nearest(pattern, known)}\n"
            f"  there are: {', '.join(_layer_names(named)[: 2 * MOST_NAMED])}"
        )
    return found


def _hold(task: Task, is_held: Callable[[str], bool]) -> None:
    """Keep buffers from being learned: their layers always compute as they do in evaluation."""
    for player, module in task.players.items():
        for name, inner in module.named_modules():
            buffers = [buffer for buffer, _ in inner.named_buffers(recurse=False)]
            if buffers and is_held(_full(task, player, f"{name}.{buffers[0]}".removeprefix("."))):
                # Whoever calls train() on the task calls it on this one too.
                inner.register_forward_pre_hook(_as_in_evaluation)


def _as_in_evaluation(module: nn.Module, arguments: Any) -> None:
    module.eval()


def _parts(task: Task, lineage: Lineage, old_lr: float) -> list[Part]:
    """What has become of every parameter, like with like."""
    taken, names = set(lineage.taken), _layer_names(dict(_parameters(task)))
    further = "taken" if old_lr == 1 else f"taken, lr x {old_lr:g}"
    parts: dict[str, dict[str, int]] = {"taken, frozen": {}, further: {}, "begins anew": {}}
    for name, parameter in _parameters(task):
        layer = layer_of(name)
        kind = "begins anew" if layer not in taken else further
        kind = kind if parameter.requires_grad else "taken, frozen"
        parts[kind][layer] = parts[kind].get(layer, 0) + parameter.numel()
    return [
        Part(kind, sum(layers.values()), in_short(layers, names))
        for kind, layers in parts.items()
        if layers
    ]


def _left(others: Mapping[str, Mapping[str, Tensor]], left: Sequence[str]) -> Part:
    numbers = sum(t.numel() for name in left for t in others[name].values())
    return Part("left behind", numbers, in_short(left, list(others)))


def _layer_names(named: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(map(layer_of, named)))


def _sizes(layers: Mapping[str, Mapping[str, Tensor]]) -> str:
    """The first layer of each, by the shape of its largest tensor."""
    name, layer = next(iter(layers.items()), ("nothing", {}))
    shape = max((tensor.shape for tensor in layer.values()), key=len, default=())
    return f"{printable(name)[:60]} {'x'.join(map(str, shape))}"
