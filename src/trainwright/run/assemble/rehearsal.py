"""Build what a config describes around stand-ins, so that mistakes are found before data is read.

What only a constructor knows (a dropout of 2, a warm-up longer than the run) is asked of the
constructors themselves: the network and its task on torch's meta device, which allocates nothing,
the schedule with the shortest epochs and with the longest, the optimizers up to where they look at
their parameters. Only trainwright's and torch's own classes are built this way: those of a user may
do anything when they are made, and have no more than the names and types of their arguments
checked.
"""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.overrides import TorchFunctionMode

from trainwright.config.build import Section
from trainwright.config.plan import Plan
from trainwright.config.stored import stored_config
from trainwright.config.trust import targets_of
from trainwright.data.columns import Classes, Tokens
from trainwright.data.dataset import DataInfo
from trainwright.data.images.augment import make_augment
from trainwright.engine.checkpoint.checkpoint import under
from trainwright.engine.checkpoint.fitting import Room, check_fit
from trainwright.engine.checkpoint.metadata import data_info
from trainwright.engine.device.device import place
from trainwright.engine.hook import Hook
from trainwright.engine.schedule import Schedule
from trainwright.errors import CheckpointError, ConfigError
from trainwright.hooks.early_stop import early_stop
from trainwright.run.assemble.assemble import build_task
from trainwright.run.assemble.optimization import build_schedule
from trainwright.run.fork.fork import architecture_of
from trainwright.run.resume.recover import read
from trainwright.targets import TRUSTED_TARGETS
from trainwright.tasks.metrics.metric import Metric
from trainwright.tasks.task import Objective, Task

TEXT = "trainwright.data.sources.text."  # what makes texts without a target
MANY = 10**12  # examples, more than any dataset has; the fewest are a batch
# Images, tables, series of usual sizes, and a text: what suits none of them is wrong by itself.
SHAPES = ((1, 28, 28), (3, 32, 32), (1, 8, 8), (3, 64, 64), (8,), (128, 3))


def rehearse(plan: Plan, architecture: Mapping[str, Any] | None = None) -> None:
    """Raise ConfigError for what no dataset could mend.

    `architecture`: what a checkpoint remembers of the network, where a run goes on.
    """
    settings = plan.settings
    try:
        place(
            settings,
            wants_fp32=False,
            has_convolutions=False,
            num_values=0,
            num_weights=0,
            threads_before=torch.get_num_threads(),  # `assemble` chooses
        )
    except ValueError as error:
        raise ConfigError(f"trainer.{error}") from None
    if plan.data.is_ours:
        limit = plan.data.node.get("limit")
        if isinstance(limit, int) and 0 < limit < settings.batch_size:
            raise ConfigError(
                f"trainer.batch_size={settings.batch_size}: data.limit={limit} leaves only {limit} "
                f"training examples\n  take trainer.batch_size={limit}, or fewer"
            )
        make_augment(plan.augment, input_shape=(1, 2**20, 2**20))
    for metric in plan.metrics.values():
        metric.check(Metric)
    for hook in plan.hooks.values():
        hook.check(Hook)
    task = _any_task(plan, architecture)
    objective = Objective("loss", False) if task is None else task.objective
    if task is not None:  # of one's own task the objective is not known yet
        early_stop(settings, objective, plan.clock(MANY, 1))
    _check_schedule(plan, objective)
    players = list(plan.players) or ["model"] if task is None else list(task.players)
    for wanted in plan.optimizers(players).values():
        _check_optimizer(wanted.main)
        if wanted.others is not None:
            _check_optimizer(wanted.others)


def check_network(
    path: Path, plan: Plan, metadata: Mapping[str, Any], tensors: dict[str, Tensor]
) -> None:
    """Raise CheckpointError where the network of a plan is not the one that a checkpoint holds.

    Asked on the meta device: a config can promise a network larger than any memory. Raises
    ConfigError where a package is missing.
    """
    if not (plan.model.is_ours and plan.task.is_ours):
        return
    try:
        found = under("task", tensors)
        with torch.device("meta"), _Undrawn(), Room(found):
            task = build_task(
                plan, data_info(metadata), architecture=metadata.get("architecture", {})
            )
        check_fit(task.state_dict(), found)
    except ConfigError as error:
        if isinstance(error.__cause__, ImportError):  # a package is missing here
            raise
        first = str(error).splitlines()[0]
        raise CheckpointError(
            f"{path} holds a config that this version cannot run\n  {first}"
        ) from error
    except RuntimeError as error:  # all of ours can be built there
        raise CheckpointError(
            f"{path}: its config describes a network too large for any memory"
        ) from error
    except (LookupError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} does not fit its own config: {error}") from error


def check_parent(plan: Plan) -> Any:
    """What the run that a new one begins with remembers of the network, where that is the same.

    The new one has its config, which may come from anyone, with what the user has typed. Raises
    CheckpointError where the other does not fit its own file.
    """
    if plan.fork is None:
        return None
    metadata = _check_parent(Path(plan.fork.checkpoint), plan.fork.sha256)
    return architecture_of(metadata, plan.model.node)


@cache
def _check_parent(path: Path, sha256: str) -> Mapping[str, Any]:
    found = read(path)
    stored = stored_config(path, found.metadata)
    if targets_of(stored) <= TRUSTED_TARGETS:
        plan = Plan.of(stored, allow=TRUSTED_TARGETS)
        check_network(path, plan, found.metadata, found.tensors)
    return found.metadata


class _Undrawn(TorchFunctionMode):
    """Leaves numbers undrawn: on the meta device there is nothing to draw.

    torch would import its compiler to do so, which takes longer than all the rest.
    """

    DRAWS = frozenset({"normal_", "uniform_", "trunc_normal_"})

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
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


def _any_task(plan: Plan, architecture: Mapping[str, Any] | None) -> Task | None:
    """The task for the first stand-in dataset that suits it; None where that cannot be made.

    Raises what most stand-ins are refused with.
    """
    if not (plan.model.is_ours and plan.task.is_ours):
        plan.model.check(nn.Module)
        plan.task.check(Task)
        return None
    refusals: Counter[str] = Counter()
    is_text = str(plan.data.node.get("_target_")).startswith(TEXT)
    for info in (_TEXT,) if is_text else _stand_ins():
        try:
            with torch.device("meta"), _Undrawn():
                return build_task(plan, info, architecture=architecture)
        except ConfigError as error:
            refusals[str(error)] += 1
        except (RuntimeError, NotImplementedError):  # something that the meta device can't do
            return None
    raise ConfigError(refusals.most_common(1)[0][0])


def _check_schedule(plan: Plan, objective: Objective) -> None:
    """Raise ConfigError where the schedule is refused however long an epoch is."""
    if not plan.schedule.is_ours:
        plan.schedule.check(Schedule)
        return
    errors = []
    for num_examples in (plan.settings.batch_size, MANY):
        try:
            build_schedule(plan, objective, plan.clock(num_examples, 1))
        except ConfigError as error:
            errors.append(str(error).splitlines())
    if len(errors) == 2:  # what is said of one alone are numbers of its stand-in
        of_both = [line for line in errors[0] if line in errors[1]]
        raise ConfigError("\n".join(of_both or errors[1][:1]))


class _ArgumentsAccepted(Exception):  # noqa: N818, for it is none
    """An optimizer looks at its parameters: it has nothing against its other arguments."""


class _Parameters:
    """Stand in for the parameters of an optimizer that is not to be made."""

    def __iter__(self) -> Iterator[nn.Parameter]:
        """End what is being made."""
        raise _ArgumentsAccepted


def _check_optimizer(section: Section) -> None:
    """Raise ConfigError for arguments that the optimizer refuses; none is made of them.

    Torch's optimizers check their arguments before they look at their parameters.
    """
    if not section.is_ours:
        section.check(Optimizer)
        return
    with contextlib.suppress(_ArgumentsAccepted):
        section.build(Optimizer, {"params": _Parameters(), "fused": None})


_TEXT = DataInfo(
    "the data", {"text": Tokens(length=17, vocabulary=tuple(map(chr, range(128))))}, ("text",)
)


def _stand_ins() -> Iterator[DataInfo]:
    for shape in SHAPES:
        channels = shape[-1] if len(shape) == 2 else shape[0]
        for target in ("classes", "values", "none", "labels"):
            names = tuple("0123456789") if target in ("classes", "labels") else ()
            ones = (1.0,) * channels
            yield DataInfo.of_one_input("the data", shape, target, names, ones, ones)
    yield _TEXT
    yield replace(
        _TEXT, columns={**_TEXT.columns, "targets": Classes(("a", "b"))}, targets=("targets",)
    )
