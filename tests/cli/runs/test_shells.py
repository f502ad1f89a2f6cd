"""Tab pressed in real shells: bash, zsh and fish in a terminal, with the scripts we install."""

import os
import pty
import shutil
import sys
from pathlib import Path

import pytest

FOLDER = str(Path(sys.executable).parent)
INSTALLED = {
    "bash": 'eval "$(train --shell-completion install=bash)"; '
    'eval "$(runs --shell-completion install=bash)"',
    "zsh": 'eval "$(train --shell-completion install=zsh)"; '
    'eval "$(runs --shell-completion install=zsh)"',
    "fish": "train --shell-completion install=fish | source; "
    "runs --shell-completion install=fish | source",
}
PROGRAM = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
# Ctrl-G writes the line as it stands to the file and empties it; a new prompt writes an empty one.
REPORTS = {
    "bash": """bind -x '"\\C-g": printf "%s\\n" "$READLINE_LINE" > told; READLINE_LINE='; """
    "PROMPT_COMMAND='echo > told'",
    "zsh": """report() { print -r -- "$BUFFER" > told; BUFFER= }; zle -N report; """
    "bindkey '^G' report; precmd() { echo > told }",
    "fish": "bind \\cg 'commandline > told; commandline \"\"'; "
    "function p --on-event fish_prompt; echo > told; end",
}


class Terminal:
    """A shell in a pseudo-terminal. What it tells comes through a pipe with a name: no waiting."""

    def __init__(self, shell, environment):
        os.mkfifo("told")
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.execvpe(shell, PROGRAM[shell], environment)
        self._type(f"{INSTALLED[shell]}; {REPORTS[shell]}\n")
        assert self._told() == ""

    def completed(self, line):
        """The line after Tab."""
        self._type(f"{line}\t\a")
        return self._told()

    def close(self):
        os.close(self.terminal)  # hangs up
        os.waitpid(self.process, 0)

    def _type(self, text):
        os.write(self.terminal, text.encode())

    def _told(self):
        with Path("told").open() as pipe:
            return pipe.read().rstrip("\n")


@pytest.fixture
def terminal(tmp_path, write_run, environment, monkeypatch):
    """Starts a shell where there are two runs and a configuration of one's own."""
    monkeypatch.chdir(tmp_path)
    day = Path("outputs/2026-01-02")
    write_run(day / "030405-mlp-mnist", accuracy=0.98)
    write_run(day / "030406-gan-mnist of mine", objective="frechet")
    Path("configs/model").mkdir(parents=True)
    Path("configs/model/own-net.yaml").write_text("_target_: mine.Net\n")
    Path("photo.png").touch()
    started = []

    def start(shell):
        surroundings = {
            **environment,
            "PATH": f"{FOLDER}:{environment['PATH']}",
            "TERM": "dumb",
            "HOME": str(tmp_path),
            "XDG_CONFIG_HOME": str(tmp_path / ".config"),
            "XDG_DATA_HOME": str(tmp_path / ".local"),
        }
        started.append(Terminal(shell, surroundings))
        return started[-1]

    yield start
    for terminal in started:
        terminal.close()


COMPLETED = {
    "runs sh": "runs show ",
    "runs show mlp": "runs show 030405-mlp-mnist ",  # a piece of its name is enough
    "runs show best:acc": "runs show best:accuracy ",
    "runs show outputs/2026-01-02/030405": "runs show outputs/2026-01-02/030405-mlp-mnist/",
    "runs show --root outputs mlp": "runs show --root outputs 030405-mlp-mnist ",
    "runs sample last int": "runs sample last interpolate=",
    "runs export last format=onnx,sa": "runs export last format=onnx,safetensors ",
    "runs fork mlp optimizer.l": "runs fork mlp optimizer.lr=",
    "runs fork mlp data=km": "runs fork mlp data=kmnist ",
    "runs predict mlp pho": "runs predict mlp photo.png ",
    "runs list --so": "runs list --sort ",
    "runs list status=fin": "runs list status=finished ",
    "train model=ow": "train model=own-net ",
    "train -m model=mlp,ow": "train -m model=mlp,own-net ",
    "train model=gan optimizer.players.gen": "train model=gan optimizer.players.gen",
    "train optimizer=sgd optimizer.mom": "train optimizer=sgd optimizer.momentum=",
    "train early_st": "train trainer.early_stopping.",
    "train trainer.precision=bf": "train trainer.precision=bf16 ",
    "train --ver": "train --version ",
    "train data=folder data.path=./conf": "train data=folder data.path=./configs/",
}


SHELLS = [
    pytest.param(
        shell, marks=pytest.mark.skipif(not shutil.which(shell), reason=f"{shell} is not installed")
    )
    for shell in ("bash", "zsh", "fish")
]


@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_the_name_of_a_run_and_an_option(shell, terminal):
    at = terminal(shell)
    for line in ("runs show mlp", "train model=ow"):
        assert at.completed(line) == COMPLETED[line]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_piece_of_several_names_stays_what_was_typed(shell, terminal, write_run):
    """Bash put the 0 in its place that all names of runs begin with."""
    at = terminal(shell)
    write_run(Path("outputs/2026-01-02/030407-gan-digits"))
    for line in ("runs show gan", "runs fork mlp model=et", "train optimizer=da"):
        assert at.completed(line) == line
    assert at.completed("runs show gan-d") == "runs show 030407-gan-digits "


@pytest.mark.slow
@pytest.mark.parametrize("shell", SHELLS)
def test_tab_completes_whatever_there_is(shell, terminal):
    at = terminal(shell)
    assert {line: at.completed(line) for line in COMPLETED} == COMPLETED
    named = at.completed("runs show gan")
    assert named.replace("\\", "") == "runs show 030406-gan-mnist of mine "  # quoted for the shell
    assert "\\ of\\ mine" in named
    assert at.completed("runs fork mlp 'data=km") == "runs fork mlp 'data=kmnist' "
