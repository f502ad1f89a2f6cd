import json
import struct

import pytest
import torch
from safetensors.torch import save_file

from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.step import train_step
from trainwright.errors import CheckpointError, DiskError

GAN = (
    "model=gan", "model.width=4", "model.latent_dim=4", "trainer.ema=0.9", "trainer.batch_size=8",
    "data.limit=100", "schedule=plateau", "task.score=none",
)  # fmt: skip


def trained(assembled, *overrides, steps=3):
    assembly = assembled(*GAN, *overrides)
    for _ in range(steps):
        train_step(assembly.state, assembly.train.at(assembly.state.step), assembly.settings)
        assembly.state.step += 1
    return assembly


def equal(first, second):
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


TENSORS = {
    "weights": torch.randn(4, 3, generator=torch.Generator().manual_seed(0)),
    "count": torch.tensor(7),
    "flags": torch.tensor([True, False]),
    "classes": torch.arange(5),
    "halves": torch.randn(6, generator=torch.Generator().manual_seed(1)).bfloat16(),
    "none": torch.zeros(0, 3),
}
METADATA = {"step": 3, "config": {"lr": 1e-3, "name": "größe"}, "classes": ["a", "b"], "no": None}


def test_what_is_loaded_is_what_was_saved(tmp_path):
    paths = [tmp_path / "last.safetensors", tmp_path / "best.safetensors"]
    checkpoint.save(paths, TENSORS, METADATA)
    for path in paths:
        tensors, metadata = checkpoint.load(path)
        assert equal(tensors, TENSORS)
        assert all(tensors[name].dtype == TENSORS[name].dtype for name in TENSORS)
        assert metadata == {"format": checkpoint.FORMAT, **METADATA}
    assert sorted(tmp_path.iterdir()) == sorted(paths)


def test_a_state_that_is_restored_goes_on_to_the_same_bits(assembled, tmp_path):
    first = trained(assembled)
    first.state.schedule.observe(2.0)
    first.state.schedule.observe(3.0)
    path = tmp_path / "last.safetensors"
    progress = checkpoint.progress_metadata(first.state)
    checkpoint.save([path], checkpoint.state_tensors(first.state), {"progress": progress})
    tensors, metadata = checkpoint.load(path)
    second = assembled(*GAN, "seed=9")  # other weights, to be overwritten
    second.state.seed = first.state.seed
    checkpoint.restore(second.state, tensors, metadata["progress"])
    assert second.state.step == 3
    assert second.state.schedule.state_dict() == first.state.schedule.state_dict()
    for _ in range(2):
        for state in (first.state, second.state):
            train_step(state, first.train.at(state.step), first.settings)
            state.step += 1
    mine, theirs = (checkpoint.state_tensors(a.state) for a in (second, first))
    assert equal(mine, theirs)


def flipped(data, position, mask):
    return data[:position] + bytes([data[position] ^ mask]) + data[position + 1 :]


def test_one_flipped_bit_is_found_wherever_it_is(tmp_path):
    path = tmp_path / "last.safetensors"
    checkpoint.save([path], TENSORS, METADATA)
    whole = path.read_bytes()
    header_end = 8 + struct.unpack("<Q", whole[:8])[0]
    assert header_end < len(whole)
    damaged = tmp_path / "damaged.safetensors"
    undetected = []
    for position in range(len(whole)):
        damaged.write_bytes(flipped(whole, position, 1 << position % 8))
        try:
            checkpoint.load(damaged)
        except CheckpointError:
            continue
        undetected.append(position)
    # A header is padded with blanks; one that turns into another blank changes nothing.
    assert [p for p in undetected if p >= header_end or whole[p] != ord(" ")] == []


@pytest.mark.parametrize("kept", [0, 4, 8, 200, -1])
def test_a_file_that_is_cut_short_is_refused(tmp_path, kept):
    path = tmp_path / "last.safetensors"
    checkpoint.save([path], TENSORS, METADATA)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(path)


def test_files_that_are_not_ours_are_refused_by_name(tmp_path):
    path = tmp_path / "other.safetensors"
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        checkpoint.load(path)
    save_file({"weights": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="not written by trainwright"):
        checkpoint.load(path)
    save_file({"weights": torch.zeros(2)}, path, metadata={"trainwright": "{}"})
    with pytest.raises(CheckpointError, match="SHA-256"):
        checkpoint.load(path)
    path.write_bytes(b"\x80\x04" * 500)  # the beginning of a pickle
    with pytest.raises(CheckpointError, match="damaged or not a safetensors"):
        checkpoint.load(path)


def test_another_format_is_refused_with_the_one_that_is_read(tmp_path, monkeypatch):
    path = tmp_path / "last.safetensors"
    monkeypatch.setattr(checkpoint, "FORMAT", 99)
    checkpoint.save([path], TENSORS, METADATA)
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="has format 99; this version reads format 3"):
        checkpoint.load(path)


def test_tensors_that_are_swapped_under_their_names_are_noticed(tmp_path):
    """The digest is over names too: the bytes alone would be the same."""
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    pair = {"a": torch.ones(2), "b": torch.zeros(2)}
    checkpoint.save([first], pair, METADATA)
    checkpoint.save([second], {"a": pair["b"], "b": pair["a"]}, METADATA)
    one, other = first.read_bytes(), second.read_bytes()
    length = struct.unpack("<Q", one[:8])[0]
    header, foreign = json.loads(one[8 : 8 + length]), json.loads(other[8 : 8 + length])
    foreign["__metadata__"] = header["__metadata__"]
    text = json.dumps(foreign).encode()
    second.write_bytes(struct.pack("<Q", len(text)) + text + other[8 + len(other[8:]) - 16 :])
    with pytest.raises(CheckpointError, match="SHA-256"):
        checkpoint.load(second)


def test_a_save_that_fails_midway_leaves_the_old_file_whole_and_no_other(tmp_path, no_file_beyond):
    path = tmp_path / "last.safetensors"
    checkpoint.save([path], TENSORS, METADATA)
    before = path.read_bytes()
    with pytest.raises(DiskError, match="could not write "), no_file_beyond(20_000):
        checkpoint.save([path], {"weights": torch.zeros(100_000)}, METADATA)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    checkpoint.save([path], {"weights": torch.zeros(100_000)}, METADATA)
    assert len(checkpoint.load(path)[0]["weights"]) == 100_000


def test_a_save_that_fails_at_the_last_moment_leaves_no_temporary_file(tmp_path):
    path = tmp_path / "last.safetensors"
    path.mkdir()  # nothing can be renamed over it
    with pytest.raises(DiskError, match="could not write "):
        checkpoint.save([path], TENSORS, METADATA)
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_gone_is_a_disk_error_and_nothing_is_said_of_room(tmp_path):
    with pytest.raises(DiskError, match=r"could not write .*\n  No such file or directory$"):
        checkpoint.save([tmp_path / "gone" / "last.safetensors"], TENSORS, METADATA)


@pytest.mark.parametrize(
    "other",
    [
        ["model.width=8"],
        ["model.conditional=false"],
        ["model.latent_dim=5"],
        ["model.generator_norm=null"],
    ],
)
def test_another_architecture_is_refused(assembled, other):
    first = trained(assembled, steps=1)
    tensors = checkpoint.state_tensors(first.state)
    progress = checkpoint.progress_metadata(first.state)
    second = assembled(*GAN, *other)
    with pytest.raises(CheckpointError, match="does not fit this run's networks") as caught:
        checkpoint.restore(second.state, tensors, progress)
    assert len(str(caught.value).splitlines()) <= 5


def test_a_checkpoint_without_the_averages_or_the_progress_of_the_run_is_refused(assembled):
    first = trained(assembled, steps=1)
    tensors = checkpoint.state_tensors(first.state)
    progress = checkpoint.progress_metadata(first.state)
    without = {k: v for k, v in tensors.items() if not k.startswith("averaged.")}
    with pytest.raises(CheckpointError):
        checkpoint.restore(assembled(*GAN).state, without, progress)
    with pytest.raises(CheckpointError):
        checkpoint.restore(assembled(*GAN).state, tensors, {"step": 1})


def test_restoring_for_evaluation_gives_the_averaged_weights(assembled):
    first = trained(assembled)
    tensors = checkpoint.state_tensors(first.state)
    second = assembled(*GAN, "seed=5")
    checkpoint.restore_evaluated(second.state, tensors)
    generator = first.state.averaged.task.model.generator.state_dict()
    assert equal(second.state.evaluated_task.model.generator.state_dict(), generator)
    assert not equal(first.state.task.model.generator.state_dict(), generator)
    discriminator = first.state.task.model.discriminator.state_dict()
    assert equal(second.state.evaluated_task.model.discriminator.state_dict(), discriminator)
