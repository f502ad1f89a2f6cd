"""The mean of several networks beside one by hand in float64, and which files have none."""

import json
import shutil

import numpy as np
import pytest
import torch
from rounding import rounding

from trainwright.cli.runs import main
from trainwright.config.plan import Plan
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.checkpoint.tensor_file import digest
from trainwright.errors import CheckpointError, ConfigError
from trainwright.inference.federated.average import average, write
from trainwright.inference.trained import load_trained
from trainwright.run.assemble.assemble import assemble
from trainwright.run.records import facts
from trainwright.run.request import Request
from trainwright.run.resume.resume import resume_request
from trainwright.run.run import run
from trainwright.runs.header import check_header

MLP = (
    "data=digits", "trainer=smoke", "trainer.ema=null", "model=mlp", "model.widths=[6]",
    "model.norm=batch", "trainer.precision=fp32", "trainer.plots=false", "trainer.sample_every=0",
)  # fmt: skip
COUNTS = (100, 300, 600)


@pytest.fixture(scope="module")
def site(composed, tmp_path_factory):
    """Write the checkpoint of a site, whose weights are drawn, as a run writes it."""

    def make(name, num, *overrides, count=100, change=None, **more):
        config = composed(*MLP, *overrides)
        assembly = assemble(Plan.of(config, name="mlp-digits"))
        torch.manual_seed(num)
        state = assembly.state
        for tensor in (*state.task.parameters(), *state.task.buffers()):
            if tensor.is_floating_point():
                torch.nn.init.uniform_(tensor, 0.1, 1)
            else:
                tensor.fill_(7 * num)
        state.step = 10 * num
        metadata = {**facts(Plan.of(config, name="mlp-digits"), assembly), "hooks": {}, **more}
        metadata["progress"] = checkpoint.progress_metadata(state)
        metadata["examples"] = {"train": count}
        tensors = checkpoint.state_tensors(state)
        if change is not None:
            change(tensors, metadata)
        folder = tmp_path_factory.mktemp("sites") / name / "checkpoints"
        folder.mkdir(parents=True)
        checkpoint.save([folder / "best.safetensors"], tensors, metadata)
        return folder / "best.safetensors"

    return make


@pytest.fixture(scope="module")
def three(site):
    return [site(f"site-{n}", n, count=COUNTS[n]) for n in range(3)]


def expected(paths, shares):
    """The mean of each tensor by hand, in float64."""
    loaded = [checkpoint.load(path)[0] for path in paths]
    return {
        name.removeprefix("task."): sum(
            share * one[name].double().numpy() for share, one in zip(shares, loaded, strict=True)
        )
        for name in loaded[0]
        if name.startswith("task.") and loaded[0][name].is_floating_point()
    }


@pytest.mark.numeric
@pytest.mark.parametrize(
    ("weights", "shares"), [("examples", (0.1, 0.3, 0.6)), ("equal", (1 / 3, 1 / 3, 1 / 3))]
)
def test_every_float_is_the_weighted_mean_and_every_count_the_largest(three, weights, shares):
    found = average(three, weights)
    assert found.shares == pytest.approx(shares)
    by_hand = expected(three, shares)
    assert {"running_mean", "running_var", "weight"} <= {n.rpartition(".")[2] for n in by_hand}
    for name, value in by_hand.items():
        assert np.abs(found.tensors[name].double().numpy() - value).max() <= rounding(
            torch.float32, 1
        )
    counts = [t for n, t in found.tensors.items() if n.endswith("num_batches_tracked")]
    assert counts == [torch.tensor(14)]
    away = sum(((expected(three[:1], (1,))[n] - m) ** 2).sum() for n, m in by_hand.items())
    norm = sum((mean**2).sum() for mean in by_hand.values())
    assert found.distances[0] == pytest.approx((away / norm) ** 0.5, rel=1e-5)


def test_averaged_weights_are_what_counts_where_a_run_has_them(site):
    paths = [site(f"ema-{n}", n, "trainer.ema=0.9") for n in range(2)]
    found = average(paths, "equal")
    loaded = [checkpoint.load(path)[0] for path in paths]
    mean = sum(one["averaged.model.layers.1.weight"].double() for one in loaded) / 2
    torch.testing.assert_close(found.tensors["model.layers.1.weight"].double(), mean)


def test_the_folder_is_used_like_that_of_a_run_and_forked_again(three, composed, tmp_path):
    found = average(three, "examples")
    folder = write(found, tmp_path, exact=tmp_path / "round")
    trained = load_trained(folder.best)
    for name, value in trained.task.state_dict().items():
        assert torch.equal(value, found.tensors[name])
    assert (trained.step, trained.metadata["examples"]) == (20, {"train": 1000})
    told = json.loads((folder.path / "summary.json").read_text())["average"]
    assert [one["examples"] for one in told] == list(COUNTS)
    config = composed(*MLP, f"run.dir={tmp_path / 'next'}", "trainer.steps=1")
    digest = check_header(folder.best).labels["sha256"]
    config.fork = {"checkpoint": str(folder.best), "sha256": digest, "freeze": [], "old_lr": 1.0}
    summary = json.loads((run(Request(Plan.of(config))).folder / "summary.json").read_text())
    assert summary["lineage"]["name"] == "average of 3: mlp-digits"
    config = composed(*MLP, f"trainer.resume={folder.path}")
    with pytest.raises(CheckpointError, match=r"an average of several runs(.|\n)*runs fork"):
        resume_request(config, [f"trainer.resume={folder.path}"])


def test_runs_that_did_not_begin_alike_are_averaged_with_a_warning(site, three):
    assert not average(three, "equal").notes
    other = site("other", 3, "seed=1")
    assert "did not begin with the same weights" in average([*three, other], "equal").notes[0]


def _rename_a_class(tensors, metadata):
    names = metadata["data"]["columns"]["targets"]["names"]
    metadata["data"]["columns"]["targets"]["names"] = [*names[:-1], "nine"]


def _normalise_otherwise(tensors, metadata):
    metadata["data"]["columns"]["inputs"]["mean"] = [0.5]


def _in_float64(tensors, metadata):
    name = next(name for name in tensors if name.endswith("weight"))
    tensors[name] = tensors[name].double()


def _forget_how_many(tensors, metadata):
    del metadata["examples"]


REFUSED = {
    "another width": ({"overrides": ["model.widths=[7]"]}, r"model\.widths"),
    "another activation": ({"overrides": ["model.activation=tanh"]}, r"model\.activation"),
    "another class": ({"change": _rename_a_class}, "class names"),
    "another scale": ({"change": _normalise_otherwise}, "mean of inputs"),
    "another type": ({"change": _in_float64}, "float64"),
    "no count": ({"change": _forget_how_many}, "weights=equal"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_of_another_kind_than_the_first_has_no_mean_with_it(what, site, three):
    settings, words = REFUSED[what]
    settings = dict(settings)
    other = site(what.replace(" ", "-"), 3, *settings.pop("overrides", ()), **settings)
    with pytest.raises(CheckpointError, match=words) as refused:
        average([three[0], other], "examples")
    assert len(str(refused.value).splitlines()) <= 5


def test_a_file_with_nan_a_damaged_one_and_a_pickle_are_refused(three, tmp_path):
    data = bytearray(three[0].read_bytes())
    data[-1] ^= 1
    for name, content in {"damaged": bytes(data), "pickle": b"\x80\x04K\x01."}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match="damaged"):
            average([three[1], tmp_path / name], "equal")
    tensors, metadata = checkpoint.load(three[0])
    first = next(name for name in tensors if name.endswith("running_var"))
    tensors[first][0] = float("inf")
    text = json.dumps(metadata, sort_keys=True)
    labels = {"trainwright": text, "sha256": digest(tensors, text)}
    checkpoint.write_tensors(tmp_path / "infinite", tensors, labels)
    with pytest.raises(CheckpointError, match=r"NaN or infinity\n.*running_var"):
        average([three[1], tmp_path / "infinite"], "equal")


def test_one_run_alone_and_one_twice_have_no_mean(three, tmp_path):
    with pytest.raises(ConfigError, match="two or more"):
        average(three[:1], "equal")
    with pytest.raises(ConfigError, match="named twice"):
        average([three[0], three[1], three[0].parent / "." / "best.safetensors"], "equal")


def test_the_command_takes_folders_and_files_and_makes_a_folder_once(three, tmp_path, capsys):
    sent = shutil.copy(three[2], tmp_path / "sent.safetensors")
    words = ["average", three[0], three[1], sent, f"out={tmp_path / 'made'}", f"--root={tmp_path}"]
    with pytest.raises(SystemExit) as done:
        main([*map(str, words), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert done.value.code == 0
    assert [site["share"] for site in told["sites"]] == pytest.approx([0.1, 0.3, 0.6])
    assert (tmp_path / "made" / "checkpoints" / "best.safetensors").is_file()
    with pytest.raises(SystemExit) as done:
        main(list(map(str, words)))
    assert done.value.code == 2
    assert "exists" in capsys.readouterr().err
