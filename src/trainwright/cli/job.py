"""One job of `train`: a new run, or an old one that goes on."""

import contextlib
import logging
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.conf import HydraConf
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from trainwright.cli.ranks.number import number_of_ranks
from trainwright.cli.torch_library import imports_of_torch
from trainwright.command_line import override
from trainwright.config.compose import check_sections, settle_length
from trainwright.config.forked import run_name
from trainwright.config.plan import Plan
from trainwright.config.trust import refuse_trust
from trainwright.cores import num_cores
from trainwright.errors import ConfigError
from trainwright.report.plots.drawing import Artist
from trainwright.run.ranks.places import Place, begun_before, note_folder, place_among_others

if TYPE_CHECKING:
    from trainwright.run.ranks.launch import Launch
    from trainwright.run.request import Request

log = logging.getLogger(__name__)


def run_job(config: DictConfig) -> float:
    """Run the composed config. Returns the best objective, not a number if none was evaluated.

    Exits with 128 + the number of a signal that stopped the run.
    """
    hydra = HydraConfig.get()
    check_sections(config)
    overrides = OmegaConf.to_container(hydra.overrides.task, resolve=False)  # as they were typed
    assert isinstance(overrides, list)
    place = place_among_others()
    if place is not None:
        if place[0] > 0:  # which a launcher of jobs has started, and not the command line
            from trainwright.cli.ranks.part import take_part

            if code := take_part(place):
                sys.exit(code)
            return math.nan  # a launcher may take an exit for a failure, whatever the code
        _go_on_after_restart(config, overrides)
    if config.sweep.job is not None:
        return _run_frozen(str(config.sweep.job))
    plan = planned(config, overrides, hydra)
    num_ranks = number_of_ranks(config, plan)
    if num_ranks > 1:
        return _train_on_ranks(config, overrides, plan, num_ranks)
    # What can be refused without torch has been: that takes seconds to import.
    with _artist_for(config, hydra) as artist:
        return _train(config, overrides, plan, artist)


def planned(config: DictConfig, overrides: Sequence[str], hydra: HydraConf) -> Plan | None:
    """The plan of a new run; None where one goes on, whose plan is its own. Raises ConfigError."""
    _refuse_sweep(config, overrides)
    return None if config.trainer.resume is not None else _new_plan(config, overrides, hydra)


def requested(config: DictConfig, overrides: Sequence[str], plan: Plan | None) -> "Request | None":
    """The request for a new run, or for the one that goes on; None where that has no more to do.

    Why that is so is logged. Raises as `resume_request` does.
    """
    from trainwright.run.request import Request
    from trainwright.run.resume.resume import finished, resume_request

    if plan is not None:
        return Request(plan)
    request = resume_request(config, overrides)
    message = finished(request)
    if message is None:
        return request
    assert request.resume is not None
    request.resume.lock.release()
    log.info(message, extra={"result_of": request.resume.folder.path})
    return None


def _train(
    config: DictConfig, overrides: list[str], plan: Plan | None, artist: Artist | None
) -> float:
    """Run, or go on with a run where there is no plan yet. Returns and exits as `run_job` does."""
    with imports_of_torch():
        from trainwright.run.run import run

    request = requested(config, overrides, plan)
    if request is None:
        return math.nan
    place = place_among_others()
    if place is not None:
        request = _led(request, place)
    outcome = run(replace(request, artist=artist))
    request.world.leave()
    if outcome.signal is not None:
        sys.exit(128 + outcome.signal)
    return math.nan if outcome.objective is None else outcome.objective


def _led(request: "Request", place: Place) -> "Request":
    """The request of rank 0 of the processes that torchrun or srun has started."""
    from trainwright.engine.ranks.group import Meeting, Ranks

    return replace(request, world=Ranks(Meeting(*place)), began=note_folder)


def _train_on_ranks(
    config: DictConfig, overrides: list[str], plan: Plan | None, num_ranks: int
) -> float:
    """Start the ranks, and wait for them. Exits with their code, if that is not 0."""
    code = launched(config, overrides, plan, num_ranks).run()
    if code:
        sys.exit(code)
    return math.nan


def launched(
    config: DictConfig, overrides: list[str], plan: Plan | None, num_ranks: int
) -> "Launch":
    """The ranks of a run, to be started."""
    from trainwright.run.ranks.launch import Launch

    plain = OmegaConf.to_container(config if plan is None else DictConfig(plan.config))
    assert isinstance(plain, dict)
    if plan is not None:
        plain["run"]["dir"] = plan.run.dir
    asked = {
        "config": plain,
        "name": "" if plan is None else plan.name,
        "overrides": overrides,
        "resume": plan is None,
    }
    return Launch(asked, num_ranks, config.trainer.get("max_restarts", 3))


def _artist_for(
    config: DictConfig, hydra: HydraConf
) -> contextlib.AbstractContextManager[Artist | None]:
    """A process that draws, where a core has nothing to do while this one imports torch."""
    is_idle = "torch" not in sys.modules and sys.platform != "win32" and num_cores() > 1
    if config.trainer.plots and hydra.mode == RunMode.RUN and is_idle:
        with contextlib.suppress(OSError):  # no process to spare: the run draws by itself
            return Artist()
    return contextlib.nullcontext()


def _go_on_after_restart(config: DictConfig, overrides: list[str]) -> None:
    """Where torchrun has started its processes again, go on with the run that they had begun."""
    folder = begun_before()
    if folder is None:
        return
    if config.trainer.resume is None:
        overrides.clear()
    overrides[:] = [o for o in overrides if not o.startswith("trainer.resume=")]
    overrides.append(override("trainer.resume", folder))
    config.trainer.resume = folder


def _refuse_sweep(config: DictConfig, overrides: Sequence[str]) -> None:
    """Raise ConfigError where settings of a sweep were given and this is none of ours."""
    keys = {override.lstrip("+~").partition("=")[0]: override for override in overrides}
    typed = [override for key, override in keys.items() if key.partition(".")[0] == "sweep"]
    left = [
        str(key) for key in config.sweep.params if key not in keys
    ]  # else it is one of its jobs
    if typed or left:
        what = typed[0] if typed else f"sweep.params of {', '.join(left)}"
        raise ConfigError(
            f"{what}: this is for a sweep, and only `train -m` makes one\n"
            "  add -m, with hydra/sweeper=trainwright"
            + ("" if typed else f"; or type a value of each: {left[0]}=...")
        )


def _run_frozen(path: str) -> float:
    """Work on one job of a sweep, from the file in which the sweep has frozen it.

    Returns its objective. Exits with the code of a job that fails or is stopped.
    """
    from trainwright.sweep.schedule.running import read_task
    from trainwright.sweep.store import Store
    from trainwright.sweep.workers.attempt import work

    task = read_task(path)
    code = work(task, place=place_among_others())
    if code:
        sys.exit(code)
    state = Store(Path(task["sweep"])).state(task["job"]["id"])
    best = state["best"]
    return math.nan if best is None else float(best["metrics"][state["objective"]])


def job_label() -> str:
    """` in job 3 (optimizer.lr=0.1)` where there are several."""
    hydra = HydraConfig.get()
    if hydra.mode != RunMode.MULTIRUN:
        return ""
    return f" in job {hydra.job.num} ({hydra.job.override_dirname})"


def _new_plan(config: DictConfig, overrides: Sequence[str], hydra: HydraConf) -> Plan:
    """The plan of a run that begins. Raises ConfigError."""
    refuse_trust(config)
    config = DictConfig(OmegaConf.to_container(config, resolve=False))
    del config["sweep"]  # it is not about this run
    settle_length(config, overrides)
    plan = Plan.of(config, name=run_name(hydra.runtime.choices), overrides=overrides)
    if hydra.mode == RunMode.MULTIRUN and plan.run.dir is None:
        # Every job of a sweep gets a folder of its own within the sweep's.
        folder = f"{hydra.sweep.dir}/{hydra.job.num}-{plan.name}"
        return replace(plan, run=replace(plan.run, dir=folder))
    return plan
