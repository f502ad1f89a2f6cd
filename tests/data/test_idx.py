import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from trainwright.data.sources import idx
from trainwright.data.sources.cifar import load_cifar10
from trainwright.data.sources.idx import load_idx, read_idx
from trainwright.errors import ConfigError, DataError

SHARED = Path(__file__).parents[3] / "shared" / "data"


def idx_bytes(array, *, kind=0x08, shape=None):
    shape = array.shape if shape is None else shape
    return (
        bytes((0, 0, kind, len(shape))) + struct.pack(f">{len(shape)}I", *shape) + array.tobytes()
    )


ARRAY = np.random.default_rng(0).integers(0, 256, (5, 4, 3), dtype=np.uint8)


@pytest.mark.parametrize("array", [ARRAY, ARRAY[0, 0], ARRAY[None]])
def test_plain_and_gzipped_files_are_read(tmp_path, array):
    (tmp_path / "a").write_bytes(idx_bytes(array))
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx_bytes(array)))
    for name in ("a", "a.gz"):
        tensor = read_idx(tmp_path / name)
        assert tensor.dtype == torch.uint8
        assert np.array_equal(tensor.numpy(), array)


WHOLE = idx_bytes(ARRAY)
DAMAGED = {
    "empty": (b"", "not an IDX file"),
    "html": (b"<html>404</html>", "not an IDX file"),
    "floats": (idx_bytes(ARRAY, kind=0x0D), "not an IDX file"),
    "no_dimensions": (bytes((0, 0, 8, 0)), "not an IDX file"),
    "header_cut": (WHOLE[:9], "within its header"),
    "longer": (WHOLE + b"x", "goes on after the 60 bytes"),
    "no_examples": (idx_bytes(ARRAY, shape=(0, 4, 3)), "the file can hold"),
}


@pytest.mark.parametrize("name", sorted(DAMAGED))
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_another_file_is_refused_by_what_is_wrong(tmp_path, name, suffix):
    content, message = DAMAGED[name]
    path = tmp_path / f"{name}{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(DataError, match=message):
        read_idx(path)


def test_a_file_that_is_cut_short_is_refused(tmp_path):
    (tmp_path / "a").write_bytes(WHOLE[:-1])
    with pytest.raises(DataError, match="the file can hold"):
        read_idx(tmp_path / "a")
    (tmp_path / "a.gz").write_bytes(gzip.compress(WHOLE[:-1]))
    with pytest.raises(DataError, match="ends after 59 of 60 bytes"):
        read_idx(tmp_path / "a.gz")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_header_that_promises_terabytes_allocates_nothing(tmp_path, suffix):
    content = idx_bytes(ARRAY, shape=(2**32 - 1, 2**10, 1))
    path = tmp_path / f"bomb{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(DataError, match="the file can hold"):
        read_idx(path)


def test_every_flipped_or_missing_byte_of_a_gzip_file_is_refused_or_harmless(tmp_path):
    """The gzip header's time, flags and name may change; no pixel ever does."""
    packed = gzip.compress(WHOLE, mtime=0)
    path = tmp_path / "a.gz"
    num_refused = 0
    for place in range(len(packed)):
        for damaged in (
            packed[:place],
            packed[:place] + bytes((packed[place] ^ 0x10,)) + packed[place + 1 :],
        ):
            path.write_bytes(damaged)
            try:
                assert np.array_equal(read_idx(path).numpy(), ARRAY)
            except DataError:
                num_refused += 1
    assert num_refused > 1.8 * len(packed)


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path / "none.gz")


@pytest.mark.parametrize("load", [load_idx, load_cifar10])
@pytest.mark.parametrize("validation", [60_000, 0, -1, 1.0])
def test_wrong_sizes_are_refused_before_any_file_is_looked_for(tmp_path, load, validation):
    with pytest.raises(ConfigError):
        load(root=str(tmp_path / "nowhere"), validation=validation)
    assert not (tmp_path / "nowhere").exists()


def test_the_table_names_four_files_with_sound_hashes_and_https_mirrors_each():
    for source in idx.SOURCES.values():
        assert len(source.files) == 4
        assert len(source.class_names) == 10
        assert len({sha256 for _, sha256 in source.files.values()}) == 4
        assert all(len(bytes.fromhex(sha256)) == 32 for _, sha256 in source.files.values())
        assert all(m.startswith("https://") and m.endswith("/") for m in source.mirrors)


@pytest.mark.skipif(not (SHARED / "mnist").exists(), reason="MNIST is not in ../shared/data")
def test_mnist_has_its_published_counts_and_mean():
    dataset = load_idx(root=str(SHARED), validation=5000)
    assert [len(p) for p in (dataset.train, dataset.validation, dataset.test)] == [
        55_000,
        5000,
        10_000,
    ]
    both = torch.cat((dataset.train.columns["targets"], dataset.validation.columns["targets"]))
    # Published label counts of the 60,000 training images, digit by digit.
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert torch.bincount(both).tolist() == counts
    assert dataset.info.input_shape == (1, 28, 28)
    assert dataset.info.input.mean[0] == pytest.approx(0.1307, abs=3e-4)
    assert dataset.info.input.std[0] == pytest.approx(0.3081, abs=3e-4)
