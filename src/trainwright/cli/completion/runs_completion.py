"""What may stand at a place of a `runs` command line: commands, runs, keys, flags. No torch."""

import argparse
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from trainwright.cli.completion.shells import INSTALL, SHELLS, values
from trainwright.cli.layers import layers_of
from trainwright.cli.terminal.keys import Key
from trainwright.config_folder import GROUPS, group_options
from trainwright.files import typed_path
from trainwright.runs.find import DEFAULT_ROOT, find_run, find_runs
from trainwright.runs.record import STATUSES, Record

MOST_NAMES = 200
NUM_LOOKED_AT = 20  # runs, for the names of metrics
_RUN_ARGUMENTS = {"RUN", "A", "B"}
_FILTERS = "filters"

ParserOf = Callable[[str], tuple[argparse.ArgumentParser, Sequence[Key]]]


def offered(
    before: Sequence[str], word: str, commands: Collection[str], parser_of: ParserOf
) -> list[str]:
    """Candidates for `word`, which may be empty or begun, after the words `before` it.

    `parser_of` is asked for the arguments and keys of one of the `commands`.
    """
    if not before:
        return [*commands, "--help", "--version", INSTALL]
    if before == [INSTALL]:
        return [f"install={shell}" for shell in SHELLS]
    if before[0] not in commands:
        return []
    parser, command_keys = parser_of(before[0])
    earlier, flag = _positionals(parser, before[1:])
    if flag is not None:
        return _of_flag(flag, before)
    if word.startswith("-"):
        return _flags(parser, word, before)
    places = [action for action in parser._actions if not action.option_strings]
    action = places[min(len(earlier), len(places) - 1)]
    if len(earlier) >= len(places) and action.nargs is None:
        return []
    if action.metavar == "SWEEP":
        plans = _root(before).rglob(".sweep/plan.json")
        return ["last", *sorted(plan.parent.parent.name for plan in plans)]
    if action.dest == _FILTERS:
        groups = {group: group_options(group) for group in GROUPS}
        more = {"status": STATUSES, "seed": (), "name": (), "age": ()}
        return _keys({**groups, **more}, word)
    keys: dict[str, Sequence[str]] = {key.name: key.options for key in command_keys}
    if action.metavar in _RUN_ARGUMENTS:
        return _run_names(_root(before), word) + (_keys(keys, word) if earlier else [])
    if before[0] == "evaluate":
        run = find_run(earlier[0], _root(before))
        keys |= {
            key: () for key in run.settings if key.startswith("data.") and key != "data._target_"
        }
        keys["data"] = group_options("data")
    if before[0] in ("fork", "resume"):
        keys |= _config_keys(before[0], find_run(earlier[0], _root(before)))
    if before[0] == "predict" and not word:
        return []  # files come first
    return _keys(keys, word)


def _positionals(
    parser: argparse.ArgumentParser, words: Sequence[str]
) -> tuple[list[str], str | None]:
    """The words that are no flags nor their values, and the flag whose value comes next."""
    found: list[str] = []
    waiting = None
    for word in words:
        flag = parser._option_string_actions.get(word)
        if waiting is not None:
            waiting = None
        elif flag is not None:
            waiting = word if flag.nargs is None else None
        elif not word.startswith("-"):
            found.append(word)
    return found, waiting


def _flags(parser: argparse.ArgumentParser, word: str, before: Sequence[str]) -> list[str]:
    flag, separator, _ = word.partition("=")
    if separator:
        return values(flag, _of_flag(flag, before), word)
    return [flag for flag in parser._option_string_actions if flag.startswith("--")]


def _of_flag(flag: str, before: Sequence[str]) -> list[str]:
    """What the value of a flag of `runs list` may be; files where nothing is known."""
    if flag not in ("--sort", "--columns"):
        return []
    some = find_runs(_root(before))[:NUM_LOOKED_AT]
    metrics = {m: None for run in some for m in run.metrics if not m.endswith("_error")}
    keys = dict.fromkeys(key for run in some[:1] for key in run.settings if "_target_" not in key)
    return [*metrics, *keys, "name", "status", "step", "steps", "seconds", "age"]


def _keys(keys: Mapping[str, Sequence[str]], word: str) -> list[str]:
    name, separator, _ = word.partition("=")
    return values(name, keys.get(name, ()), word) if separator else [f"{key}=" for key in keys]


def _config_keys(command: str, run: Record) -> dict[str, Sequence[str]]:
    """What may be set for a new run or one that goes on: groups, and what its config has."""
    groups = {group: group_options(group) for group in GROUPS if group != "sweep"}
    keys = [key for key in run.settings if "_target_" not in key]
    layers = {"freeze": list(layers_of(run))} if command == "fork" else {}
    return {**groups, **dict.fromkeys(keys, ()), **layers}


def _root(before: Sequence[str]) -> Path:
    root = str(DEFAULT_ROOT)
    for word, after in zip(before, [*before[1:], ""], strict=True):
        if word.startswith("--root="):
            root = word.partition("=")[2]
        elif word == "--root":
            root = after
    return typed_path(root)


def _run_names(root: Path, word: str) -> list[str]:
    """Runs by the last part of their name, or as `runs list` has them where one was typed so."""
    runs = find_runs(root)[:MOST_NAMES]
    counts = Counter(run.path.name for run in runs)

    def shortest(run: Record) -> str:
        return run.path.name if counts[run.path.name] == 1 and "/" not in word else run.name

    objectives = dict.fromkeys(run.objective for run in runs[:NUM_LOOKED_AT] if run.objective)
    return ["last", *map(shortest, runs), *(f"best:{metric}" for metric in objectives)]
