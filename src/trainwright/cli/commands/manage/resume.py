"""`runs resume`: `train trainer.resume=...`, with the run named as everywhere in `runs`."""

import argparse

from trainwright.cli.opening import add_run
from trainwright.cli.terminal.keys import Key
from trainwright.command_line import override
from trainwright.runs.find import find_run

KEYS: tuple[Key, ...] = ()
EXAMPLES = """\
  runs resume last
  runs resume gan-mnist trainer.steps=20000 trainer.schedule_until=100%
  runs resume last trainer.device=cpu

Goes on in the run's own folder, with its own config; a change that cannot be made is refused by
name. The same as `train trainer.resume=<path of the run> [key=value ...]`."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and what is to be changed."""
    add_run(parser)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="changes, as for `train`")


def execute(arguments: argparse.Namespace) -> int:
    """Train; the exit code is that of `train`."""
    from trainwright.cli.train import train

    record = find_run(arguments.run, arguments.root)
    named = override("trainer.resume", record.meant)
    return train([named, *arguments.overrides], debug=arguments.debug)
