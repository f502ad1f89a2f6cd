"""The config's loggers become objects that say what they lack, and run as long as the run does."""

import contextlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from omegaconf import DictConfig

from trainwright.config.build import build, plain
from trainwright.errors import ConfigError
from trainwright.hooks.loggers.logger import LoggedRun, Logger
from trainwright.hooks.loggers.outlet import Outlet
from trainwright.hooks.send import Send
from trainwright.run.assemble.assemble import Assembly
from trainwright.runs.folder import RunFolder
from trainwright.runs.summary import read_summary


def connect_loggers(config: DictConfig, *, allow: Collection[str] | None = None) -> list[Logger]:
    """The loggers of the section `logger`, checked; none where it is empty or missing.

    Raises ConfigError for a wrong key or value, a missing package or a missing login.
    """
    node: Any = plain(config.get("logger")) or {}
    if not isinstance(node, dict):
        raise ConfigError(f"logger={node!r}: it must be one of the group, such as tensorboard")
    loggers = []
    for name, described in node.items():
        logger = build(Logger, described, key=f"logger.{name}", facts={}, allow=allow)
        logger.check()
        loggers.append(logger)
    return loggers


@contextlib.contextmanager
def sending(
    loggers: Sequence[Logger], folder: RunFolder, name: str, config: DictConfig, assembly: Assembly
) -> Iterator[Send]:
    """The hook that sends to `loggers`, while this context is open; its end sends the summary."""
    run = LoggedRun(folder.path, name, plain(config), assembly.state.step)
    outlets = [Outlet(logger) for logger in loggers]
    for outlet in outlets:
        outlet.start(run)
    try:
        yield Send(outlets, folder, assembly.settings, assembly.state.clock)
    finally:
        summary = read_summary(folder.path)
        for outlet in outlets:
            outlet.finish(summary)
