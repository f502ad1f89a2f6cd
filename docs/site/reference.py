"""The reference, made from the code: every key, every command, exit codes, the run folder."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from trainwright import errors
from trainwright.cli.runs import COMMANDS
from trainwright.cli.terminal.option_help import Option, read_file, read_option, takes
from trainwright.config_folder import GROUPS, group_options

DESIGN = Path(__file__).resolve().parents[1] / "design.md"
ABOUT = {
    "data": "What is learned from.",
    "model": "The network.",
    "task": "What is learned, how it is measured, and which number ranks checkpoints.",
    "optimizer": "How weights move.",
    "schedule": "How the learning rate changes along a run.",
    "trainer": "How long, on what, how often: the loop.",
    "logger": "Other tools that are sent a run's numbers.",
    "sweep": "What `train -m` makes of several values.",
    "experiment": "Recipes: complete settings, with the result to expect.",
}


def pages() -> Iterator[tuple[str, str]]:
    """The name and the text of each page."""
    yield "reference/keys.md", _any_run()
    for group in GROUPS:
        yield f"reference/keys/{group}.md", _group(group)
    yield "reference/commands.md", _commands()
    yield "reference/exit-codes.md", _exit_codes()
    yield "reference/run-folder.md", f"# The run folder\n\n{_of_the_design('The run folder')}"


def _any_run() -> str:
    groups = "\n".join(f"| [`{g}`](keys/{g}.md) | {ABOUT[g]} |" for g in GROUPS)
    option = read_file("train", "")
    return (
        "# Keys\n\n"
        "Everything that a run can be told is a key, and every key can be typed: `train model=cnn "
        "optimizer.lr=3e-3`. A group has options, of which one is chosen (`model=cnn`), and each "
        "brings keys of its own. In the shell: `train model=cnn --help` explains an option, `train "
        "--help keys` all keys.\n\n"
        "A duration is `500` (steps), `2 epochs`, `10000 examples` or `5%` of the run.\n\n"
        f"| group | what it decides |\n| --- | --- |\n{groups}\n\n"
        f"## Keys of every run\n\n{_table(option)}"
    )


def _group(group: str) -> str:
    parts = [f"# `{group}`", f"{ABOUT[group]} Choose one with `train {group}=...`."]
    for name in group_options(group):
        option = read_option(group, name)
        brings = ", ".join(f"`{one}`" for one in option.brings)
        parts += [f"## `{group}={name}`", option.about]
        parts += [f"Brings {brings}."] if brings else []
        parts += [_table(option)] if option.keys else []
    return "\n\n".join(parts)


def _table(option: Option) -> str:
    rows = "\n".join(
        f"| `{line.key}` | {_code(line.value)} | {_cell(takes(line))} | {_cell(line.comment)} |"
        for line in option.keys
    )
    return f"| key | default | takes | what it does |\n| --- | --- | --- | --- |\n{rows}"


def _code(value: str) -> str:
    return f"`{value}`".replace("|", "\\|") if value else ""


def _cell(text: str) -> str:
    return re.sub(r"([|<*_\[])", r"\\\1", text)


def _commands() -> str:
    parts = [
        "# Commands",
        "Two commands: `train` makes runs, and `runs` works with them ([guide](../runs.md)). What "
        "follows is their own help.",
        f"## train\n\n{_help('train')}",
        f"## runs\n\n{_help('runs')}",
    ]
    parts += [f"## runs {name}\n\n{_help('runs', name)}" for name in COMMANDS]
    return "\n\n".join(parts)


def _help(*words: str) -> str:
    program, *rest = words
    shown = subprocess.run(
        [Path(sys.executable).with_name(program), *rest, "--help"],
        capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "100"},
    ).stdout  # fmt: skip
    return f"```text\n{shown.rstrip()}\n```"


def _exit_codes() -> str:
    mended = sorted(errors.TrainwrightError.__subclasses__(), key=lambda error: error.exit_code)
    rows = "\n".join(
        f"| {error.exit_code} | `{error.__name__}` | {(error.__doc__ or '').splitlines()[0]} |"
        for error in mended
    )
    return (
        "# Exit codes\n\n"
        "Of what you can mend, by the error that [a program](../api.md#errors) gets:\n\n"
        f"| code | error | when |\n| --- | --- | --- |\n{rows}\n\n"
        f"All of them:\n\n{_of_the_design('Exit codes')}"
    )


def _of_the_design(heading: str) -> str:
    found = re.search(rf"^## {heading}\n\n(.*?)(?=^## )", DESIGN.read_text(), re.M | re.S)
    if found is None:
        raise LookupError(f"docs/design.md has no section {heading!r}")
    return re.sub(r"\((?=[\w-]+\.md)", "(../", found[1])
