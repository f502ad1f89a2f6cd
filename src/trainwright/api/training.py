"""Train as the command does, by its words, in the process of a program."""

import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from trainwright.api.failures import as_told, refuse_flags
from trainwright.errors import ConfigError
from trainwright.files import typed_path
from trainwright.runs.record import Record

if TYPE_CHECKING:
    from hydra.conf import HydraConf
    from omegaconf import DictConfig

    from trainwright.config.plan import Plan
    from trainwright.run.assemble.given import Given

    Composed: TypeAlias = tuple[DictConfig, HydraConf]


_known: list[Any] = []  # what we have last told Hydra that its config is


class Ended(NamedTuple):
    """Where a run is that has ended, and the folder of runs that it lies in, if it does."""

    folder: Path
    root: Path | None


def trained(
    words: Sequence[str],
    *,
    composed: "Composed | None" = None,
    given: "Given | None" = None,
) -> Ended:
    """Train what these words ask for, in turns with other threads, to its end or until a Ctrl-C.

    `composed`: their config, where that is known; `given`: objects that it refers to. After another
    signal than Ctrl-C the program gets that again. Raises TrainwrightError.
    """
    with as_told(words):
        config, hydra = compose_job(words) if composed is None else composed
        from trainwright.cli.ranks.number import number_of_ranks
        from trainwright.cli.train import log_to_console

        log_to_console()
        overrides = list(hydra.overrides.task)
        plan = _plan(config, overrides, hydra)
        num_ranks = number_of_ranks(config, plan)
        if num_ranks > 1:
            from trainwright.api.several import trained_by_several

            _refuse_given(given, num_ranks)
            folder, number = trained_by_several(config, overrides, plan, num_ranks)
        else:
            folder, number = _trained_here(config, overrides, plan, given)
        if number not in (None, signal.SIGINT):
            signal.raise_signal(number)  # the program is to end, as it likes to
    root = typed_path(str(config.run.root))
    return Ended(folder, root if folder.is_relative_to(root) else None)


def _trained_here(
    config: "DictConfig", overrides: list[str], plan: "Plan | None", given: "Given | None"
) -> tuple[Path, int | None]:
    """The folder of the run, and the signal that has stopped it."""
    import torch  # noqa: F401 - as a program does it

    from trainwright.api.turns import in_turns
    from trainwright.cli.job import requested
    from trainwright.engine.trainer import drive
    from trainwright.run.assemble.given import giving
    from trainwright.run.run import running
    from trainwright.runs.folder import RunFolder

    request = requested(config, overrides, plan)
    if request is None:
        return RunFolder.existing(str(config.trainer.resume)).path, None
    with giving(given):
        outcome = drive(in_turns(running(request)))
    return outcome.folder, outcome.signal


def _refuse_given(given: "Given | None", num_ranks: int) -> None:
    """Raise ConfigError where objects would have to be sent to other processes."""
    objects = {"model": given and given.model, "data": given and given.dataset}
    named = " and ".join(name for name, given in objects.items() if given is not None)
    if named:
        raise ConfigError(
            f"trainer.devices={num_ranks}: others cannot be given the {named} of this process\n"
            "  take trainer.devices=1, or describe them in ./configs (docs/own-model.md)"
        )


def compose_fork(record: Record, words: Sequence[str], root: Path) -> "Composed":
    """The config of a run that is forked from another. Raises ConfigError, CheckpointError."""
    from trainwright.cli.commands.manage.fork import fork_overrides
    from trainwright.config.compose import hydra_ready
    from trainwright.config.forked import NAME

    with as_told(words), hydra_ready():  # nobody else may tell Hydra of a fork meanwhile
        refuse_flags(words)
        return compose_job(fork_overrides(record, words, root), NAME)


def compose_job(words: Sequence[str], config_name: str = "train") -> "Composed":
    """The config that these words mean, and what Hydra knows about it. Raises ConfigError."""
    from hydra import compose
    from hydra.core.hydra_config import HydraConfig
    from omegaconf import open_dict

    from trainwright.cli.terminal.arguments import in_order
    from trainwright.config.compose import hydra_ready, register_schema

    refuse_flags(words)
    find_own_modules()
    register_schema()
    words = [*words, *_of_a_fork(words)]
    with hydra_ready():
        config = compose(config_name, overrides=in_order(words), return_hydra_config=True)
        known = HydraConfig.instance()
        if known.cfg is None or any(
            known.cfg is ours for ours in _known
        ):  # and no program's that is an app of Hydra's
            known.set_config(config)  # for ${hydra:...} in configs
            _known[:] = [known.cfg]
    hydra = config.hydra
    with open_dict(config):
        del config["hydra"]
    return config, hydra


def _of_a_fork(words: Sequence[str]) -> list[str]:
    """What is to be typed too in a process that was forked. Raises ConfigError."""
    turns = sys.modules.get("trainwright.api.turns")
    if turns is None or not turns.forked_at:
        return []
    typed = [word for word in words if word.startswith("trainer.threads=")]
    if typed and typed[-1] != "trainer.threads=1":
        raise ConfigError(
            f"{typed[-1]}: a process that was forked computes with one thread\n"
            "  leave it out, or let multiprocessing spawn it"
        )
    return ["trainer.threads=1"]


def find_own_modules() -> None:
    """Let configs name classes of modules in the working directory; they shadow nothing."""
    here = str(Path.cwd())
    if not {"", here} & set(sys.path):
        sys.path.append(here)


def _plan(config: "DictConfig", overrides: list[str], hydra: "HydraConf") -> Any:
    from trainwright.cli.job import planned
    from trainwright.config.compose import check_sections

    check_sections(config)
    return planned(config, overrides, hydra)
