"""What was typed to start a run, as its folder has it, which may come from anyone."""

import os

from trainwright.runs.folder import RunFolder
from trainwright.runs.stored import MAX_BYTES


def test_what_was_typed_is_read_with_a_limit_or_is_lost(tmp_path):
    path = tmp_path / "overrides.txt"
    assert RunFolder(tmp_path).overrides() == []
    path.write_bytes(b"data=digits\nrun.name=\xff\n")
    assert RunFolder(tmp_path).overrides() == ["data=digits", "run.name=\N{REPLACEMENT CHARACTER}"]
    os.truncate(path, MAX_BYTES + 1)
    assert RunFolder(tmp_path).overrides() == []
