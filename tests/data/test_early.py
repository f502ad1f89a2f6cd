"""What a thread reads while torch is imported is what would be read later, and not relied on."""

import gzip
import hashlib
import struct
import threading

import pytest

from trainwright.data import early, idx_source
from trainwright.data.early import begin_reading, read_source
from trainwright.errors import DataError

IMAGES = bytes(range(2 * 3 * 3))


@pytest.fixture
def node(tmp_path, monkeypatch):
    """The section `data` of a config, for a dataset of one file that is there."""
    whole = gzip.compress(bytes((0, 0, 8, 3)) + struct.pack(">3I", 2, 3, 3) + IMAGES)
    facts = {"images.gz": (len(whole), hashlib.sha256(whole).hexdigest())}
    source = idx_source.Source(("https://nowhere.invalid/",), facts, ("a",))
    monkeypatch.setitem(idx_source.SOURCES, "tiny", source)
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny" / "images.gz").write_bytes(whole)
    return {"_target_": "trainwright.data.idx.load_idx", "name": "tiny", "root": str(tmp_path)}


def reading():
    return [thread for thread in threading.enumerate() if thread.name == "reads tiny"]


def test_what_was_read_early_is_given_once(node, tmp_path):
    begin_reading(node)
    for thread in reading():
        thread.join()
    (tmp_path / "tiny" / "images.gz").write_bytes(b"another file by now")
    assert read_source("tiny", node["root"]) == {"images.gz": ((2, 3, 3), bytearray(IMAGES))}
    with pytest.raises(DataError, match="damaged or another file"):
        read_source("tiny", node["root"])


def test_a_damaged_file_is_refused_when_it_is_needed(node, tmp_path):
    (tmp_path / "tiny" / "images.gz").write_bytes(b"damaged")
    begin_reading(node)
    with pytest.raises(DataError, match=r"images\.gz is damaged or another file"):
        read_source("tiny", node["root"])


@pytest.mark.parametrize(
    "other",
    [
        {"root": "/nowhere"},
        {"name": "no_such_set"},
        {"root": ["a list"]},
        {"_target_": "trainwright.data.digits.load_digits"},
    ],
    ids=str,
)
def test_nothing_is_begun_for_what_is_not_there_or_is_wrong(node, other):
    begin_reading({**node, **other})
    assert reading() == []
    assert early._begun == {}
