"""One run, from a config to a finished folder: what `train` does for each job."""

import contextlib
from collections.abc import Sequence

from omegaconf import OmegaConf

from trainwright.config.trust import remember
from trainwright.engine.checkpoint.calibration import kept_until
from trainwright.engine.device.memory import is_out_of_memory
from trainwright.engine.trainer import Training, drive
from trainwright.errors import ConfigError, DiskError, OutOfMemoryError
from trainwright.files import typed_path, write_text
from trainwright.run.announce import announce, lineage_lines
from trainwright.run.assemble.assemble import Assembly, assemble
from trainwright.run.assemble.rehearsal import check_network, check_parent, rehearse
from trainwright.run.connect import connect_loggers, own_hooks, sending
from trainwright.run.course import Course
from trainwright.run.logfile import logged_to
from trainwright.run.ranks.lead import call_together, share_state
from trainwright.run.records import first_summary
from trainwright.run.request import Outcome, Request
from trainwright.run.resume.continuing import put_back
from trainwright.run.resume.legs import Legs, legs_until
from trainwright.run.signals import StopRequests
from trainwright.run.stopping import stopping_hooks
from trainwright.runs.folder import RunFolder
from trainwright.runs.lock import RunLock
from trainwright.runs.summary import read_summary
from trainwright.streams import tell


def run(request: Request) -> Outcome:
    """What `running` does, alone: every step is made when it is asked for."""
    return drive(running(request))


def running(request: Request) -> Training[Outcome]:
    """Train to the end, test once with the best weights, draw, and summarise.

    Everything that can be refused is refused before the run folder is made. Raises
    TrainwrightError; once there is a folder, its summary.json says that the run failed, and why.
    """
    with contextlib.ExitStack() as until_ended:
        plan, resume, legs = request.plan, request.resume, Legs()
        _check_ranks(request)
        if resume is not None:
            until_ended.enter_context(resume.lock)
            metadata = resume.found.metadata
            legs = legs_until(resume.found.step, metadata, read_summary(resume.folder.path))
            # First of all: it may come from anyone.
            check_network(resume.found.path, plan, metadata, resume.found.tensors)
            architecture = metadata.get("architecture", {})
        else:
            architecture = check_parent(plan)
        rehearse(plan, architecture)
        loggers = connect_loggers(plan.loggers)
        assembly = _assembled(request)
        call_together(plan, assembly, None if resume is None else resume.found.metadata)
        clock = assembly.state.clock
        stopping = [*stopping_hooks(assembly), *own_hooks(plan.hooks, clock)]
        # From the moment there is a folder, a signal stops the run between two steps.
        signals = until_ended.enter_context(StopRequests(assembly.state))
        summary = first_summary(plan.name, assembly)
        folder = _new_folder(request) if resume is None else resume.folder
        course = Course(request, assembly, folder, stopping, summary, legs)
        if request.began is not None:
            request.began(folder.path.resolve())
        try:
            notes = [*request.notes, *_begin(course, until_ended)]
        except DiskError as error:
            raise course.explained(error) from error
        share_state(assembly, folder)
        until_ended.enter_context(logged_to(folder.log))
        announce(plan, assembly, folder, notes)
        step, begun = assembly.state.step, ("name", "objective", "higher_is_better", "parameters")
        tell(
            "start",
            folder=str(folder.path),
            step=step,
            steps=clock.total_steps,
            **{key: summary[key] for key in begun},
        )
        send = until_ended.enter_context(sending(loggers, folder, plan, assembly))
        return (yield from course.run(send, signals))


def _check_ranks(request: Request) -> None:
    """Raise ConfigError where a run that begins is to have ranks, and nobody has started them."""
    wanted = request.plan.settings.devices
    if request.resume is None and not request.world.is_shared and wanted not in (None, 1, "auto"):
        raise ConfigError(
            f"trainer.devices={wanted}: this run was started as one process\n"
            "  leave it out, or start it by `train`"
        )


def _assembled(request: Request) -> Assembly:
    resume = request.resume
    try:
        assembly = assemble(
            request.plan,
            dataset=request.dataset,
            again=None if resume is None else resume.found.metadata,
            world=request.world,
        )
    except Exception as error:
        if is_out_of_memory(error):
            raise OutOfMemoryError(
                "out of memory while the model was built: make it smaller"
            ) from error
        raise
    if request.stacked:
        assembly.state.placement = assembly.state.placement.shared()
    return assembly


def _begin(course: Course, until_ended: contextlib.ExitStack) -> Sequence[str]:
    """Make the folder that of a run under way; returns what a person should know about that."""
    request, assembly, folder = course.request, course.assembly, course.folder
    resume = request.resume
    if resume is None:
        until_ended.enter_context(RunLock(folder.path).acquire())
        notes = lineage_lines(assembly)
        if request.plan.fork is not None:
            notes += kept_until([typed_path(request.plan.fork.checkpoint)])
    else:
        going_on = put_back(resume, assembly, course.stopping)
        notes = [*going_on.lines(), *kept_until([folder.best, folder.last])]
        before = read_summary(folder.path)
        resumed = before.get("resumed")
        course.summary["started"] = before.get("started")
        if isinstance(changed := before.get("threads_changed"), list):
            course.summary["threads_changed"] = changed
        course.summary["resumed"] = [
            *(resumed if isinstance(resumed, list) else []),
            going_on.record(),
        ]
        course.summary.update(
            course.legs.summary(assembly.state.step, assembly.state.clock.batch_size)
        )
    _note_request(request, folder)
    folder.write_summary(course.summary)
    return notes


def _note_request(request: Request, folder: RunFolder) -> None:
    """Write down what runs, and add what was typed to what was typed before."""
    plan = request.plan
    remember(folder.path, plan.kept)
    write_text(folder.path / "config.yaml", OmegaConf.to_yaml(plan.kept))
    lines = [*folder.overrides(), *plan.overrides]
    write_text(folder.path / "overrides.txt", "".join(f"{line}\n" for line in lines))


def _new_folder(request: Request) -> RunFolder:
    wanted = request.plan.run
    exact = None if wanted.dir is None else typed_path(wanted.dir)
    return RunFolder.create(typed_path(wanted.root), request.plan.name, exact=exact)
