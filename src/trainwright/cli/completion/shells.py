"""Tab completion in bash, zsh and fish: what is installed there, and how a shell is answered.

A shell asks `<command> --complete SHELL WORDS...` and gets a candidate a line. Bash hands over its
whole line, because it splits words at `=` and `:`, which run names and keys have. Where there is
no candidate, files are offered.
"""

import contextlib
import re
import shlex
from collections.abc import Callable, Sequence

from trainwright.errors import ConfigError, TrainwrightError

ASK = "--complete"
INSTALL = "--shell-completion"

_SCRIPTS = {
    "bash": """\
_COMMAND_completion() {
  local IFS=$'\\n'
  COMPREPLY=($("${COMP_WORDS[0]}" --complete bash "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
  if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[=:./,] ]]; then compopt -o nospace; fi
}
complete -o default -F _COMMAND_completion COMMAND""",
    "zsh": """\
_COMMAND_completion() {
  local -a found open
  found=("${(@f)$(${~words[1]} --complete zsh "${(@)words[2,CURRENT]}" 2>/dev/null)}")
  [[ ${#found} -eq 1 || ${found[1]} == "${(Q)PREFIX}"* ]] || compstate[insert]=
  open=(${(M)found:#*[=:./,]}); found=(${found:#*[=:./,]})
  (( ${#open} + ${#found} )) || { compset -P '*='; _files; return }
  compadd -U -S '' -a open; compadd -U -a found
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }
compdef _COMMAND_completion COMMAND""",
    "fish": """\
function _COMMAND_completion
  set -l words (commandline -opc)
  set -l word (commandline -ct)
  set -l found ($words[1] --complete fish $words[2..] $word 2>/dev/null)
  if test (count $found) -gt 0
    printf '%s\\n' $found
  else
    set -l key (string match -r '^[^=]*=' -- $word)
    printf "$key%s\\n" (__fish_complete_path (string replace -r '^[^=]*=' '' -- $word))
  end
end
complete -c COMMAND -f -a '(_COMMAND_completion)'""",
}

SHELLS = tuple(_SCRIPTS)
Offered = Callable[[Sequence[str], str], Sequence[str]]


def completion_script(command: str, words: Sequence[str]) -> str:
    """What a shell evaluates so that it completes `command`; `words` are `install=SHELL`.

    Raises ConfigError where they are not.
    """
    shell = words[0].removeprefix("install=") if len(words) == 1 else ""
    if shell not in SHELLS:
        raise ConfigError(
            f"{INSTALL} takes {', '.join(f'install={name}' for name in SHELLS)}\n"
            f'  eval "$({command} {INSTALL} install=bash)"'
        )
    return _SCRIPTS[shell].replace("COMMAND", command)


def answer(asked: Sequence[str], offered: Offered) -> None:
    """Print what a shell may complete to, a line each; nothing where that goes wrong.

    `asked`: the shell and its words. `offered` is given the words before the last and the last,
    which may be empty or begun, and says what might stand there.
    """
    shell, *given = asked or ["bash"]
    with contextlib.suppress(TrainwrightError, OSError):
        for candidate in candidates(shell, given, offered):
            print(candidate)


def candidates(shell: str, given: Sequence[str], offered: Offered) -> list[str]:
    """What may stand where the last of the words stands."""
    if shell == "bash":
        return _for_bash(given[0] if given else "", offered)
    # The words are as they were typed, the last perhaps with a quote that is still open.
    *before, word = [" ".join(_split(typed)[1]) for typed in given] or [""]
    return [name for name in _fitting(offered(before, word), word) if name.isprintable()]


def _for_bash(line: str, offered: Offered) -> list[str]:
    """Bash replaces what comes after the last = or :, or after a quote that is still open."""
    quote, words = _split(line)
    *before, word = words[1:] or [""]
    cut = max(word.rfind("="), word.rfind(":")) + 1
    if quote:
        cut = len(word) - len(line[line.rindex(quote) + 1 :])
    fitting = [name for name in _fitting(offered(before, word), word) if name.isprintable()]
    if len(fitting) > 1 and not all(name.startswith(word) for name in fitting):
        fitting.append(word)  # bash puts what all begin with in the place of the word
    found = [name[cut:] for name in fitting if name.startswith(word[:cut])]
    return found if quote else [_escaped(name) for name in found]


def _split(line: str) -> tuple[str, list[str]]:
    """The quote that is still open or nothing, and the words, the last of which may be empty."""
    for quote in ("", "'", '"'):
        with contextlib.suppress(ValueError):
            words = shlex.split(line + quote)
            ended = not quote and line[-1:].isspace()
            return quote, [*words, ""] if ended or not words else words
    return "", line.split()


def _fitting(offered: Sequence[str], word: str) -> list[str]:
    """What begins as the word does; or else has it in it, for a piece of a name means that run."""
    begun = [name for name in offered if name.startswith(word)]
    if begun:
        return begun
    cut = max(word.rfind("="), word.rfind(",")) + 1  # of a value, that has to be a piece
    return [n for n in offered if n.startswith(word[:cut]) and word[cut:] in n[cut:]]


def _escaped(name: str) -> str:
    """As one word for bash, which takes it as it is; the other shells do this themselves."""
    return re.sub(r"([^\w@%+=:,./~^-])", r"\\\1", name)


def values(key: str, options: Sequence[str], word: str) -> list[str]:
    """`key=option` for each; where some are given, with commas between, one more of the others."""
    *given, _ = word.partition("=")[2].split(",")
    before = "".join(f"{value}," for value in given)
    return [f"{key}={before}{option}" for option in options if option not in given]
