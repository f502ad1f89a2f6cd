"""Going on with a run: exactly, only as that run, and only with classes that are known."""

import json
import shutil

import pytest

from trainwright.engine.checkpoint import checkpoint

RUN = ("trainer=smoke", "model.widths=[8]", "run.dir=run")
STRETCHED = "trainer.schedule_until=100%"


def files_of(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def rewrite(path, change):
    """The checkpoint with other metadata and a digest that is right: anyone can make one."""
    tensors, metadata = checkpoint.load(path)
    metadata.pop("format")
    change(metadata)
    checkpoint.save([path], tensors, metadata)


def test_from_a_checkpoint_file_it_goes_on_from_that_step(run_main, ended_run):
    best = ended_run / "checkpoints" / "best.safetensors"
    (ended_run / "checkpoints" / "last.safetensors").unlink()
    result = run_main(f"trainer.resume={best}", "trainer.epochs=0.05", STRETCHED)
    assert result.code == 0
    assert "resumed at step 1" in result.out
    rows = [json.loads(row) for row in (ended_run / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]


def test_a_finished_run_says_so_and_changes_nothing(run_main, empty, ended_run):
    before = files_of(empty)
    result = run_main("trainer.resume=run")
    assert result.code == 0
    assert "finished" in result.out
    assert "train trainer.resume=run trainer.steps=4" in result.out
    assert files_of(empty) == before


def test_what_was_typed_is_kept_and_what_was_changed_is_added(run_main, empty, ended_run):
    assert run_main("trainer.resume=run", "trainer.steps=3", STRETCHED).code == 0
    typed = (empty / "run" / "overrides.txt").read_text().splitlines()
    assert typed == [*RUN[:-1], "trainer.steps=3", STRETCHED]


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("optimizer.lrr=1", "did you mean lr?"),
        ("trainer.batch_size=1", "trainer.batch_size: cannot be changed"),
        ("model=cnn", "model: cannot be changed"),
        pytest.param("seed=1", "seed: cannot be changed", marks=pytest.mark.slow),
        pytest.param("trainer.stepss=9", "did you mean steps?", marks=pytest.mark.slow),
        ("trainer.steps=1", "already made 2 steps"),
        pytest.param("trainer.steps=ten", "trainer.steps='ten'", marks=pytest.mark.slow),
    ],
)
def test_what_would_make_another_run_is_refused_by_name(typed, named, run_main, empty, ended_run):
    before = files_of(empty)
    result = run_main("trainer.resume=run", typed)
    assert result.code == 2
    assert named in result.err
    assert len(result.err.strip().splitlines()) <= 5
    assert files_of(empty) == before


def test_a_damaged_checkpoint_ends_with_4_and_starts_nothing(run_main, empty, ended_run):
    last = ended_run / "checkpoints" / "last.safetensors"
    whole = last.read_bytes()
    for other in ("best", "previous"):
        last.with_stem(other).unlink()
    damages = {
        "one bit of a weight": whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
        "torn": whole[: len(whole) // 2],
        "empty": b"",
        "no checkpoint": b"PK\x03\x04" + bytes(200),
    }
    for name, damaged in damages.items():
        last.write_bytes(damaged)
        before = files_of(empty)
        result = run_main("trainer.resume=run", "trainer.steps=9")
        assert result.code == 4, name
        assert "last.safetensors" in result.err, name
        assert "Traceback" not in result.err, name
        assert len(result.err.strip().splitlines()) <= 5, name
        assert files_of(empty) == before, name
    last.unlink()
    assert run_main("trainer.resume=run", "trainer.steps=9").code == 4


OWN = """
from pathlib import Path
from trainwright.nn.mlp import MLP

Path("canary").write_text("sung")

class Net(MLP):
    pass
"""


def longer(run, steps):
    return (f"trainer.resume={run}", f"trainer.steps={steps}", STRETCHED)


def test_a_class_of_ones_own_needs_no_trust_in_the_folder_that_it_was_trained_in(run_main, empty):
    """And where that run has come from elsewhere it is asked for, once."""
    (empty / "mine.py").write_text(OWN)
    assert run_main(*RUN, "model._target_=mine.Net").code == 0
    assert run_main(*longer("run", 3)).code == 0
    shutil.copytree(empty / "run", empty / "copied")
    (empty / "canary").unlink()
    result = run_main(*longer("copied", 4))
    assert result.code == 2
    assert "'trust=[mine.Net]'" in result.err
    assert not (empty / "canary").exists(), "nothing of it was imported"
    assert run_main(*longer("copied", 4), "trust=[mine.Net]").code == 0
    assert run_main(*longer("copied", 5)).code == 0, "what was said once is remembered"
    shutil.rmtree(empty / "copied")
    shutil.copytree(empty / "run", empty / "copied")
    for path in (empty / "copied" / "checkpoints").glob("*.safetensors"):
        rewrite(path, lambda metadata: metadata["config"]["model"].update(dropout=0.5))
    assert run_main(*longer("copied", 4)).code == 2, "it is another run in that place"


def test_what_ones_own_configs_name_needs_no_trust_for_runs_beside_them(run_main, empty, tmp_path):
    (empty / "mine.py").write_text(OWN)
    (empty / "configs" / "model").mkdir(parents=True)
    (empty / "configs" / "model" / "own.yaml").write_text("_target_: mine.Net\nwidths: [8]\n")
    assert run_main(*RUN, "model=own").code == 0
    shutil.copytree(empty / "run", empty / "moved")
    shutil.copytree(empty / "run", tmp_path / "elsewhere")
    assert run_main(*longer(tmp_path / "elsewhere", 3)).code == 2
    assert run_main(*longer("moved", 3)).code == 0


@pytest.mark.parametrize(
    ("place", "target"),
    [
        pytest.param("model", "os.system", marks=pytest.mark.slow),
        ("model", "mine.Net"),
        pytest.param("data", "builtins.exec", marks=pytest.mark.slow),
        pytest.param("optimizer", "torch.load", marks=pytest.mark.slow),
        ("schedule", "logging.os.system"),
        pytest.param("task", "mine.Net", marks=pytest.mark.slow),
    ],
)
def test_a_hostile_config_in_a_checkpoint_runs_nothing(target, place, run_main, empty, ended_run):
    (empty / "mine.py").write_text(OWN)

    def poison(metadata):
        metadata["config"][place] = {
            "_target_": target,
            "command": "touch canary",
            "inner": {"_target_": "os.system", "command": "touch canary"},
        }

    path = ended_run / "checkpoints" / "last.safetensors"
    rewrite(path, poison)
    result = run_main(f"trainer.resume={ended_run}", "trainer.steps=9")
    assert result.code == 2
    assert target in result.err
    assert not (empty / "canary").exists()


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(None, id="none"),
        pytest.param(5, id="number", marks=pytest.mark.slow),
        pytest.param({}, id="empty", marks=pytest.mark.slow),
        pytest.param({"model": 5}, id="model is a number", marks=pytest.mark.slow),
        pytest.param({"seed": "${oc.env:HOME}"}, id="interpolation"),
    ],
)
def test_a_checkpoint_without_a_config_that_can_run_ends_with_4(config, run_main, ended_run):
    path = ended_run / "checkpoints" / "last.safetensors"
    rewrite(path, lambda metadata: metadata.update(config=config))
    stretched = ("trainer.steps=9", "trainer.schedule_until=100%")
    result = run_main(f"trainer.resume={path}", *stretched)
    assert result.code == 4
    assert "Traceback" not in result.err


@pytest.fixture(scope="session")
def ended_run_once(train, tmp_path_factory):
    """A finished run of two steps, made once."""
    folder = tmp_path_factory.mktemp("ended") / "run"
    train(folder, *RUN[:-1])
    assert json.loads((folder / "summary.json").read_text())["status"] == "finished"
    return folder


@pytest.fixture
def ended_run(ended_run_once, empty):
    """A copy of it in the working directory, as `run`."""
    shutil.copytree(ended_run_once, empty / "run")
    return empty / "run"
