"""Our own reader and writer of safetensors files, beside the library's."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from trainwright.engine.checkpoint import tensor_file
from trainwright.engine.checkpoint.tensor_file import DTYPES, read_tensors, write_tensors
from trainwright.errors import CheckpointError
from trainwright.runs.header import check_header

LABELS = {"trainwright": '{"a": "ä\\n"}', "sha256": "0"}


def of_all_kinds():
    draw = torch.Generator().manual_seed(0)
    made = {
        f"of.{name}": torch.randint(0, 2, (3, 5), generator=draw).to(dtype)
        for name, dtype in DTYPES.items()
    }
    return {
        **made, "number": torch.tensor(1.5), "empty": torch.empty(0, 7),
        "name with \"quotes\" and ü": torch.randn(2, 3, 4, generator=draw),
        "odd": torch.ones(3, dtype=torch.uint8),
    }  # fmt: skip


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert tensor.dtype == other[name].dtype
        assert torch.equal(tensor, other[name]), name


def test_the_library_reads_what_we_write(tmp_path):
    path, tensors = tmp_path / "a.safetensors", of_all_kinds()
    write_tensors(path, tensors, LABELS)
    assert_equal(load_file(path), tensors)
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == LABELS
    assert check_header(path).labels == LABELS


def test_we_read_what_the_library_writes(tmp_path):
    path, tensors = tmp_path / "a.safetensors", of_all_kinds()
    save_file(tensors, path, metadata=LABELS)
    read, labels = read_tensors(path)
    assert_equal(read, tensors)
    assert labels == LABELS


def test_each_tensor_begins_at_a_multiple_of_its_width(tmp_path):
    path = tmp_path / "a.safetensors"
    write_tensors(path, of_all_kinds(), LABELS)
    with path.open("rb") as file:
        places = tensor_file.read_header(file, path).places
        assert file.tell() % 8 == 0
    assert all(place.begin % DTYPES[place.dtype].itemsize == 0 for place in places)


def test_a_type_that_the_format_lacks_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"waves is of type torch\.complex64"):
        write_tensors(tmp_path / "a", {"waves": torch.zeros(2, dtype=torch.complex64)}, {})
    assert not (tmp_path / "a").exists()


def test_a_file_that_is_cut_while_it_is_read_is_an_error_and_kills_nobody(tmp_path, monkeypatch):
    """A file that is mapped into memory would end the process with SIGBUS."""
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"a": torch.zeros(100_000), "b": torch.zeros(100_000)}, LABELS)
    read_header = tensor_file.read_header

    def read_and_cut(file, path):
        header = read_header(file, path)
        with path.open("rb+") as other:
            other.truncate(500_000)
        return header

    monkeypatch.setattr(tensor_file, "read_header", read_and_cut)
    with pytest.raises(CheckpointError, match="has become shorter"):
        read_tensors(path)
