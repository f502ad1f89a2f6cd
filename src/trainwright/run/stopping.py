"""The hooks that may end a run before its time; each remembers what it has seen."""

from trainwright.engine.hook import Hook
from trainwright.errors import ConfigError
from trainwright.hooks.early_stop import EarlyStop, early_stop
from trainwright.hooks.health import HealthCheck
from trainwright.run.assemble.assemble import Assembly
from trainwright.tasks.task import Task


def stopping_hooks(assembly: Assembly) -> list[Hook]:
    """What may stop this run. Raises ConfigError for what could never come to pass."""
    return [*_early_stop(assembly), *_health_check(assembly)]


def _early_stop(assembly: Assembly) -> list[EarlyStop]:
    """The hook that stops early, if that is asked for."""
    state = assembly.state
    hooks = early_stop(assembly.settings, state.task.objective, state.clock)
    for hook in hooks:
        hook.check_metric(state, assembly.make_batches(assembly.dataset.validation))
    return hooks


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
        problem = f"{type(task).__name__} has no opinion on its health; a GAN has"
    raise ConfigError(f"trainer.on_ill={settings.on_ill}: {problem}")
