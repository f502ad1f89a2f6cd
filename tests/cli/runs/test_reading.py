"""What only reads a run leaves every byte and date of it, and an old format is named."""

import shutil

import pytest
from PIL import Image

from trainwright.cli.runs import COMMANDS
from trainwright.engine.checkpoint import checkpoint

# Every command that is given a run, and what else it takes; {run} and {other} are folders.
READING = {
    "list": ["list", "--json", "--root={root}", "--sort=optimizer.lr"],
    "show": ["show", "{run}"],
    "diff": ["diff", "{run}", "{other}"],
    "evaluate": ["evaluate", "{run}", "resamples=10", "out=measured"],
    "sample": ["sample", "{other}", "n=4", "format=png,npy"],
    "predict": ["predict", "{run}", "photo.png"],
    "explain": ["explain", "{run}", "photo.png"],
    "anomalies": ["anomalies", "{run}", "photo.png"],
    "watch": ["watch", "{run}"],
    "verify": ["verify", "{run}"],
    "report": ["report", "{run}", "{other}"],
    "export": ["export", "{run}"],
    "clean": ["clean", "seed>=0", "--root={root}"],
}
CHANGING = {"resume", "fork", "average", "sweep", "calibrate"}  # these write, or are about sweeps
APART = {
    "serve",
    "compress",
}  # one stays, and one takes half a minute: they have tests of their own


def state_of(folder):
    """Every file's bytes and date."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture(scope="module")
def moved(real_root, tmp_path_factory):
    """The runs as someone else's disk has them."""
    return shutil.copytree(real_root, tmp_path_factory.mktemp("disk") / "from elsewhere")


@pytest.fixture
def words(moved, tmp_path, monkeypatch):
    """The words of a command for these runs, in a working directory that knows nothing of them."""
    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8)).save("photo.png")
    run, other = sorted(moved.glob("*/*"))

    def make(command, run=run, other=other):
        return [w.format(run=run, other=other, root=moved) for w in READING[command]]

    return make


def test_every_command_is_known_here():
    assert READING.keys() | CHANGING | APART == COMMANDS.keys()


@pytest.mark.parametrize("command", READING)
def test_a_run_on_another_disk_is_read_and_not_changed(command, call, words, moved):
    before = state_of(moved)
    code, out, err = call(*words(command))
    assert code == 0, err
    assert out
    assert state_of(moved) == before


@pytest.mark.parametrize("command", ["evaluate", "sample", "predict", "verify", "export", "fork"])
def test_a_checkpoint_of_an_older_format_is_refused_by_name(command, call, words, moved, tmp_path):
    copies = []
    for run in sorted(moved.glob("*/*")):
        copies.append(shutil.copytree(run, tmp_path / "old" / run.name))
        for path in copies[-1].glob("checkpoints/*"):
            tensors, metadata = checkpoint.load(path)
            checkpoint.save([path], tensors, {**metadata, "format": 1})
    arguments = ["fork", copies[0], "seed=1"] if command == "fork" else words(command, *copies)
    code, _, err = call(*arguments)
    assert code == 4
    assert "has format 1; this version reads format 3" in err


def test_a_summary_of_an_older_version_is_read_as_far_as_it_goes(call, moved, tmp_path):
    """The first summaries had neither versions nor test metrics, the first configs fewer keys."""
    run = shutil.copytree(sorted(moved.glob("*/*"))[0], tmp_path / "outputs" / "old")
    (run / "summary.json").write_text('{"status": "finished", "best": {"metrics": {}}}')
    (run / "config.yaml").write_text("model: {_target_: trainwright.nn.mlp.MLP}\n")
    for command in (["list", f"--root={tmp_path}/outputs"], ["show", run], ["diff", run, run]):
        code, out, _ = call(*command)
        assert code == 0
        assert "old" in out
