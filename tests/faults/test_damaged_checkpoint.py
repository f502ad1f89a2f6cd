"""Checkpoints with flipped bits, cut short, or with contents that nobody would have written."""

import copy
import hashlib
import json
import random
import struct

import pytest
import torch
from safetensors import SafetensorError, safe_open

from trainwright.engine.checkpoint import checkpoint, tensor_file
from trainwright.errors import CheckpointError, ConfigError, NonFiniteError
from trainwright.inference.trained import load_trained
from trainwright.runs import header

NUM_FLIPS = NUM_TRUNCATIONS = 1000
RUN = (
    "model=mlp", "model.widths=[8]", "trainer.steps=4", "trainer.batch_size=8", "trainer.ema=0.9",
    "trainer.save_every=2", "trainer.evaluate_every=2", "trainer.log_every=1", "data.limit=40",
    "schedule=plateau", "trainer.early_stopping.patience=9", "trainer.sample_every=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def run(train, tmp_path_factory):
    return train(tmp_path_factory.mktemp("whole") / "run", *RUN).folder


@pytest.fixture(scope="module")
def whole(run):
    """The bytes of a real checkpoint: weights, averages, optimizer state, schedule, hooks."""
    return (run / "checkpoints" / "last.safetensors").read_bytes()


def undetected(path, versions):
    """How many of the damaged versions of a file are loaded as if nothing were."""
    count, messages = 0, []
    for version in versions:
        path.write_bytes(version)
        try:
            checkpoint.load(path)
        except CheckpointError as error:
            messages.append(str(error))
        else:
            count += 1
    assert all(str(path) in text and len(text.splitlines()) <= 4 for text in messages)
    return count


def flips(data, num):
    draw = random.Random(0)
    for _ in range(num):
        changed = bytearray(data)
        changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        yield bytes(changed)


def truncations(data, num):
    draw = random.Random(1)
    yield from (data[:0], data[:7], data[:8], data[:-1])
    for _ in range(num - 4):
        yield data[: draw.randrange(len(data))]


FEW = 100


@pytest.mark.parametrize("num", [FEW, pytest.param(NUM_FLIPS, marks=pytest.mark.slow)])
def test_every_flipped_bit_is_found(whole, tmp_path, num):
    assert undetected(tmp_path / "a.safetensors", flips(whole, num)) == 0


@pytest.mark.parametrize("num", [FEW, pytest.param(NUM_TRUNCATIONS, marks=pytest.mark.slow)])
def test_every_truncation_is_found(whole, tmp_path, num):
    assert undetected(tmp_path / "a.safetensors", truncations(whole, num)) == 0


def test_without_the_digest_most_flips_would_pass(whole, tmp_path, monkeypatch):
    """The negative control: the library itself has no checksum."""
    path, passed = tmp_path / "a.safetensors", 0
    for version in flips(whole, FEW):
        path.write_bytes(version)
        try:
            with safe_open(path, framework="pt") as file:
                [file.get_tensor(name) for name in file.keys()]  # noqa: SIM118
            passed += 1
        except SafetensorError:
            pass
    assert passed > FEW // 2
    monkeypatch.setattr(checkpoint, "digest", lambda tensors, text: declared(whole))
    assert undetected(path, flips(whole, FEW)) > FEW // 4


def declared(data):
    """The digest that a file says it has."""
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length])["__metadata__"]["sha256"]


def everything(folder):
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_where_every_checkpoint_is_damaged_nothing_begins_at_step_0(
    train, resume, tmp_path, damage
):
    folder = train(tmp_path / "run", *RUN).folder
    for path in (folder / "checkpoints").iterdir():
        data = bytearray(path.read_bytes())
        if damage == "gone":
            path.unlink()
            continue
        data[-5] ^= 1
        path.write_bytes({"flip": data, "cut": data[:-1], "empty": b""}[damage])
    before = everything(folder)
    with pytest.raises(CheckpointError) as caught:
        resume(folder, "trainer.steps=8")
    assert caught.value.exit_code == 4
    assert everything(folder) == before


def test_control_one_that_is_whole_is_gone_on_from_and_that_is_seen(train, resume, tmp_path):
    folder = train(tmp_path / "run", *RUN).folder
    (folder / "checkpoints" / "last.safetensors").write_bytes(b"")
    (folder / "checkpoints" / "best.safetensors").write_bytes(b"")
    before = everything(folder)
    resume(folder, "trainer.steps=8")
    assert everything(folder) != before


# Contents that are whole and signed, as anyone can sign them, and are nonsense.


def rewritten(data, change):
    """The checkpoint with its metadata changed and its digest made anew."""
    length = struct.unpack("<Q", data[:8])[0]
    labels = json.loads(data[8 : 8 + length])["__metadata__"]
    metadata = json.loads(labels["trainwright"])
    change(metadata)
    return metadata


def places(value, where=()):
    """Every place in nested objects, itself excluded."""
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield (*where, key)
        yield from places(inner, (*where, key))


STRANGE = {
    "null": None, "true": True, "minus": -1, "huge": 10**30, "float": 1e300, "text": "x",
    "list": [], "object": {}, "nested": {"a": [{"b": 1}]}, "long": "x" * 100_000,
}  # fmt: skip


def set_at(metadata, where, value):
    for key in where[:-1]:
        metadata = metadata[key]
    if value is places:
        del metadata[where[-1]]
    else:
        metadata[where[-1]] = value


def strange_metadata(whole):
    length = struct.unpack("<Q", whole[:8])[0]
    text = json.loads(whole[8 : 8 + length])["__metadata__"]["trainwright"]
    metadata = json.loads(text)
    for where in places(metadata):
        for name, value in {**STRANGE, "missing": places}.items():
            changed = copy.deepcopy(metadata)
            set_at(changed, where, value)
            if changed != metadata:
                yield f"{'.'.join(where)} {name}", changed


@pytest.mark.parametrize("every", [199, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.timeout(7200)
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # of torch.compile's own
def test_no_field_of_the_metadata_can_crash_a_resume(
    run, whole, train, resume, tmp_path, every, caplog
):
    """Whatever a field is, the run goes on or is refused in a few lines."""
    folder = tmp_path / "run"
    path = folder / "checkpoints" / "last.safetensors"
    tensors, _ = checkpoint.load(run / "checkpoints" / "last.safetensors")
    crashes = []
    cases = list(strange_metadata(whole))
    assert len(cases) > 500
    for name, metadata in cases[::every]:
        path.parent.mkdir(parents=True, exist_ok=True)
        for part in ("samples", "plots"):
            (folder / part).mkdir(exist_ok=True)
        for old in path.parent.iterdir():
            old.unlink()
        checkpoint.save([path], tensors, metadata)
        try:
            resume(folder, "trainer.steps=5")
        except (CheckpointError, ConfigError, NonFiniteError) as error:
            if len(str(error).splitlines()) > 5:
                crashes.append((name, "too long"))
        except Exception as error:
            crashes.append((name, repr(error)[:200]))
    assert crashes == []


def raw(head, body=b"", *, length=None):
    """A file with this header, and any length that is claimed of it."""
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def entry(dtype="F32", shape=(2,), place=(0, 8)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(place)}


EIGHT = b"\0" * 8
LIES = {
    "a header longer than the file": raw({"a": entry()}, EIGHT, length=10_000),
    "a header of 2^63 bytes": raw({"a": entry()}, EIGHT, length=2**63),
    "a header of 16 EB": raw({"a": entry()}, EIGHT, length=2**64 - 1),
    "no header": raw(b"", EIGHT),
    "a huge header of blanks": raw(b"{}" + b" " * (header.LARGEST_HEADER + 1)),
    "a bomb of brackets": raw(b"[" * 100_000 + b"]" * 100_000),
    "a bomb of objects": raw(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "a list": raw([1, 2]),
    "a number of 5000 digits": raw(b'{"a": ' + b"9" * 5000 + b"}"),
    "a name twice": raw(
        b'{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},'
        b'"a":{"dtype":"U8","shape":[4],"data_offsets":[4,8]}}',
        EIGHT,
    ),
    "a type that is none": raw({"a": entry(dtype="OBJECT")}, EIGHT),
    "a type that is a list": raw({"a": entry(dtype=[])}, EIGHT),
    "a shape of 2^62 floats": raw({"a": entry(shape=(2**62,))}, EIGHT),
    "a shape that overflows to 8 bytes": raw({"a": entry(shape=(2**63, 2, 1))}, EIGHT),
    "a negative shape": raw({"a": entry(shape=(-2,))}, EIGHT),
    "a shape of truths": raw({"a": entry(shape=(True, True), place=(0, 4))}, EIGHT),
    "a shape of fractions": raw({"a": entry(shape=(2.0,))}, EIGHT),
    "a place beyond the end": raw({"a": entry(place=(8, 16))}, EIGHT),
    "a place that goes backwards": raw({"a": entry(place=(8, 0))}, EIGHT),
    "two tensors in one place": raw({"a": entry(), "b": entry()}, EIGHT),
    "a hole": raw({"a": entry(), "b": entry(place=(16, 24))}, EIGHT * 3),
    "bytes that belong to nothing": raw({"a": entry()}, EIGHT * 2),
    "more keys": raw({"a": {**entry(), "loader": "os.system"}}, EIGHT),
    "metadata that is no text": raw({"__metadata__": {"trainwright": {"a": 1}}}),
    "a name of 100 kB": raw({"a" * 100_000: entry()}, EIGHT),
    "a hundred thousand and one tensors": raw(
        {f"{n}": entry("U8", (0,), (0, 0)) for n in range(100_001)}
    ),
    "no safetensors but a pickle": b"\x80\x04\x95" + b"\0" * 40,
    "no safetensors but a zip": b"PK\x03\x04" + b"\0" * 60,
}


@pytest.mark.parametrize("name", LIES)
def test_a_header_that_lies_is_refused_before_anything_is_allocated(tmp_path, monkeypatch, name):
    path = tmp_path / "a.safetensors"
    path.write_bytes(LIES[name])

    def reached(*args, **kwargs):
        raise AssertionError("memory was asked for")

    monkeypatch.setattr(tensor_file.torch, "empty", reached)
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    assert len(str(caught.value).splitlines()) <= 4
    assert len(str(caught.value)) < 1000
    # The control: it is the header that ends it, for a true one gets to where memory is asked for.
    path.write_bytes(raw({"a": entry()}, EIGHT))
    with pytest.raises(AssertionError, match="was asked for"):
        checkpoint.load(path)


def test_tensors_that_are_not_those_of_the_network_are_refused(run, resume, tmp_path):
    """More, fewer, of another shape or type: before any of them is in use."""
    tensors, metadata = checkpoint.load(run / "checkpoints" / "last.safetensors")
    name = next(n for n in tensors if n.startswith("task.") and tensors[n].dim() == 2)
    optimizer = next(n for n in tensors if n.startswith("optimizer.") and tensors[n].dim() == 2)
    changes = {
        "another task tensor": {**tensors, "task.extra": torch.zeros(3)},
        "one that nothing reads": {**tensors, "extra": torch.zeros(3)},
        "one fewer": {k: v for k, v in tensors.items() if k != name},
        "another shape": {**tensors, name: tensors[name][:, :3].contiguous()},
        "another type": {**tensors, name: tensors[name].long()},
        "an optimizer's of another shape": {**tensors, optimizer: torch.zeros(3, 3)},
        "an optimizer's of another type": {**tensors, optimizer: tensors[optimizer].int()},
        "an optimizer's of no parameter": {**tensors, "optimizer.model.0.99.step": torch.ones(())},
        "an optimizer's beyond the last": {**tensors, "optimizer.model.7.0.step": torch.ones(())},
        "an optimizer's without a number": {**tensors, "optimizer.model.x.y.z": torch.ones(())},
    }
    for number, (what, changed) in enumerate(changes.items()):
        folder = tmp_path / str(number)
        path = folder / "checkpoints" / "last.safetensors"
        path.parent.mkdir(parents=True)
        checkpoint.save([path], changed, metadata)
        with pytest.raises(CheckpointError, match="does not fit"):
            pytest.fail(f"{what}: {resume(folder, 'trainer.steps=8')}")


@pytest.mark.parametrize(("key", "value"), [("activation", "none"), ("dropout", 5.0), ("new", 1)])
def test_a_network_that_refuses_its_stored_config_is_the_checkpoints_fault(
    run, resume, tmp_path, key, value
):
    tensors, metadata = checkpoint.load(run / "checkpoints" / "last.safetensors")
    metadata["config"]["model"][key] = value
    path = tmp_path / "run" / "checkpoints" / "last.safetensors"
    path.parent.mkdir(parents=True)
    checkpoint.save([path], tensors, metadata)
    for use in (lambda: resume(tmp_path / "run"), lambda: load_trained(path)):
        with pytest.raises(CheckpointError, match=f"cannot run\n  model.*{key}"):
            use()
