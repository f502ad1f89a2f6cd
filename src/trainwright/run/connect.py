"""The config's loggers become objects that say what they lack, and run as long as the run does."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence

from trainwright.config.build import Section, plain
from trainwright.config.plan import Plan
from trainwright.hooks.loggers.logger import LoggedRun, Logger
from trainwright.hooks.loggers.outlet import Outlet
from trainwright.hooks.send import Send
from trainwright.run.assemble.assemble import Assembly
from trainwright.run.records import read_summary
from trainwright.runs.folder import RunFolder


def connect_loggers(sections: Iterable[Section]) -> list[Logger]:
    """The loggers of the section `logger`, checked.

    Raises ConfigError for a wrong key or value, a missing package or a missing login.
    """
    loggers = [section.build(Logger, {}) for section in sections]
    for logger in loggers:
        logger.check()
    return loggers


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
        summary = read_summary(folder)
        for outlet in outlets:
            outlet.finish(summary)
