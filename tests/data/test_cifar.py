import gzip
import io
import tarfile

import numpy as np
import pytest

from trainwright.data.sources import cifar
from trainwright.data.sources.cifar import load_cifar10, read_archive
from trainwright.errors import DataError

MEMBERS = (*cifar.TRAIN_MEMBERS, cifar.TEST_MEMBER)
RECORDS = 4  # images a batch in these small archives; the real one has 10,000


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(cifar, "BATCH_SIZE", RECORDS)


def records(seed):
    rows = np.random.default_rng(seed).integers(0, 256, (RECORDS, 3073), dtype=np.uint8)
    rows[:, 0] %= 10
    return rows


def write_archive(path, contents, *, links=()):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
            archive.addfile(info)
    return path


def whole():
    return {name: records(seed).tobytes() for seed, name in enumerate(MEMBERS)}


def test_batches_are_read_by_name_and_other_members_ignored(tmp_path):
    contents = {"../../evil.bin": b"x" * 50, **whole(), "readme.html": b"hello"}
    batches = read_archive(write_archive(tmp_path / "c.tar.gz", contents, links=["a_link"]))
    assert set(batches) == set(MEMBERS)
    for seed, name in enumerate(MEMBERS):
        rows = records(seed)
        # Byte 1 + c * 1024 + y * 32 + x of a record is channel c of pixel (x, y).
        assert batches[name].inputs[2, 1, 5, 7] == rows[2, 1 + 1024 + 5 * 32 + 7]
        assert np.array_equal(batches[name].inputs.numpy().reshape(RECORDS, -1), rows[:, 1:])
        assert batches[name].targets.tolist() == rows[:, 0].tolist()
    assert [path.name for path in tmp_path.iterdir()] == ["c.tar.gz"]


def test_a_member_that_is_missing_short_or_a_link_is_refused(tmp_path):
    missing = whole()
    del missing[cifar.TEST_MEMBER]
    with pytest.raises(DataError, match="lacks cifar-10-batches-bin/test_batch"):
        read_archive(write_archive(tmp_path / "a.tar.gz", missing))
    with pytest.raises(DataError, match="no plain file"):
        read_archive(write_archive(tmp_path / "b.tar.gz", missing, links=[cifar.TEST_MEMBER]))
    short = {**whole(), cifar.TEST_MEMBER: b"abc"}
    with pytest.raises(DataError, match="has 3 bytes; right would be 12,292"):
        read_archive(write_archive(tmp_path / "c.tar.gz", short))


def test_a_class_beyond_nine_is_refused(tmp_path):
    rows = records(0)
    rows[1, 0] = 10
    contents = {**whole(), cifar.TEST_MEMBER: rows.tobytes()}
    with pytest.raises(DataError, match="class 10"):
        read_archive(write_archive(tmp_path / "c.tar.gz", contents))


@pytest.mark.parametrize("place", [0.0, 0.01, 0.5, 0.9])
def test_a_truncated_archive_is_refused(tmp_path, place):
    path = write_archive(tmp_path / "c.tar.gz", whole())
    content = path.read_bytes()
    path.write_bytes(content[: int(place * len(content))])
    with pytest.raises(DataError):
        read_archive(path)
    path.write_bytes(gzip.compress(b"not a tar archive"))
    with pytest.raises(DataError):
        read_archive(path)


def test_an_archive_with_another_hash_is_not_even_opened(tmp_path):
    (tmp_path / "cifar10").mkdir()
    write_archive(tmp_path / "cifar10" / cifar.ARCHIVE, whole())
    with pytest.raises(DataError, match="damaged or another file"):
        load_cifar10(root=str(tmp_path), validation=1, limit=5)


def test_the_loader_joins_the_batches_and_splits_them(tmp_path, monkeypatch):
    (tmp_path / "cifar10").mkdir()
    path = write_archive(tmp_path / "cifar10" / cifar.ARCHIVE, whole())
    import hashlib

    monkeypatch.setattr(cifar, "ARCHIVE_SIZE", path.stat().st_size)
    monkeypatch.setattr(cifar, "ARCHIVE_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    dataset = load_cifar10(root=str(tmp_path), validation=5)
    assert [len(p) for p in (dataset.train, dataset.validation, dataset.test)] == [15, 5, 4]
    assert dataset.info.input_shape == (3, 32, 32)
    assert dataset.info.class_names[3] == "cat"
    loaded = {tuple(i.flatten()[:20].tolist()) for i in dataset.train.inputs}
    loaded |= {tuple(i.flatten()[:20].tolist()) for i in dataset.validation.inputs}
    source = {tuple(row[1:21].tolist()) for seed in range(5) for row in records(seed)}
    assert loaded == source
