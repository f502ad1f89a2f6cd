"""`train tune`: a learning rate and the largest batch, as overrides to paste."""

import json
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from trainwright.cli.job import planned
from trainwright.cli.terminal.sparkline import sparkline
from trainwright.cli.torch_library import imports_of_torch
from trainwright.command_line import command
from trainwright.config.compose import check_sections
from trainwright.config.plan import Plan
from trainwright.errors import ConfigError, OutOfMemoryError, TrainwrightError
from trainwright.files import disk_error
from trainwright.runs.folder import file_name
from trainwright.streams import say
from trainwright.wording import format_bytes, nearest

if TYPE_CHECKING:
    from trainwright.run.tune.rates import Swept

PARTS = ("lr", "batch")
Row = dict[str, Any]  # size, peak (bytes) and rate (examples/s), as the child tells


class Tuning:
    """What to find out for the config that is composed: a learning rate, the batch, or both."""

    def __init__(self, parts: Sequence[str]) -> None:
        self.parts = parts

    def __call__(self, config: DictConfig) -> float:
        """Find it out and print it; no folder is made. Returns not a number. Raises ConfigError."""
        hydra = HydraConfig.get()
        check_sections(config)
        overrides = OmegaConf.to_container(hydra.overrides.task, resolve=False)
        assert isinstance(overrides, list)
        plan = planned(config, overrides, hydra)
        _check(plan, config)
        assert plan is not None
        words, lines, largest = plan.overrides, [], ""
        if "batch" in self.parts:  # first, since this process then holds no memory of a device
            largest = _largest_batch(plan)
            words = [word for word in words if not word.startswith("trainer.batch_size=")]
        if "lr" in self.parts:
            try:
                lines.append(_learning_rate(plan))
            except ConfigError as error:
                if not largest:
                    raise
                say(f"learning rate: {error}")
        if largest:  # which takes a rate of its own, where one was found
            lines.append(command("train", *(["tune", "lr"] if lines else []), *words, largest))
        print("\n".join(["proposed:", *(f"  {line}" for line in lines)]), flush=True)
        return math.nan


def parted(arguments: Sequence[str]) -> tuple[Tuning, list[str]]:
    """What to find out, and the words for `train`. Raises ConfigError for another word or flag."""
    words = list(arguments)
    parts = [word for word in words if word in PARTS]
    rest = [word for word in words if word not in PARTS]
    for word in rest:
        if word in ("-m", "--multirun"):
            raise ConfigError("train tune is for one setting: leave -m out, and name one value")
        if "=" not in word and not word.startswith(("-", "~")):
            raise ConfigError(
                f"train tune {word}: it takes {' or '.join(PARTS)}, and overrides"
                f"{nearest(word, PARTS)}\n  such as: train tune lr model=cnn"
            )
    return Tuning(tuple(dict.fromkeys(parts)) or PARTS), rest


def _check(plan: Plan | None, config: DictConfig) -> None:
    """Raise ConfigError for a run that goes on, for several processes, and for events."""
    if plan is None:
        raise ConfigError("trainer.resume: train tune is for a new run; leave it out")
    if plan.settings.devices not in (None, 1):
        raise ConfigError(
            f"trainer.devices={plan.settings.devices}: train tune tries with one process\n"
            "  leave it out; each process of several has its share of a batch"
        )
    if plan.federated is not None:
        raise ConfigError(
            "trainer=federated: train tune tries steps, and a step is a round there\n"
            "  find the learning rate for a run by itself: leave it out"
        )
    if config.trainer.get("events") is not None:
        raise ConfigError("trainer.events=json tells of a run, and train tune makes none")


def _learning_rate(plan: Plan) -> str:
    """Sweep, draw and say what was seen; returns the line to paste."""
    with imports_of_torch():
        from trainwright.run.assemble.rehearsal import check_parent, rehearse
        from trainwright.run.tune.rates import sweep_rates

    if "lr" not in plan.optimizer.main.node:
        raise ConfigError("this optimizer has no lr that could be found")
    check_parent(plan)
    rehearse(plan)
    swept = sweep_rates(plan)
    size, rates = plan.settings.batch_size, swept.rates
    say(f"learning rate: {len(rates)} steps of {size}, from {rates[0]:.1e} to {rates[-1]:.1e}")
    losses = [min(loss, 1.5 * swept.losses[0]) for loss in swept.losses]  # all else is flat
    say(f"  loss  {sparkline(losses, width=60)}")
    say(
        f"  valley {swept.valley:.1e} (proposed)  steepest {swept.steepest:.1e}  now {swept.base:g}"
    )
    if plan.settings.plots:
        _draw(plan, swept)
    wanted, keys = float(f"{swept.valley:.2g}"), [f"optimizer.lr={swept.valley:.2g}"]
    if len(plan.players) == 1:
        keys = [f"optimizer.players.{next(iter(plan.players))}.lr={swept.valley:.2g}"]
    if (others := plan.optimizer.others) is not None and "lr" in others.node:
        keys.append(f"optimizer.others.lr={float(others.node['lr']) * wanted / swept.base:.2g}")
    names = tuple(f"{key.partition('=')[0]}=" for key in keys)
    return command("train", *(o for o in plan.overrides if not o.startswith(names)), *keys)


def _draw(plan: Plan, swept: "Swept") -> None:
    """The curve with both readings, beside where the command was typed. Raises DiskError."""
    from trainwright.report.plots.curves import plot_rates

    path = f"tune-{file_name(plan.name)}.png"
    marks = {"valley": swept.valley, "steepest": swept.steepest, "now": swept.base}
    try:
        plot_rates(swept.rates, swept.losses, marks, path)
    except OSError as error:
        raise disk_error(Path(path), None, error) from error
    say(f"  plot  {path}")


def _largest_batch(plan: Plan) -> str:
    """Try sizes, say what each took, and return the override."""
    size, why = plan.settings.batch_size, ""
    rows: list[Row] = []
    say(f"batches, of which each makes three steps:\n  {'SIZE':>9}  {'MEMORY':>8}  EXAMPLES/S")
    while not rows:
        rows, why = _tried(plan, size)
        if not rows and (size % 2 or size // 2 < plan.settings.accumulate):
            small = "make the network smaller"
            raise OutOfMemoryError(f"a batch of {size:,} does not fit: {why}\n  {small}")
        size //= 2
    say(f"  the largest is {rows[-1]['size']:,}: {why}\n")
    return f"trainer.batch_size={rows[-1]['size']}"


def _tried(plan: Plan, first: int) -> tuple[list[Row], str]:
    """The sizes that fit in a process of its own, and why there is no larger one.

    Raises the error that the child tells.
    """
    config = OmegaConf.to_container(DictConfig(plan.config), resolve=True)
    asked = {"config": config, "name": plan.name, "overrides": [], "allow": None}
    process = subprocess.Popen(  # of a module of our own
        [sys.executable, "-P", "-m", "trainwright.cli.tune.child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    rows: list[Row] = []
    try:
        with process.stdin as pipe:
            pipe.write(json.dumps({**asked, "first": first, "limit": None}).encode())
        for line in process.stdout:
            told = _object(line)
            if "error" in told:
                raise _error(told)
            if "end" in told:
                return rows, str(told["end"])
            if "size" in told:
                rows.append(told)
                peak = format_bytes(told["peak"])
                say(f"  {told['size']:>9,}  {peak:>8}  {told['rate']:>10,.0f}")
        code = process.wait()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    size = 2 * rows[-1]["size"] if rows else first
    if code == -9:
        return rows, f"at {size:,} the process was killed (SIGKILL): memory ran out"
    raise TrainwrightError(f"the process that tried a batch of {size:,} ended with code {code}")


def _object(line: bytes) -> Row:
    """What the child tells; nothing where code of the user's own has printed something."""
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def _error(told: Row) -> TrainwrightError:
    kinds = {kind.exit_code: kind for kind in TrainwrightError.__subclasses__()}
    return kinds.get(told["exit_code"], TrainwrightError)(told["error"])
