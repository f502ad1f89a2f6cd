"""`runs serve` refuses what must not be served, in words, before it listens."""

import socket

import pytest


@pytest.fixture
def serve(call, real_root, monkeypatch):
    monkeypatch.delenv("TRAINWRIGHT_TOKEN", raising=False)
    return lambda *words: call("serve", "mlp", *words, f"--root={real_root}")


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "192.168.1.7", "example.org", "127.0.0.1.evil.org"]
)
def test_others_are_served_with_a_token_only(serve, host):
    code, _, err = serve(f"host={host}")
    assert code == 2
    assert "TRAINWRIGHT_TOKEN is not set" in err


def test_a_token_is_long_enough(serve, monkeypatch):
    monkeypatch.setenv("TRAINWRIGHT_TOKEN", "secret")
    code, _, err = serve()
    assert (code, "at least 16" in err, "secret" in err) == (2, True, False)


def test_a_port_that_is_taken_is_named(serve):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, _, err = serve(f"port={taken.getsockname()[1]}")
    assert (code, "port=0" in err) == (2, True)


def test_without_the_extra_it_is_named(serve, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "uvicorn", None)
    code, _, err = serve()
    assert (code, "[serve]'" in err) == (2, True)


def test_a_wrong_key_has_the_nearest(serve):
    code, _, err = serve("prot=8001")
    assert (code, "did you mean port?" in err) == (2, True)
    assert serve("batch=0")[0] == 2
