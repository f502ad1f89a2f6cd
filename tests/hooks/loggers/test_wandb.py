"""W&B offline: what is in the file that `wandb sync` would send, against the run folder."""

import json
import struct

import pytest

from trainwright.errors import ConfigError

wandb = pytest.importorskip("wandb", reason="wandb is not installed")
OFFLINE = ("logger=wandb", "logger.wandb.mode=offline", "logger.wandb.project=mine")


@pytest.fixture(autouse=True)
def _nobody(tmp_path, monkeypatch):
    """No account, no network, nothing written outside the test's folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")


def records(path):
    """Every record of a .wandb file: 7 bytes of header, then LevelDB's log format.

    Blocks of 32 KiB hold pieces (checksum 4, length 2, type 1, data); a record is one piece
    (type 1), or a first (2), middle ones (3) and a last (4).
    """
    from wandb.proto import wandb_internal_pb2

    data, position, whole = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while position + 7 <= len(data):
        if 32768 - position % 32768 < 7:  # the padding at the end of a block
            position += 32768 - position % 32768
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        piece = data[position + 7 : position + 7 + length]
        position += 7 + length
        whole = piece if kind in (1, 2) else whole + piece
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            yield record


def history(path):
    """The logged rows by step."""
    rows = {}
    for record in records(path):
        if record.WhichOneof("record_type") == "history":
            items = {
                "/".join(item.nested_key) or item.key: json.loads(item.value_json)
                for item in record.history.item
            }
            rows.setdefault(record.history.step.num, {}).update(items)
    return rows


@pytest.mark.filterwarnings("ignore")
def test_a_stopped_and_resumed_run_keeps_its_id_and_has_every_row(interrupt, rows_of, tmp_path):
    folder = interrupt(tmp_path / "run", *OFFLINE)
    identity = json.loads((folder / "loggers.json").read_text())["wandb"]
    files = sorted((folder / "wandb").glob("offline-run-*/*.wandb"))
    assert [file.name for file in files] == [f"run-{identity}.wandb"] * 2
    logged = {}
    for file in files:
        logged |= history(file)
    for row in rows_of(folder):
        found = logged[row["step"]]
        assert {key: found[key] for key in row if key != "step"} == {
            key: value for key, value in row.items() if key != "step"
        }
    for step in (4, 8):
        assert any(name.startswith("samples") for name in logged[step])
    runs = [r.run for r in records(files[0]) if r.WhichOneof("record_type") == "run"]
    assert runs[0].project == "mine"
    config = {item.key: json.loads(item.value_json) for item in runs[0].config.update}
    assert config["model"]["latent_dim"] == 8


def test_without_a_login_online_is_refused_before_anything_is_made(train, tmp_path):
    with pytest.raises(ConfigError, match="wandb login"):
        train(tmp_path / "run", "logger=wandb")
    assert not (tmp_path / "run").exists()
