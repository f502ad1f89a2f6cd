"""Every command that any page names is one that there is: its options, keys and types.

What stands in a terminal (`$ train`) is typed by test_pages.py. All else is composed and planned,
or parsed: most of it needs data that only its reader has, a network, or hours.
"""

import re
import shlex

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep

from trainwright.cli.runs import _load, _parse
from trainwright.config.plan import Plan
from trainwright.config.text_keys import as_meant
from trainwright.config_folder import GROUPS

from .page import pages

_LINE = re.compile(r"^    (?:torchrun .* -m |srun .* -m )?(train|runs) (.*)$")
# Of own-model.md, gan-scores.md and the README:
_OWN = ("patches", "spirals", "lion", "triangle", "autoencoder", "watched", "mine", "judged")


def named():
    """Each command with the page that names it."""
    for page in pages():
        text = re.sub(r"\\\n\s*", "", page.read_text())
        for line in text.splitlines():
            found = _LINE.match(line)
            if found and not found[2].startswith("--shell-completion"):  # test_shells.py has it
                yield page.stem, found[1], found[2]


COMMANDS = list(dict.fromkeys(named()))
TRAIN = [(page, words) for page, command, words in COMMANDS if command == "train"]
RUNS = [(page, words) for page, command, words in COMMANDS if command == "runs"]


def words_of(line):
    """The words up to a redirection or a pipe, without the comment."""
    words = shlex.split(line, comments=True)
    ends = [i for i, word in enumerate(words) if re.match(r"\d?>|\|", word)]
    return words[: ends[0]] if ends else words


def first_of(override):
    """The value, or the first of those that are swept."""
    if not override.is_sweep_override():
        return override.get_value_element_as_str()
    value = override.value()
    if isinstance(value, IntervalSweep):
        return value.start
    return next(override.sweep_string_iterator())


@pytest.mark.slow
@pytest.mark.parametrize(("page", "line"), TRAIN)
def test_a_command_of_train_is_one_that_there_is(page, line, composed_by_hydra):
    words = [w for w in words_of(line) if not w.startswith(("-", "hydra/", "hydra."))]
    if words[0] == "tune":
        words = words[2 if words[1] in ("lr", "batch") else 1 :]
    overrides = OverridesParser.create().parse_overrides(as_meant(words, swept=True))
    first = [f"{one.key_or_group}={first_of(one)}" for one in overrides]
    if any(word.endswith(_OWN) or "_target_" in word for word in first):
        pytest.skip("its code stands on that page, which another test types")
    config = composed_by_hydra(*first)
    Plan.of(config, overrides=first)


@pytest.mark.slow
@pytest.mark.parametrize(("page", "line"), RUNS)
def test_a_command_of_runs_is_one_that_there_is(page, line):
    name, *words = words_of(line)
    command = _load(name)
    _parse(name, command, words)
    keys = {key.name for key in command.KEYS}
    for word in words:
        key, separator, _ = word.partition("=")
        if keys and separator and "." not in key and not word.startswith("-") and "<" not in word:
            assert key in keys or key in GROUPS, f"{page}: runs {line}: {key}"
