import contextlib
import logging
import threading
import time

import torch

from trainwright.run.judging.store import digest, kept, store_folder


def test_one_of_several_that_want_the_same_makes_it_and_all_have_it(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAINWRIGHT_DATA", str(tmp_path))
    made, received = [], []

    def make():
        made.append(1)
        time.sleep(0.05)  # the others come while it is being made
        return {"x": torch.arange(5)}

    threads = [
        threading.Thread(target=lambda: received.append(kept("a", make)["x"])) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert len(received) == 4
    assert all(torch.equal(x, torch.arange(5)) for x in received)


def test_what_is_kept_is_not_made_again_and_what_is_damaged_is(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("TRAINWRIGHT_DATA", str(tmp_path))
    assert torch.equal(kept("a", lambda: {"x": torch.ones(2)})["x"], torch.ones(2))
    assert torch.equal(kept("a", lambda: {"x": torch.zeros(2)})["x"], torch.ones(2))
    path = tmp_path / "score" / "a.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with caplog.at_level(logging.WARNING, logger="trainwright"):
        assert torch.equal(kept("a", lambda: {"x": torch.zeros(2)})["x"], torch.zeros(2))
    assert "made again" in caplog.text
    assert torch.equal(kept("a", lambda: {})["x"], torch.zeros(2))


def test_a_failure_leaves_nothing_and_the_next_one_tries_again(tmp_path, monkeypatch):
    monkeypatch.setenv("TRAINWRIGHT_DATA", str(tmp_path))

    def fail():
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        kept("a", fail)
    assert not list(tmp_path.glob("score/*.safetensors"))
    assert torch.equal(kept("a", lambda: {"x": torch.ones(2)})["x"], torch.ones(2))


def test_it_falls_back_to_the_users_cache_and_then_to_keeping_nothing(
    tmp_path, monkeypatch, caplog
):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("TRAINWRIGHT_DATA", str(tmp_path / "file"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert store_folder() == tmp_path / "cache" / "trainwright" / "score"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert store_folder() is None
    with caplog.at_level(logging.WARNING, logger="trainwright"):
        assert torch.equal(kept("a", lambda: {"x": torch.ones(2)})["x"], torch.ones(2))
    assert "computed again in each run" in caplog.text


def test_the_digest_tells_values_shapes_and_types_apart():
    x = torch.arange(6)
    parts = [x, x + 1, x.view(2, 3), x.int(), x.float(), "x", "y", None]
    assert len({digest(part) for part in parts}) == len(parts)
    assert digest(x, "a") == digest(x.clone(), "a") != digest("a", x)
    assert digest(x.view(2, 3).T) == digest(x.view(2, 3).T.contiguous())
