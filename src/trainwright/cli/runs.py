"""`runs`: what there is to do with runs after training. No torch until a command needs it."""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn, Protocol, cast

from trainwright import __version__
from trainwright.cli.completion.shells import ASK, INSTALL, answer, completion_script
from trainwright.cli.terminal.keys import Key, keys_help
from trainwright.errors import ConfigError, TrainwrightError
from trainwright.files import typed_path
from trainwright.runs.find import DEFAULT_ROOT
from trainwright.streams import spoken
from trainwright.wording import nearest, printable

# Each is a module of that name in a folder of cli/commands, imported when it is called for.
_FOLDERS = {
    "inspect": {
        "list": "a table of runs; filter and sort by any config key or metric",
        "watch": "a run or sweep that trains elsewhere, as it goes on: curves, time left, samples",
        "show": "one run: config, how it went, curves, files",
        "diff": "how two runs differ, and what came of it",
        "sweep": "the verdict on a sweep: which setting won, and is that more than luck?",
        "report": "one run, several, or a sweep as one HTML page that needs no network",
    },
    "apply": {
        "evaluate": "measure a run on its test split or on other data, with confidence intervals",
        "calibrate": "find the temperature that makes a classifier as sure as it is right",
        "anomalies": "how strange files or examples are to a run, the strangest first",
        "predict": "classes and probabilities, or values, for image files or a table's rows",
        "explain": "why a run says what it says: of images, texts, rows, or a whole table",
        "sample": "what a run makes up: images (grids, arrays, interpolations), a text, a table",
        "serve": "a page and an API for runs: draw, upload, fill in, write; HTTP for programs",
        "compress": "a smaller, faster network: int8, bf16, fewer channels, and what that costs",
        "export": "the network for other programs: safetensors, torch.export (pt2), ONNX",
    },
    "manage": {
        "resume": "go on with a run, exactly or longer",
        "fork": "a new run with the weights of another: fine-tuning, other data or classes",
        "average": "the mean of networks that several sites have sent: a federated round by files",
        "verify": "train the steps before the last checkpoint again, and compare every bit",
        "clean": "what could be deleted; deletes only with a yes",
    },
}
COMMANDS = {name: what for commands in _FOLDERS.values() for name, what in commands.items()}

_USAGE = """\
runs: work with what `train` has made.

{commands}

RUN is the path of a run folder, `last`, `best:<metric>` such as best:accuracy, or a piece of its
name that no other run has. Runs are looked for in ./outputs, or in --root=FOLDER.

Also:
  runs COMMAND --help                   what it takes, with examples
  --shell-completion install=bash       tab completion; also zsh, fish (see the README)
  --quiet                               no progress, and of a training only its result
  --debug                               show the traceback of an error
  --version                             print the version"""


class Command(Protocol):
    """What a module of `cli/commands` has."""

    EXAMPLES: str
    KEYS: Sequence[Key]

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what the command takes besides --root and --debug."""

    def execute(self, arguments: argparse.Namespace) -> int:
        """Do it and return the exit code. Raises TrainwrightError."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in {"help", "--help", "-h"}:
        print(help_text())
        return
    if arguments[0] == "--version":
        print(f"trainwright {__version__}")
        return
    if arguments[0] == ASK:
        answer(arguments[1:], _offered)
        return
    sys.exit(_run(arguments))


def help_text() -> str:
    """Every command with a line about it, and what RUN means."""
    width = max(len(name) for name in COMMANDS)
    lines = (f"  runs {name:<{width}}   {does}" for name, does in COMMANDS.items())
    return _USAGE.format(commands="\n".join(lines))


def _run(arguments: list[str]) -> int:
    # Classes of the user's own, where they are trusted, lie in the working directory.
    sys.path.append(str(Path.cwd()))
    name, *words = arguments
    debug = "--debug" in words
    quiet = "--quiet" in words
    try:
        if name == INSTALL:
            print(completion_script("runs", words))
            return 0
        command = _load(name)
        with spoken(quiet=quiet):
            code = command.execute(_parse(name, command, words))
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except SystemExit as stop:  # argparse has printed the help, or nobody reads the output
        return stop.code if isinstance(stop.code, int) else 1
    except Exception as error:
        return _explain(error, debug=debug)
    return code


def _load(name: str) -> Command:
    if name not in COMMANDS:
        raise ConfigError(
            f"runs {printable(name)}: there is no such command{nearest(name, COMMANDS)}\n"
            f"  commands are: {', '.join(COMMANDS)}"
        )
    folder = next(folder for folder, commands in _FOLDERS.items() if name in commands)
    return cast(Command, importlib.import_module(f"trainwright.cli.commands.{folder}.{name}"))


def _explain(error: Exception, *, debug: bool) -> int:
    from trainwright.cli.terminal.failure import explain

    if isinstance(error, TrainwrightError):  # a name in it may be a stranger's
        error.args = ("\n".join(printable(line) for line in str(error).splitlines()),)
    return explain(error, [], debug=debug)


class _Parser(argparse.ArgumentParser):
    """Argparse, but what it refuses is an error like any other, with the nearest flag named."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}\n  `{self.prog} --help` shows what it takes")


def _parser(name: str, command: Command) -> _Parser:
    keys = f"keys:\n{keys_help(command.KEYS)}\n\n" if command.KEYS else ""
    parser = _Parser(
        prog=f"runs {name}",
        description=COMMANDS[name][0].upper() + COMMANDS[name][1:].removesuffix("?") + ".",
        epilog=f"{keys}examples:\n{command.EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.add_arguments(parser)
    where = "where runs are looked for (./outputs)"
    # (No shell replaces the ~ of --root=~/outputs, though that of --root ~/outputs.)
    parser.add_argument("--root", type=typed_path, default=DEFAULT_ROOT, help=where)
    said = "no progress, and of a training only its result"
    parser.add_argument("--quiet", action="store_true", help=said)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return parser


def _parse(name: str, command: Command, words: list[str]) -> argparse.Namespace:
    parser = _parser(name, command)
    flags = parser._option_string_actions
    try:
        known, unknown = parser.parse_known_intermixed_args(words)
    except ConfigError:  # that RUN is missing, though a flag that is none was typed for it
        unknown = [word for word in words if word[:1] == "-" and word.split("=")[0] not in flags]
        if not unknown:
            raise
    if unknown:
        hint = nearest(unknown[0].split("=")[0], list(flags))
        parser.error(f"{printable(unknown[0])}: there is no such flag or argument{hint}")
    return known


def _offered(before: Sequence[str], word: str) -> Sequence[str]:
    from trainwright.cli.completion.runs_completion import offered

    return offered(before, word, COMMANDS, _parser_of)


def _parser_of(name: str) -> tuple[argparse.ArgumentParser, Sequence[Key]]:
    command = _load(name)
    return _parser(name, command), command.KEYS
