"""`runs verify`: the steps before the last checkpoint once more, compared to the bit."""

import argparse
import sys

from trainwright.cli.opening import TRUST, add_run, add_settings
from trainwright.cli.terminal.keys import parse_keys
from trainwright.runs.find import find_run

KEYS = (TRUST,)
EXAMPLES = """\
  runs verify last
  runs verify outputs/2026-11-22/103005-gan-mnist

Begins at checkpoints/previous.safetensors and trains up to last.safetensors. Prints `identical`, or
the first tensor that differs, and then exits with 1. The run is not changed."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The run, and classes to trust."""
    add_run(parser)
    add_settings(parser)


def execute(arguments: argparse.Namespace) -> int:
    """Train again, compare, and print the verdict; 1 where something differs."""
    values = parse_keys(arguments.settings, KEYS)
    record = find_run(arguments.run, arguments.root)
    from trainwright.run.resume.verify import verify
    from trainwright.runs.folder import RunFolder

    verdict = verify(RunFolder(record.path), trust=values["trust"])
    print(f"{record.name}: {verdict}")
    for reason in verdict.not_exact:
        print(f"  not bit-exact: {reason}", file=sys.stderr)
    return 0 if verdict.difference is None else 1
