"""The hooks that watch evaluations and may end a run before its time; each remembers."""

import logging

from trainwright.data.examples import all_of
from trainwright.engine.hook import Hook
from trainwright.engine.settings import EarlyStopping
from trainwright.errors import ConfigError
from trainwright.hooks.early_stop import EarlyStop, early_stop
from trainwright.hooks.evaluate import Clients
from trainwright.hooks.health import HealthCheck
from trainwright.hooks.one_answer import OneAnswer
from trainwright.run.assemble.assemble import Assembly
from trainwright.tasks.task import Task, kind_of

log = logging.getLogger(__name__)


def stopping_hooks(assembly: Assembly) -> list[Hook]:
    """What watches this run. Raises ConfigError for a stop that could never come to pass."""
    return [
        *_early_stop(assembly),
        *_health_check(assembly),
        *_one_answer(assembly),
        *_clients(assembly),
    ]


def _clients(assembly: Assembly) -> list[Clients]:
    """The hook that measures each client of a federated run, where there are some."""
    state, settings = assembly.state, assembly.settings
    every = state.clock.steps(settings.evaluate_every)
    if state.rounds is None or not state.rounds.held_out or every <= 0:
        return []
    batch_size = settings.evaluate_batch_size
    return [Clients(state.rounds.held_out, every=every, batch_size=batch_size)]


def _early_stop(assembly: Assembly) -> list[EarlyStop]:
    """The hook that stops early, if that is asked for."""
    state, wanted = assembly.state, assembly.settings.early_stopping
    if wanted.patience is None and wanted != EarlyStopping():
        log.warning(
            "trainer.early_stopping has no effect without trainer.early_stopping.patience"
            " (evaluations, such as 5)"
        )
    hooks = early_stop(assembly.settings, state.task.objective, state.clock)
    further = [name for name, _ in assembly.dataset.measured_with("validation")]
    for hook in hooks:
        hook.check_metric(state, assembly.make_batches(assembly.dataset.validation), further)
    return hooks


def _one_answer(assembly: Assembly) -> list[OneAnswer]:
    """The hook that warns where the task is to tell classes apart, and has one answer."""
    info, validation = assembly.dataset.info, assembly.dataset.validation
    every = assembly.state.clock.steps(assembly.settings.evaluate_every)
    is_classified = info.target == "classes" and assembly.state.task.objective.metric == "accuracy"
    if not is_classified or len(validation) == 0 or every <= 0:
        return []
    targets = all_of(validation, info.targets[0])
    return [OneAnswer(targets, info.class_names, every=every)]


def _health_check(assembly: Assembly) -> list[HealthCheck]:
    """The hook that asks for the run's health, where the task has an opinion on it."""
    settings, task = assembly.settings, assembly.state.task
    every = assembly.state.clock.steps(settings.evaluate_every)
    if type(task).diagnose is not Task.diagnose and every > 0:
        return [HealthCheck(every=every, on_ill=settings.on_ill)]
    if settings.on_ill == "warn":
        return []
    problem = "it needs evaluations: trainer.evaluate_every is 0"
    if type(task).diagnose is Task.diagnose:
        problem = f"a {kind_of(task)} has no opinion on its health; a GAN has"
    raise ConfigError(f"trainer.on_ill={settings.on_ill}: {problem}")
