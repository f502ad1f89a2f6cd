"""What is printed to be typed is typed: by Hydra's own parser, by bash, and as whole commands."""

import os
import shlex
import subprocess
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from trainwright.cli.terminal.arguments import in_order
from trainwright.command_line import command, listing, override
from trainwright.config.stored import resume_command

# Any text that is a path on Linux, and more often those letters that are marks in some grammar.
MARKS = "=,()[]{}'\"#&;~ $\\`!|<>*?:%@^+-./_0123456789eéЖ漢\n\t\x1b\u200b\u2028"
LETTERS = st.characters(exclude_characters="\0", exclude_categories=("Cs",))
TEXTS = st.text(st.sampled_from(MARKS) | LETTERS, min_size=1, max_size=30)
MANY = settings(max_examples=400, deadline=None, derandomize=True, database=None)


def read_by_hydra(word):
    """What a config holds after an override."""
    parsed = OverridesParser.create().parse_override(word)
    return OmegaConf.to_container(OmegaConf.create({"key": parsed.value()}), resolve=True)["key"]


@MANY
@given(TEXTS)
@example("2024")
@example("1e3")
@example("1_000")
@example("true")
@example("NULL")
@example("nan")
@example('it\'s "both" \\')
@example("\\'")
@example("a\\${b}")
@example("${oc.env:HOME}")
@example("\\\\${x}\\")
@example("lr=0.1")
@example("a b ")
def test_hydra_reads_back_the_text_that_was_meant(text):
    assert read_by_hydra(override("key", text)) == text or text == "???"
    assert read_by_hydra(listing("key", [text, "b"])) == [text, "b"] or text == "???"


@MANY
@given(TEXTS, st.none() | TEXTS)
@example("outputs/run (1)", "http://user:pass@host:5000/a?b=c&d")
@example("~x", None)
@example("./???", "sqlite:///data/mlflow è.db")
def test_the_command_that_goes_on_with_a_run_names_that_run_and_its_server(folder, uri):
    folder = Path(folder)
    config = OmegaConf.create({"logger": {"mlflow": {}}})
    if uri is not None and "${" not in uri and uri != "???":
        config.logger.mlflow.tracking_uri = uri
    line = resume_command(folder, config)
    program, *words = shlex.split(line) if "$'" not in line else by_bash(line)
    assert program == "train"
    typed = {w.lstrip("+").partition("=")[0]: read_by_hydra(w) for w in in_order(words)}
    assert Path(typed["trainer.resume"]).expanduser().absolute() == folder.absolute()
    assert typed.get("logger.mlflow.tracking_uri") == config.logger.mlflow.get("tracking_uri")


def by_bash(line):
    done = subprocess.run(["bash", "-c", f"printf '%s\\0' {line}"], capture_output=True, check=True)
    return [os.fsdecode(word) for word in done.stdout.split(b"\0")[:-1]]


@settings(max_examples=20, deadline=None, derandomize=True, database=None)
@given(st.lists(TEXTS, min_size=20, max_size=40))
@example(["\udcff\udcfe", "a\udcffé", "\x1b[2J", "\n", "$'x'"])
def test_bash_reads_back_the_words_and_a_terminal_is_shown_nothing_to_obey(words):
    line = command(*words)
    assert line.isprintable()
    assert by_bash(line) == words
