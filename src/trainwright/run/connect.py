"""What a config adds to a run: loggers, which say what they lack, and hooks of its own."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from trainwright.config.build import Section, plain
from trainwright.config.plan import Plan
from trainwright.engine.clock import Clock
from trainwright.engine.hook import Hook
from trainwright.hooks.loggers.logger import LoggedRun, Logger
from trainwright.hooks.loggers.outlet import Outlet
from trainwright.hooks.own import Own
from trainwright.hooks.send import Send
from trainwright.run.assemble.assemble import Assembly
from trainwright.runs.folder import RunFolder
from trainwright.runs.summary import read_summary


def connect_loggers(sections: Iterable[Section]) -> list[Logger]:
    """The loggers of the section `logger`, checked.

    Raises ConfigError for a wrong key or value, a missing package or a missing login.
    """
    loggers = [section.build(Logger, {}) for section in sections]
    for logger in loggers:
        logger.check()
    return loggers


def own_hooks(sections: Mapping[str, Section], clock: Clock) -> list[Own]:
    """The hooks of the section `hooks`, in its order. Raises ConfigError."""
    return [Own(name, section.build(Hook, {"clock": clock})) for name, section in sections.items()]


@contextlib.contextmanager
def sending(
    loggers: Sequence[Logger], folder: RunFolder, plan: Plan, assembly: Assembly
) -> Iterator[Send]:
    """The hook that sends to `loggers`, while this context is open; its end sends the summary."""
    run = LoggedRun(folder.path, plan.name, plain(plan.kept), assembly.state.step)
    outlets = [Outlet(logger) for logger in loggers]
    for outlet in outlets:
        outlet.start(run)
    try:
        yield Send(outlets, folder, assembly.settings, assembly.state.clock)
    finally:
        summary = read_summary(folder.path)
        for outlet in outlets:
            outlet.finish(summary)
