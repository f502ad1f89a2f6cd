"""Downloads run against a real https server on this machine, with a certificate made here."""

import hashlib
import os
import shutil
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from trainwright.data.sources.fetch import data_root, fetch
from trainwright.errors import DataError, DiskError

CONTENT = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
RIGHT = {"sha256": SHA256, "size": len(CONTENT)}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.path == "/good":
            self._send(200, CONTENT)
        elif self.path == "/redirect":
            self._send(302, b"", location="/good")
        elif self.path == "/to-http":
            self._send(302, b"", location=f"http://127.0.0.1:{self.server.server_port}/good")
        elif self.path == "/to-file":
            self._send(302, b"", location="file:///etc/passwd")
        elif self.path == "/other":
            self._send(200, CONTENT[:-1] + b"!")
        elif self.path == "/wrong-size":
            self._send(200, CONTENT + b"more")
        elif self.path == "/endless":
            self._send(200, CONTENT + b"more", length=None)
        elif self.path == "/cut":
            self._send(200, CONTENT[:1000], length=len(CONTENT))
        elif self.path == "/cut-silently":
            self._send(200, CONTENT[:1000], length=None)
        else:
            self._send(404, b"no such file")

    def _send(self, status, content, *, location=None, length=-1):
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        if length is not None:
            self.send_header("Content-Length", str(len(content) if length < 0 else length))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *args):
        pass


class QuietServer(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        pass  # a client that hangs up, or refuses the certificate, is what some tests want


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    folder = tmp_path_factory.mktemp("certificate")
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*command.split(), *names, *files], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def server(certificate):
    server = QuietServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def context(certificate, monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return ssl.create_default_context(cafile=str(certificate / "cert.pem"))


@pytest.fixture
def urls(server):
    server.asked.clear()
    return lambda *names: [f"https://127.0.0.1:{server.server_port}/{name}" for name in names]


def leftovers(folder):
    return [path.name for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["good", "redirect"])
def test_a_missing_file_is_downloaded_into_a_new_folder(tmp_path, urls, context, name, capsys):
    path = tmp_path / "new" / "folder" / "file.gz"
    assert fetch(urls(name), path, **RIGHT, context=context) == path
    assert path.read_bytes() == CONTENT
    assert leftovers(tmp_path) == ["file.gz"]
    assert capsys.readouterr().err == "downloading file.gz (1.0 MB)\n"


def test_a_right_file_is_used_without_asking_anyone(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(CONTENT)
    assert fetch(["https://mirror.invalid/x"], path, **RIGHT) == path


@pytest.mark.parametrize("content", [b"", CONTENT[:-1], CONTENT[:-1] + b"!"])
def test_a_wrong_file_is_named_and_left_alone(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(DataError, match="delete it and run again") as caught:
        fetch(["https://mirror.invalid/x"], path, **RIGHT)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 5
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none", "answers 404"),
        ("other", "another SHA-256"),
        ("wrong-size", "offers 1024004 bytes"),
        ("endless", "sends more than the 1024000"),
        ("cut", "broke off after 1000 "),
        ("cut-silently", "broke off after 1000 of 1024000"),
        ("to-http", "reached by http, not https"),
        ("to-file", "reached by file, not https|not allowed"),
    ],
)
def test_a_mirror_that_fails_is_passed_over_for_the_next(tmp_path, urls, context, name, reason):
    path = tmp_path / "file"
    fetch(urls(name, "good"), path, **RIGHT, context=context)
    assert path.read_bytes() == CONTENT
    path.unlink()
    with pytest.raises(DataError, match=reason) as caught:
        fetch(urls(name), path, **RIGHT, context=context)
    assert leftovers(tmp_path) == []
    message = str(caught.value)
    assert str(path) in message
    assert SHA256 in message
    assert "TRAINWRIGHT_DATA" in message
    assert len(message.splitlines()) <= 5


def test_a_server_without_a_trusted_certificate_is_refused(tmp_path, urls, server, context):
    with pytest.raises(DataError, match=r"(?i)certificate"):
        fetch(urls("good"), tmp_path / "file", **RIGHT)
    assert server.asked == []


@pytest.mark.parametrize("url", ["http://127.0.0.1/x", "ftp://a/x", "file:///etc/passwd", "x"])
def test_anything_but_https_is_refused(tmp_path, url):
    with pytest.raises(DataError, match="not https"):
        fetch([url], tmp_path / "file", **RIGHT)


def test_a_host_that_is_not_there_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="no mirror delivered it"):
        fetch(["https://127.0.0.1:9/x"], tmp_path / "file", **RIGHT)


def test_a_folder_that_cannot_be_made_is_a_disk_error(tmp_path):
    (tmp_path / "file").write_text("a file where a folder should be")
    with pytest.raises(DiskError, match=r"data\.root"):
        fetch(["https://mirror.invalid/x"], tmp_path / "file" / "sub" / "x", **RIGHT)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_a_disk_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DiskError, match="Permission denied"):
        fetch(["https://mirror.invalid/x"], tmp_path / "x", **RIGHT)


def test_the_data_root_is_the_argument_else_the_variable_else_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("TRAINWRIGHT_DATA", str(tmp_path / "variable"))
    assert data_root(str(tmp_path)) == tmp_path
    assert data_root(None) == tmp_path / "variable"
    assert data_root("~/x") == Path.home() / "x"
    assert data_root("relative") == Path.cwd() / "relative"
    monkeypatch.delenv("TRAINWRIGHT_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert data_root(None) == tmp_path / "cache" / "trainwright"
