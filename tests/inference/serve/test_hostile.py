"""Whatever is sent is answered shortly, with nothing of the machine in it, and never with 500."""

import base64
import io
import json
import random
import socket
import struct
import zlib

import pytest
from PIL import Image


def bomb(width, height):
    """A PNG of a few hundred bytes with so many pixels."""

    def chunk(kind, data):
        crc = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def png():
    Image.new("L", (8, 8)).save(file := io.BytesIO(), "PNG")
    return file.getvalue()


JSON = "application/json"
GOOD_ROW = {"age": 3, "job": "cook", "since": "2020-01-11", "income": 1}
CASES = {
    "no json": ("/people/predict", JSON, b'{"age": 3', 400),
    "no utf-8": ("/people/predict", JSON, b'{"job": "\xff"}', 400),
    "half a letter": ("/people/predict", JSON, b'{"job": "\\ud800"}', 400),
    "nested": ("/people/predict", JSON, b"[" * 90_000, 400),
    "huge number": ("/people/predict", JSON, b'{"age": ' + b"9" * 5000 + b"}", 400),
    "a number": ("/people/predict", JSON, b"3", 422),
    "null": ("/people/predict", JSON, b"null", 422),
    "nothing": ("/people/predict", JSON, b"", 400),
    "no examples": ("/people/predict", JSON, b"[]", 422),
    "lists in a list": ("/people/predict", JSON, b"[[1, 2]]", 422),
    "a key is missing": ("/people/predict", JSON, b'{"age": 3}', 422),
    "words": ("/people/predict", JSON, json.dumps({**GOOD_ROW, "age": "old"}), 422),
    "infinite": ("/people/predict", JSON, json.dumps({**GOOD_ROW, "age": 1e999}), 422),
    "an object in a cell": ("/people/predict", JSON, json.dumps({**GOOD_ROW, "age": {}}), 422),
    "too many": ("/people/predict", JSON, b"[" + b"{}," * 5000 + b"{}]", 413),
    "a path": ("/digits/predict", JSON, b'{"inputs": "/etc/passwd"}', 422),
    "ragged": ("/digits/predict", JSON, b'{"inputs": [[1, 2], [3]]}', 422),
    "no pixels": ("/digits/predict", JSON, b'{"inputs": [[], []]}', 422),
    "no bytes": ("/digits/predict", JSON, b'{"inputs": [[1, 256]]}', 422),
    "wrong depth": ("/digits/predict", JSON, b'{"inputs": [[[[1]]]]}', 422),
    "five channels": ("/digits/predict", JSON, b'{"inputs": [[[1, 2, 3, 4, 5]]]}', 422),
    "fractions": ("/digits/predict", JSON, b'{"inputs": [[0.5]]}', 422),
    "an object": ("/digits/predict", JSON, b'{"inputs": {"a": 1}}', 422),
    "true": ("/digits/predict", JSON, b'{"inputs": true}', 422),
    "no image": ("/digits/predict", "image/png", b"<svg/>", 422),
    "half an image": ("/digits/predict", "image/png", png()[:40], 422),
    "a bomb": ("/digits/predict", "image/png", bomb(13_000, 13_000), 413),
    "a bomb inside": (
        "/digits/predict", JSON,
        json.dumps({"inputs": base64.b64encode(bomb(60_000, 60_000)).decode()}), 413,
    ),
    "a short bomb": ("/digits/predict", "image/png", bomb(7_000, 7_000), 422),
    "gif": ("/digits/predict", "image/gif", b"GIF89a", 422),
    "a table of images": ("/digits/predict", "text/csv", b"inputs\n/etc/passwd\n", 415),
    "no media": ("/digits/predict", None, png(), 415),
    "a form": ("/digits/predict", "multipart/form-data", png(), 415),
    "parquet": ("/people/predict", "text/csv", b"PAR1" * 9, 415),
    "gzip": ("/people/predict", "text/csv", b"\x1f\x8b" * 9, 415),
    "other columns": ("/people/predict", "text/csv", b"a,b\n1,2\n", 422),
    "zeros": ("/people/predict", "text/csv", b"\0" * 900, 422),
    "latin": ("/people/predict", "text/csv", b"age,job,since,income\n1,\xe9,,\n", 422),
    "one long line": ("/people/predict", "text/csv", b"a" * 99_000, 422),
    "a quote without end": ("/people/predict", "text/csv", b'age,job\n"' + b"a\n" * 999, 422),
    "10 MB of a table": ("/people/predict", "text/csv", b"age,job\n" * 1_250_000, 413),
    "nothing to explain": ("/people/explain", JSON, b"", 400),
    "two rows": ("/people/explain", JSON, json.dumps([GOOD_ROW] * 2), 422),
    "no row": ("/people/explain", JSON, b"[]", 422),
    "a row without end": ("/people/explain", JSON, json.dumps({**GOOD_ROW, "age": 1e999}), 422),
    "a huge row": ("/people/explain", JSON, json.dumps({**GOOD_ROW, "age": 1e300}), 422),
    "a bomb to explain": ("/digits/explain", "image/png", bomb(13_000, 13_000), 413),
    "no image to explain": ("/digits/explain", "image/png", b"<svg/>", 422),
    "a text to explain": ("/digits/explain", "text/plain", b"a", 415),
    "no such method": ("/digits/explain?method=%00", "image/png", png(), 422),
    "no such class": ("/digits/explain?output=%F0%9F%8D%95" + "9" * 99, "image/png", png(), 422),
    "a GAN": ("/gan/explain", JSON, b"{}", 404),
    "top": ("/digits/predict?top=0", "image/png", png(), 422),
    "other top": ("/digits/predict?top=%F0%9F%8D%95", "image/png", png(), 422),
    "a list": ("/gpt/generate", JSON, b"[]", 422),
    "a text": ("/gpt/generate", "text/plain", b"{}", 415),
    "no such option": ("/gpt/generate", JSON, b'{"beam": 3}', 422),
    "a file": ("/gpt/generate", JSON, b'{"prompts": "/etc/passwd"}', 422),
    "too long": ("/gpt/generate", JSON, b'{"max_tokens": 4611686018427387904}', 422),
    "negative": ("/gpt/generate", JSON, b'{"max_tokens": -1}', 422),
    "an unknown letter": ("/gpt/generate", JSON, json.dumps({"prompt": "\u2603"}), 422),
    "a cold text": ("/gpt/generate", JSON, b'{"temperature": NaN}', 422),
    "no share": ("/gpt/generate", JSON, b'{"top_p": 0}', 422),
    "endless": ("/gpt/generate", JSON, json.dumps({"prompt": "a" * 30_000}), 422),
    "n": ("/gan/generate", JSON, b'{"n": 100000}', 422),
    "seed": ("/gan/generate", JSON, b'{"seed": 1e400}', 422),
    "class": ("/gan/generate", JSON, b'{"class": "cat"}', 422),
    "classes": ("/gan/generate", JSON, b'{"class": [[]]}', 422),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_it_is_refused_in_words(site, folders, case):
    path, media, body, status = CASES[case]
    answer = site("POST", path, body.encode() if isinstance(body, str) else body, media)
    told = answer.json
    assert (answer.status, list(told)) == (status, ["error"])
    assert told["error"] != "internal error"
    assert len(told["error"]) < 600
    shown = answer.body.decode()
    assert not any(
        word in shown for word in ("Traceback", "/tmp", ".py", str(folders["gpt"].parent))
    )
    assert site("GET", "/health").json == {"status": "ok"}


@pytest.mark.parametrize("num", [50, pytest.param(1000, marks=pytest.mark.slow)])
def test_junk_is_never_an_error_of_ours(site, num):
    draw = random.Random(0)
    good = [json.dumps(GOOD_ROW).encode(), png(), b'{"prompt": "To be", "max_tokens": 3}']
    paths = ("/people/predict", "/digits/predict", "/gpt/generate", "/gan/generate")
    paths += ("/people/explain", "/digits/explain?method=occlusion")
    kinds = (JSON, "image/png", "text/csv", "application/octet-stream", "a/b; c=\xe9")
    seen = set()
    for _ in range(num):
        body = bytearray(draw.choice(good))
        for _ in range(draw.randint(1, 6)):
            place = draw.randrange(len(body))
            body[place : place + draw.randint(0, 2)] = draw.randbytes(draw.randint(0, 2))
        seen.add(site("POST", draw.choice(paths), bytes(body), draw.choice(kinds)).status)
    assert seen <= {200, 400, 413, 415, 422}
    assert len(seen) > 2


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /predict HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n", b"403"),
        (b"GET /info HTTP/1.1\r\nHost: evil.example:80\r\n\r\n", b"403"),
        (b"GET /info HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n", b"403"),
        (b"GET /info HTTP/1.1\r\nHost: localhost\r\nOrigin: null\r\n\r\n", b"403"),
        (b"GET /info HTTP/1.0\r\n\r\n", b"403"),
        (b"GET /info HTTP/1.1\r\nHost: LOCALHOST:1\r\nOrigin: http://LOCALHOST:1\r\n\r\n", b"200"),
        (b"GET /info HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", b"200"),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        (b"GET /%2e%2e/%00%ff HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        (b"PUT /info HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n", b"405"),
        (b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\n\r\n", b"415"),
        (b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n", b"413"),
        (b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"\x16\x03\x01\x02\x00\x01\x00", b"400"),
    ],
)
def test_odd_heads_are_refused(site, head, status):
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as raw:
        raw.sendall(head)
        assert raw.recv(4096).split(b" ")[1] == status
