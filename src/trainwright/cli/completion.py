"""Tab completion of `runs`: commands, run names, keys, flags. No torch, no waiting.

A shell asks `runs --complete SHELL WORDS...` and gets a candidate a line. Bash hands over its whole
line, because it splits words at `=` and `:`, which run names and keys have.
"""

import argparse
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from trainwright.catalogue.find import find_run, find_runs
from trainwright.catalogue.record import STATUSES, Record
from trainwright.cli.keys import Key
from trainwright.cli.layers import layers_of
from trainwright.config_folder import GROUPS, group_options

MOST_NAMES = 200
_RUN_ARGUMENTS = {"RUN", "A", "B"}
_FILTERS = "filters"

SCRIPTS = {
    "bash": """\
_runs() {
  local IFS=$'\\n'
  COMPREPLY=($("${COMP_WORDS[0]}" --complete bash "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
  if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=:] ]]; then compopt -o nospace; fi
}
complete -o default -F _runs runs""",
    "zsh": """\
_runs() {
  local -a found open
  found=("${(@f)$(${words[1]} --complete zsh "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  open=(${(M)found:#*[=:]}); found=(${found:#*[=:]})
  (( ${#open} + ${#found} )) || { _files; return }
  compadd -U -S '' -a open; compadd -U -a found
}
compdef _runs runs""",
    "fish": """\
complete -c runs -n 'not __fish_seen_subcommand_from predict' -f
complete -c runs -a '(runs --complete fish (commandline -opc)[2..] (commandline -ct))'""",
}


ParserOf = Callable[[str], tuple[argparse.ArgumentParser, Sequence[Key]]]


def candidates(
    shell: str, given: Sequence[str], commands: Collection[str], parser_of: ParserOf
) -> list[str]:
    """What may stand where the last of the words stands, which may be empty or begun.

    `parser_of` is asked for the arguments and keys of one of the `commands`.
    """
    words = _split(given[0])[1:] if shell == "bash" and given else list(given)
    *before, word = words or [""]
    found = _fitting(_offered(before, word, commands, parser_of), word)
    if shell == "bash":  # it replaces only what comes after the last = or :
        cut = max(word.rfind("="), word.rfind(":")) + 1
        found = [name[cut:] for name in found if name.startswith(word[:cut])]
    return [name for name in found if name.isprintable()]


def _split(line: str) -> list[str]:
    try:
        words = shlex.split(line)
    except ValueError:  # a quote that is still open
        words = line.split()
    return words if words and not line[-1].isspace() else [*words, ""]


def _offered(
    before: Sequence[str], word: str, commands: Collection[str], parser_of: ParserOf
) -> list[str]:
    if not before:
        return [*commands, "--help", "--version"]
    if before[0] not in commands:
        return []
    parser, command_keys = parser_of(before[0])
    if word.startswith("-"):
        return [flag for flag in parser._option_string_actions if flag.startswith("--")]
    positionals = [action for action in parser._actions if not action.option_strings]
    place = sum(not earlier.startswith("-") for earlier in before[1:])
    action = positionals[min(place, len(positionals) - 1)] if positionals else None
    if action is None or (place >= len(positionals) and action.nargs is None):
        return []
    if action.metavar in _RUN_ARGUMENTS:
        return _run_names(_root(before))
    if action.dest == _FILTERS:
        return _filters(word)
    keys = {key.name: key.options for key in command_keys}
    if before[0] == "evaluate":
        keys["data"] = tuple(group_options("data"))
    if before[0] in ("fork", "resume"):
        keys |= _config_keys(before)
    if before[0] == "predict" and not word:
        return []  # files come first
    return _keys(keys, word)


def _fitting(offered: Sequence[str], word: str) -> list[str]:
    """What begins as the word does, or else has it in it: a piece of a name means that run."""
    begun = [name for name in offered if name.startswith(word)]
    return begun or [name for name in offered if word in name]


def _keys(keys: Mapping[str, tuple[str, ...]], word: str) -> list[str]:
    name, separator, _ = word.partition("=")
    if separator:
        return [f"{name}={option}" for option in keys.get(name, ())]
    return [f"{key}=" for key in keys]


def _config_keys(before: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """What may be set for a new run or one that goes on: groups, and what its config has."""
    name = next(word for word in before[1:] if not word.startswith("-"))
    groups = {group: tuple(group_options(group)) for group in GROUPS if group != "sweep"}
    run = find_run(name, _root(before))
    keys = [key for key in run.settings if "_target_" not in key]
    layers = {"freeze": tuple(layers_of(run))} if before[0] == "fork" else {}
    return {**groups, **dict.fromkeys(keys, ()), **layers}


def _filters(word: str) -> list[str]:
    values = {group: tuple(group_options(group)) for group in GROUPS}
    return _keys({**values, "status": STATUSES, "seed": (), "name": (), "age": ()}, word)


def _root(before: Sequence[str]) -> Path:
    named = [word.partition("=")[2] for word in before if word.startswith("--root=")]
    return Path(named[-1] if named else "outputs").expanduser()


def _run_names(root: Path) -> list[str]:
    runs = find_runs(root)[:MOST_NAMES]
    counts = Counter(run.path.name for run in runs)

    def shortest(run: Record) -> str:
        return run.path.name if counts[run.path.name] == 1 else run.name

    objectives = dict.fromkeys(run.objective for run in runs[:20] if run.objective)
    return ["last", *map(shortest, runs), *(f"best:{metric}" for metric in objectives)]
