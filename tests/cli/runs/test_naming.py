"""RUN: a path, `last`, `best:<metric>`, a piece of a name; and `runs` itself."""

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from trainwright.cli.runs import COMMANDS
from trainwright.errors import ConfigError
from trainwright.report.score_table import FIGURES
from trainwright.runs.find import find_run
from trainwright.runs.ranking import HIGHER_IS_BETTER

RUNS = Path(sys.executable).with_name("runs")


@pytest.fixture
def root(tmp_path, write_run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    day = tmp_path / "outputs" / "2026-01-02"
    write_run(day / "030405-mlp-mnist", accuracy=0.98)
    write_run(day / "030406-cnn-mnist", accuracy=0.99)
    write_run(day / "030407-gan-mnist", accuracy=None, objective="sliced_wasserstein",
              best={"step": 3, "metrics": {"sliced_wasserstein": 0.07, "novel": 2}})  # fmt: skip
    write_run(day / "030408-gan-digits", accuracy=None, objective="sliced_wasserstein",
              best={"step": 3, "metrics": {"sliced_wasserstein": 0.05, "novel": 1}})  # fmt: skip
    return tmp_path / "outputs"


@pytest.mark.parametrize(
    ("run", "found"),
    [
        ("last", "030408-gan-digits"),
        ("best:accuracy", "030406-cnn-mnist"),
        ("best:validation/accuracy", "030406-cnn-mnist"),
        ("best:sliced_wasserstein", "030408-gan-digits"),
        ("lowest:accuracy", "030405-mlp-mnist"),
        ("highest:novel", "030407-gan-mnist"),
        ("cnn", "030406-cnn-mnist"),
        ("gan-mnist", "030407-gan-mnist"),
        ("2026-01-02/030405", "030405-mlp-mnist"),
        ("030405-mlp-mnist", "030405-mlp-mnist"),
        ("outputs/2026-01-02/030405-mlp-mnist", "030405-mlp-mnist"),
        ("outputs/2026-01-02/030405-mlp-mnist/", "030405-mlp-mnist"),
    ],
)
def test_means_one_run(run, found, root):
    assert find_run(run, Path("outputs")).path.name == found


def test_a_name_that_is_whole_wins_over_longer_ones(root, write_run):
    write_run(root / "cnn")
    assert find_run("cnn", root).path == root / "cnn"


@pytest.mark.parametrize(
    ("run", "said"),
    [
        ("mnist", ["3 runs have that in their name", "030407-gan-mnist", "030405-mlp-mnist"]),
        ("030405-mlp-mnits", ["did you mean", "030405-mlp-mnist"]),
        ("xyz", ["there is no such run", "030408-gan-digits"]),
        ("best:acuracy", ["did you mean validation/accuracy?"]),
        ("best:novel", ["highest:novel or lowest:novel"]),
        ("\x1b[2J", ["\\x1b[2J"]),
    ],
)
def test_an_unknown_or_ambiguous_name_lists_candidates(run, said, root):
    with pytest.raises(ConfigError) as refused:
        find_run(run, root)
    text = str(refused.value)
    assert all(part in text for part in said), text
    assert len(text.splitlines()) <= 5
    assert "\x1b" not in text


def test_many_candidates_are_counted(root, write_run):
    for number in range(10):
        write_run(root / f"mlp-{number}")
    with pytest.raises(ConfigError, match="and 8 more"):
        find_run("mlp", root)


def test_no_runs_at_all(tmp_path, call):
    code, _, err = call("show", "last", f"--root={tmp_path}")
    assert code == 2
    assert "there are no runs below" in err


def test_the_root_may_lie_in_the_home_folder(root, call, monkeypatch, tmp_path):
    """No shell does that for --root=~/outputs, which listed nothing."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir("/")
    code, out, _ = call("show", "cnn", "--root=~/outputs")
    assert code == 0
    assert str(root / "2026-01-02" / "030406-cnn-mnist") in out


@pytest.mark.parametrize(
    "words", [("show", "~nobody-at-all"), ("list", "--root=~nobody-at-all/outputs")]
)
def test_a_home_that_there_is_not_is_a_mistake(words, call):
    code, _, err = call(*words)
    assert code == 2
    assert "no user is called nobody-at-all" in err


def test_a_checkpoint_of_a_run_is_that_run_and_that_checkpoint(real_root):
    path = next(real_root.glob("*/*mlp*/checkpoints/last.safetensors"))
    run = find_run(str(path), real_root)
    assert run.path == path.parent.parent
    assert run.checkpoint("best") == path


@pytest.mark.slow
def test_resume_goes_on_as_train_does(real_root, tmp_path, environment):
    """As the installed command, from a folder whose name needs quoting."""
    odd = tmp_path / "it's=odd, [really] \\"
    shutil.copytree(next(real_root.glob("*/*mlp*")), odd)
    done = subprocess.run(
        [RUNS, "resume", odd, "trainer.steps=4", "trainer.schedule_until=100%"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "resumed at step 2" in done.stdout
    assert find_run(str(odd)).step == 4


def test_resume_passes_on_what_train_refuses(call, real_root, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["runs"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    folder = tmp_path / "run"
    shutil.copytree(next(real_root.glob("*/*mlp*")), folder)
    code, _, err = call("resume", folder, "trainer.stepss=9")
    assert code == 2
    assert "trainer.steps" in err


def test_every_command_has_help_with_examples_and_needs_no_torch(imported_by):
    told = imported_by(*([command, "--help"] for command in COMMANDS))
    for command, (lines, heavy) in zip(COMMANDS, told, strict=True):
        assert heavy == [], command
        assert f"runs {command} " in "\n".join(lines).split("examples:")[1]
        assert max(map(len, lines)) <= 110, command


def test_help_lists_every_command(call):
    _, out, _ = call("--help")
    assert all(f"runs {name}" in out for name in COMMANDS)


@pytest.mark.slow  # computing time, which a machine that is busy stretches
def test_help_costs_no_time(environment):
    def seconds():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([RUNS, "--help"], env=environment, capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # Computing time; alone it takes half of that.
    assert any(seconds() < 0.2 for _ in range(5))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lits"], "did you mean list?"),
        (["show"], "RUN"),
        (["show", "-x"], "-x: there is no such flag"),
        (["show", "a", "b"], "b: there is no"),
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_named(arguments, said, call):
    code, _, err = call(*arguments)
    assert code == 2
    assert said in err


def test_best_knows_which_way_each_figure_of_a_score_is_better():
    told = {name: way for name, (_, way) in FIGURES.items() if way in ("lower", "higher")}
    assert {name: HIGHER_IS_BETTER[name] for name in told} == {
        name: way == "higher" for name, way in told.items()
    }
