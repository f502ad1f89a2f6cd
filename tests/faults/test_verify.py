"""Verifying a run: the same steps are identical, and the first difference is named."""

import shutil

import pytest
import torch

from trainwright.cli.runs import main
from trainwright.engine.checkpoint import checkpoint
from trainwright.errors import CheckpointError
from trainwright.run.resume.recover import read
from trainwright.run.resume.verify import verify
from trainwright.runs.folder import RunFolder

GAN = (
    "model=gan", "model.width=4", "model.latent_dim=8", "trainer.ema=0.9", "trainer.steps=12",
    "data.limit=200", "trainer.batch_size=16", "trainer.evaluate_every=3", "trainer.save_every=4",
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(train, tmp_path_factory):
    return train(tmp_path_factory.mktemp("trained") / "run", *GAN).folder


@pytest.fixture
def folder(trained, tmp_path):
    shutil.copytree(trained, tmp_path / "run")
    return RunFolder(tmp_path / "run")


def files_of(folder):
    return {p: p.read_bytes() for p in sorted(folder.path.rglob("*")) if p.is_file()}


def rewritten(path, change):
    """A checkpoint with other contents and a digest that is right."""
    found = read(path)
    metadata = {key: value for key, value in found.metadata.items() if key != "format"}
    change(found.tensors, metadata)
    checkpoint.save([path], found.tensors, metadata)


def test_the_steps_before_the_last_checkpoint_come_out_the_same_and_nothing_is_changed(folder):
    before = files_of(folder)
    verdict = verify(folder)
    assert (verdict.begin, verdict.end) == (8, 12)
    assert verdict.difference is None, verdict
    assert verdict.not_exact == ()
    assert verdict.num_tensors == len(read(folder.last).tensors)
    assert files_of(folder) == before


@pytest.mark.parametrize(
    "name",
    [
        "averaged.generator.",
        pytest.param("task.model.generator.", marks=pytest.mark.slow),
        pytest.param("optimizer.discriminator.", marks=pytest.mark.slow),
    ],
)
def test_one_bit_of_a_tensor_is_found_and_named(name, folder):
    changed = []

    def flip(tensors, metadata):
        first = next(n for n in sorted(tensors) if n.startswith(name) and tensors[n].numel() > 3)
        numbers = tensors[first].reshape(-1)
        numbers.view(torch.int32)[1] ^= 1
        changed.append(first)

    rewritten(folder.last, flip)
    assert changed[0] in str(verify(folder))
    assert "1 of" in str(verify(folder))


@pytest.mark.slow
def test_another_learning_rate_in_between_is_noticed(folder):
    def slower(tensors, metadata):
        metadata["config"]["optimizer"]["lr"] *= 0.999

    rewritten(folder.last, slower)
    assert verify(folder).difference is not None


@pytest.mark.slow
def test_a_run_that_went_on_with_another_optimizer_is_replayed_with_that(resume, folder):
    resume(
        folder.path, "trainer.steps=16", "schedule=constant", "optimizer=sgd", "optimizer.lr=0.01"
    )
    assert read(folder.previous).step == 12
    verdict = verify(folder)
    assert (verdict.begin, verdict.end, verdict.difference) == (12, 16, None)


def test_without_an_earlier_checkpoint_it_says_what_is_missing(folder):
    folder.previous.unlink()
    with pytest.raises(CheckpointError, match="none before it to begin from"):
        verify(folder)


@pytest.mark.slow
def test_the_command_prints_the_verdict_and_exits_by_it(folder, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(folder.path)])
    assert ended.value.code == 0
    assert "identical: steps 8 to 12 again" in capsys.readouterr().out
    rewritten(folder.last, lambda tensors, metadata: metadata["config"]["optimizer"].update(lr=1))
    with pytest.raises(SystemExit) as ended:
        main(["verify", str(folder.path)])
    assert ended.value.code == 1
    assert "different: steps 8 to 12 again: " in capsys.readouterr().out
