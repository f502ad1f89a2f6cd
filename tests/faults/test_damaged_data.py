"""Data that is damaged, and downloads that are killed: found or fetched again, never trained on."""

import gzip
import hashlib
import io
import json
import os
import random
import signal
import struct
import subprocess
import sys
import tarfile
import time

import numpy as np
import pytest
from PIL import Image

from trainwright.data import disk_cache
from trainwright.data.images.decode import BadImageError, decode_image
from trainwright.data.sources import cifar
from trainwright.data.sources.fetch import fetch
from trainwright.data.sources.folder import load_folder
from trainwright.data.sources.idx import read_idx
from trainwright.errors import DataError

NUM = 200  # damaged versions of each format
FEW = 20
COUNTS = [FEW, pytest.param(NUM, marks=pytest.mark.slow)]


def damaged(data, num):
    """Versions with one bit flipped and versions cut short, half of each."""
    draw = random.Random(0)
    for number in range(num):
        at = draw.randrange(len(data))
        if number % 2:
            yield data[:at]
        else:
            yield data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1 :]


def idx_bytes():
    pixels = np.random.default_rng(0).integers(0, 256, (30, 28, 28), dtype=np.uint8)
    return bytes((0, 0, 8, 3)) + struct.pack(">3I", *pixels.shape) + pixels.tobytes()


def archive_bytes():
    """A small archive of CIFAR's form: six members of 20 images."""
    made = io.BytesIO()
    generator = np.random.default_rng(0)
    with tarfile.open(fileobj=made, mode="w:gz") as file:
        for name in (*cifar.TRAIN_MEMBERS, cifar.TEST_MEMBER):
            rows = generator.integers(0, 256, (20, 1 + cifar.IMAGE_BYTES), dtype=np.uint8)
            rows[:, 0] %= 10
            member = tarfile.TarInfo(name)
            member.size = rows.size
            file.addfile(member, io.BytesIO(rows.tobytes()))
    return made.getvalue()


FILES = {
    "train-images-idx3-ubyte.gz": lambda: gzip.compress(idx_bytes()),
    "train-images-idx3-ubyte": idx_bytes,
    "cifar-10-binary.tar.gz": archive_bytes,
}


@pytest.mark.parametrize("num", COUNTS)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_with_what_was_found_what_is_right_and_the_remedy(
    tmp_path, name, num
):
    whole, path = FILES[name](), tmp_path / name
    sha256 = hashlib.sha256(whole).hexdigest()
    for version in damaged(whole, num):
        path.write_bytes(version)
        with pytest.raises(DataError) as caught:
            fetch(["https://127.0.0.1:9/x"], path, sha256=sha256, size=len(whole))
        text = str(caught.value)
        right = sha256 if len(version) == len(whole) else f"{len(whole):,} bytes"
        assert str(path) in text
        assert right in text
        assert "delete it and run again" in text
        assert len(text.splitlines()) <= 5
        assert path.read_bytes() == version  # it may be the only copy, and is the user's


@pytest.mark.parametrize("num", COUNTS)
def test_without_the_hash_what_is_read_is_right_or_refused(tmp_path, num):
    """The second line: the reader by itself, whose checksum is gzip's."""
    name = "train-images-idx3-ubyte.gz"
    whole, path = FILES[name](), tmp_path / name
    path.write_bytes(whole)
    right, refused = read_idx(path).numpy().tobytes(), 0
    for version in damaged(whole, num):
        path.write_bytes(version)
        try:
            found = read_idx(path).numpy().tobytes()
        except DataError:
            refused += 1
        else:
            assert found == right
    assert refused > num * 0.7


def images(folder, *, num=12, form="png"):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(num):
        pixels = np.random.default_rng(number).integers(0, 256, (9, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:02}.{form}")


def load(tmp_path):
    return load_folder(path=str(tmp_path / "images"), size=8, root=str(tmp_path / "root"))


@pytest.mark.parametrize("num", COUNTS)
@pytest.mark.parametrize("name", ["images.bin", "labels.npy", "index.json"])
def test_every_change_of_a_cache_of_decoded_images_is_found(tmp_path, name, num):
    images(tmp_path / "images")
    load(tmp_path)
    (cache,) = (tmp_path / "root" / "folder-cache").iterdir()
    whole = (cache / name).read_bytes()
    for version in damaged(whole, num):
        (cache / name).write_bytes(version)
        with pytest.raises(DataError, match=r"is damaged\n  delete that folder") as caught:
            load(tmp_path)
        assert str(cache) in str(caught.value)
    (cache / name).write_bytes(whole)
    load(tmp_path)


def test_without_the_digest_a_flipped_pixel_would_be_trained_on(tmp_path, monkeypatch):
    """The negative control."""
    images(tmp_path / "images")
    before = load(tmp_path).train.columns["inputs"].clone()
    (cache,) = (tmp_path / "root" / "folder-cache").iterdir()
    pixels = bytearray((cache / "images.bin").read_bytes())
    pixels[0] ^= 128
    (cache / "images.bin").write_bytes(pixels)
    signed = json.loads((cache / "index.json").read_text())["sha256_of_all"]
    monkeypatch.setattr(disk_cache, "_digest_of_all", lambda folder, index, files: signed)
    assert not np.array_equal(load(tmp_path).train.columns["inputs"], before)


def test_a_cache_that_no_run_has_opened_for_a_month_is_removed(tmp_path):
    images(tmp_path / "images")
    load(tmp_path)
    (old,) = (tmp_path / "root" / "folder-cache").iterdir()
    month_ago = time.time() - 31 * 24 * 3600
    os.utime(old / "index.json", (month_ago, month_ago))
    load(tmp_path)  # being opened renews it
    assert time.time() - (old / "index.json").stat().st_mtime < 3600
    os.utime(old / "index.json", (month_ago, month_ago))
    images(tmp_path / "images", num=13)
    load(tmp_path)
    (new,) = (tmp_path / "root" / "folder-cache").iterdir()
    assert new != old


@pytest.mark.parametrize("num", COUNTS)
def test_a_damaged_png_is_refused_or_shows_what_it_showed(tmp_path, num):
    images(tmp_path / "images", num=1)
    path = tmp_path / "images" / "00.png"
    whole = path.read_bytes()
    right = decode_image(path, size=8, channels=3, fit="stretch")
    refused = 0
    for version in damaged(whole, num):
        path.write_bytes(version)
        try:
            found = decode_image(path, size=8, channels=3, fit="stretch")
        except BadImageError:
            refused += 1
        else:
            assert np.array_equal(found, right)
    assert refused > num * 0.8


# Killed in the middle of a download

SERVER = """
import http.server, ssl, sys, time
class Slow(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        data = open(sys.argv[1], "rb").read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        stop = int(self.path[1:])
        self.wfile.write(data[:stop])
        self.wfile.flush()
        if stop < len(data):
            time.sleep(600)
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2])
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
"""
CLIENT = """
import ssl, sys
from pathlib import Path
from trainwright.data.sources.fetch import fetch
stop, path, port, sha256, size, certificate = sys.argv[1:]
fetch([f"https://localhost:{port}/{stop}"], Path(path), sha256=sha256, size=int(size),
      context=ssl.create_default_context(cafile=certificate))
"""


@pytest.fixture
def certificate(tmp_path):
    pem = tmp_path / "localhost.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
         "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", str(pem), "-out",
         f"{pem}.crt"],
        capture_output=True, check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("needs openssl")
    pem.write_text(pem.read_text() + (tmp_path / "localhost.pem.crt").read_text())
    return pem


def test_a_download_that_is_killed_leaves_nothing_that_is_taken_for_the_file(tmp_path, certificate):
    content = random.Random(0).randbytes(600_000)
    (tmp_path / "served").write_bytes(content)
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(tmp_path / "served"), str(certificate)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        port = server.stdout.readline().strip()
        path = tmp_path / "data" / "file.gz"
        sha256 = hashlib.sha256(content).hexdigest()
        arguments = [str(path), port, sha256, str(len(content)), f"{certificate}.crt"]

        def client(stop):
            return subprocess.Popen([sys.executable, "-c", CLIENT, str(stop), *arguments])

        for stop in (1, 300_000, 599_999):
            process = client(stop)
            while process.poll() is None and not any(
                part.exists() for part in path.parent.glob("*.part")
            ):
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert not path.exists()
        assert len(list(path.parent.glob("*.part"))) >= 1
        for part in path.parent.glob("*.part"):
            os.utime(part, (0, 0))  # what a kill has left long ago
        assert client(len(content)).wait() == 0
        assert path.read_bytes() == content
        assert [p.name for p in path.parent.iterdir()] == ["file.gz"]
    finally:
        server.kill()
        server.communicate()
