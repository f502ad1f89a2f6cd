"""Build what a config describes around stand-ins, so that mistakes are found before data is read.

Types and names are checked before this. What only a constructor knows (a dropout of 2, a warm-up
longer than the run) is asked of the constructors themselves: the network and its task on torch's
meta device, which allocates nothing, the optimizers with tiny layers to move, the schedule with the
shortest epochs and with the longest. Only trainwright's and torch's own classes are built this way:
those of a user may do anything when they are made.
"""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from trainwright.config.build import plain, section, settings
from trainwright.config.stored import stored_config, targets_in
from trainwright.data.dataset import DataInfo
from trainwright.data.images.augment import make_augment
from trainwright.engine.checkpoint.checkpoint import under
from trainwright.engine.checkpoint.fitting import Room, check_fit
from trainwright.engine.checkpoint.metadata import data_info
from trainwright.engine.clock import Clock
from trainwright.engine.device.device import place
from trainwright.engine.settings import TrainerSettings
from trainwright.errors import CheckpointError, ConfigError
from trainwright.hooks.early_stop import early_stop
from trainwright.run.assemble.assemble import build_task, check_durations
from trainwright.run.assemble.optimization import build_optimizers, build_schedule
from trainwright.run.resume.recover import read
from trainwright.targets import TRUSTED_TARGETS
from trainwright.tasks.task import Objective, Task

LARGEST = torch.finfo(torch.float32).max
MANY = 10**12  # examples, more than any dataset has; the fewest are a batch
# Images and tables of usual sizes: what none of them can be made for is wrong by itself.
SHAPES = ((1, 28, 28), (3, 32, 32), (1, 8, 8), (3, 64, 64), (8,))


def rehearse(config: DictConfig, *, allow: Collection[str] | None = None) -> None:
    """Raise ConfigError for what no dataset could mend. `allow` is as in `assemble`."""
    for key in ("optimizer", "schedule", "trainer", "data"):
        _check_numbers(plain(config[key]), key)
    options = settings(TrainerSettings, config.trainer, key="trainer")
    if options.steps is None and options.epochs is None:
        raise ConfigError("trainer.epochs and trainer.steps are both null: one must say how long")
    try:
        placement = place(
            options, wants_fp32=False, has_convolutions=False, num_values=0, num_weights=0
        )
    except ValueError as error:
        raise ConfigError(f"trainer.{error}") from None
    clock = _clock(options, MANY)
    check_durations(options, clock)
    node, reserved = section(config, "data", "augment")
    if _is_ours(config.data):
        limit = node.get("limit")
        if isinstance(limit, int) and 0 < limit < options.batch_size:
            raise ConfigError(
                f"trainer.batch_size={options.batch_size}: data.limit={limit} leaves only {limit} "
                "training examples\n  it can be at most that"
            )
        make_augment(reserved["augment"], input_shape=(1, 2**20, 2**20))
    task = _any_task(config, allow) if _is_ours(config.model) and _is_ours(config.task) else None
    objective = Objective("loss", False) if task is None else task.objective
    early_stop(options, objective, clock)
    if _is_ours(config.schedule):
        _check_schedule(config, options, objective, allow)
    others = config.optimizer.get("others")
    if _is_ours(config.optimizer) and (others is None or _is_ours(others)):
        changes = section(config, "optimizer", "players")[1]["players"] or {}
        names = list(changes) if task is None else list(task.players)
        layers: dict[str, nn.Module] = {
            str(name): nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
            for name in names or ["model"]
        }
        build_optimizers(config, layers, placement, allow)


def check_network(
    config: DictConfig,
    metadata: Mapping[str, Any],
    tensors: dict[str, Tensor],
    *,
    allow: Collection[str] | None = None,
) -> None:
    """Raise CheckpointError where the network of a config is not the one that a checkpoint holds.

    Asked on the meta device: a config can promise a network larger than any memory.
    """
    if not (_is_ours(config.model) and _is_ours(config.task)):
        return
    try:
        found = under("task", tensors)
        with torch.device("meta"), _Undrawn(), Room(found):
            task = build_task(config, data_info(metadata), 0, allow)
        check_fit(task.state_dict(), found)
    except RuntimeError as error:  # all of ours can be built there
        raise CheckpointError("the checkpoint's config has a network beyond all memory") from error
    except (LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"the checkpoint does not fit its own config: {error}") from error


def check_parent(config: DictConfig) -> None:
    """Raise CheckpointError where the run that a new one begins with does not fit its own file.

    The new one has its config, which may come from anyone, with what the user has typed.
    """
    if config.get("fork") is not None:
        _check_parent(Path(config.fork.checkpoint), config.fork.sha256)


@cache
def _check_parent(path: Path, sha256: str) -> None:
    found = read(path)
    stored = stored_config(path, found.metadata)
    if targets_in(stored) <= TRUSTED_TARGETS:
        check_network(stored, found.metadata, found.tensors, allow=TRUSTED_TARGETS)


class _Undrawn(TorchFunctionMode):
    """Leaves numbers undrawn: on the meta device there is nothing to draw.

    torch would import its compiler to do so, which takes longer than all the rest.
    """

    DRAWS = frozenset({"normal_", "uniform_", "trunc_normal_"})

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call `func`, unless it fills a tensor with random numbers, or makes one of them."""
        kwargs = kwargs or {}
        name, module = getattr(func, "__name__", ""), getattr(func, "__module__", "")
        if name in self.DRAWS or module == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        if func in (torch.rand, torch.randn):
            return torch.empty(*args, **{k: v for k, v in kwargs.items() if k != "generator"})
        if func is torch.arange:  # a few classes, for which the same holds
            return func(*args, **{"device": "cpu", **kwargs})
        return func(*args, **kwargs)


def _is_ours(node: Any) -> bool:
    return isinstance(node, DictConfig) and node.get("_target_") in TRUSTED_TARGETS


def _check_numbers(value: Any, key: str) -> None:
    """Raise ConfigError for a number that is no number, or none of 32 bits."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _check_numbers(inner, f"{key}.{name}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _check_numbers(inner, f"{key}[{index}]")
    elif isinstance(value, float) and not abs(value) <= LARGEST:
        kind = "a number" if math.isnan(value) else f"at most {LARGEST:.2g}"
        raise ConfigError(f"{key}={value}: it must be {kind}")


def _check_schedule(
    config: DictConfig,
    options: TrainerSettings,
    objective: Objective,
    allow: Collection[str] | None,
) -> None:
    """Raise ConfigError where the schedule is refused however long an epoch is."""
    errors = []
    for num_examples in (options.batch_size, MANY):
        clock = _clock(options, num_examples)
        try:
            build_schedule(config, options, objective, clock, allow)
        except ConfigError as error:
            errors.append(str(error).splitlines())
    if len(errors) == 2:  # what is said of one alone are numbers of its stand-in
        of_both = [line for line in errors[0] if line in errors[1]]
        raise ConfigError("\n".join(of_both or errors[1][:1]))


def _clock(options: TrainerSettings, num_examples: int) -> Clock:
    return Clock.of_run(
        num_examples=num_examples,
        batch_size=options.batch_size,
        epochs=options.epochs,
        steps=options.steps,
    )


def _any_task(config: DictConfig, allow: Collection[str] | None) -> Task | None:
    """The task for the first stand-in dataset that suits it. Raises what most are refused with."""
    refusals: Counter[str] = Counter()
    for info in _stand_ins():
        try:
            with torch.device("meta"), _Undrawn():
                return build_task(config, info, 0, allow)
        except ConfigError as error:
            refusals[str(error)] += 1
        except (RuntimeError, NotImplementedError):  # something that the meta device can't do
            return None
    raise ConfigError(refusals.most_common(1)[0][0])


def _stand_ins() -> Iterator[DataInfo]:
    for shape in SHAPES:
        channels = shape[0]
        for target in ("classes", "values", "none"):
            names = tuple("0123456789") if target == "classes" else ()
            ones = (1.0,) * channels
            yield DataInfo("the data", shape, target, names, ones, ones)
