"""Requests a second of `runs serve`: an MLP of MNIST's shape, batched and one by one.

`python benchmarks/serve.py` trains it for a few steps, writes images to files, asks `runs predict`
about them, and then the server, 64 at a time; each answer is compared with that of its own image.
With `--soak 3600` it is asked for an hour instead, a little at a time, and its memory is looked at.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from machine import describe
from PIL import Image

BIN = Path(sys.executable).parent
NUM_IMAGES = 256


def main() -> None:
    """Measure with each of some settings, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000, help="of each setting")
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--root", help="folder with mnist/*.gz, as data.root of train")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="ask for so long")
    args = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as folder:
        desk = Path(folder)
        words = ["model=mlp", "data=mnist", "trainer=smoke", "trainer.precision=fp32"]
        words += [f"data.root={args.root}"] if args.root else []
        subprocess.run(
            [BIN / "train", *words, f"run.dir={desk / 'run'}"],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        pixels = np.random.RandomState(0).randint(0, 256, (NUM_IMAGES, 28, 28), np.uint8)
        for number, image in enumerate(pixels):
            Image.fromarray(image).save(desk / f"{number:04d}.png")
        files = sorted(desk.glob("*.png"))
        said = subprocess.run(
            [BIN / "runs", "predict", desk / "run", *files, "--jsonl"],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        expected = [json.loads(line) for line in said.splitlines()]
        for answer in expected:
            del answer["file"]
        forms = {
            "PNG": [_request("image/png", file.read_bytes()) for file in files],
            "JSON": [
                _request("application/json", json.dumps({"inputs": image.tolist()}).encode())
                for image in pixels
            ],
        }
        if args.soak:
            _soak(desk, forms["PNG"] + forms["JSON"], expected, args.soak)
            return
        for name, keys in (("batched", []), ("one by one", ["batch=1", "wait_ms=0"])):
            for form, requests in forms.items():
                for _ in range(args.rounds):
                    found = _measured(desk, keys, requests, expected, args.requests, args.at_once)
                    print(f"{name:10} {form:4} {found}", flush=True)


def _request(media: str, body: bytes) -> bytes:
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


@contextlib.contextmanager
def _serving(desk: Path, keys: list[str]) -> Iterator[tuple[int, int]]:
    """The server's process and its port."""
    server = subprocess.Popen(
        [BIN / "runs", "serve", desk / "run", "port=0", *keys],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        port = next(int(line.split(":")[-1].strip("/\n")) for line in server.stderr if "//" in line)
        yield server.pid, port
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)


def _measured(desk, keys, requests, expected, number, at_once) -> str:
    with _serving(desk, keys) as (process, port):
        asyncio.run(_ask(port, requests, expected, 500, at_once))
        before, began = _processor_seconds(process), time.perf_counter()
        seconds = asyncio.run(_ask(port, requests, expected, number, at_once))
        whole = time.perf_counter() - began
        used = _processor_seconds(process) - before
    return (
        f"{number / whole:6,.0f} requests/s, median {1000 * statistics.median(seconds):5.1f} ms, "
        f"p99 {1000 * sorted(seconds)[int(0.99 * len(seconds))]:5.1f} ms, all {number:,} answers "
        f"right; {1000 * used / number:.2f} ms of a core each"
    )


def _soak(desk, requests, expected, whole: float) -> None:
    """Bursts of 8 at a time with pauses between, each with connections of its own."""
    with _serving(desk, []) as (process, port):
        end, number = time.monotonic() + whole, 0
        for part in range(1, 13):
            while time.monotonic() < end - whole * (12 - part) / 12:
                number += len(asyncio.run(_ask(port, requests, expected, 512, 8)))
                time.sleep(5)
            print(f"{number:9,} requests: {_megabytes(process):.1f} MB", flush=True)


def _processor_seconds(process: int) -> float:
    """Of the server, on Linux: what it needs, whoever else computes."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def _megabytes(process: int) -> float:
    """Of memory, on Linux: what the process holds."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


async def _ask(port, requests, expected, number, at_once) -> list[float]:
    """Seconds of each request. Each connection goes on with what comes next."""
    numbers, seconds = iter(range(number)), list[float]()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for i in numbers:
            began = time.perf_counter()
            writer.write(requests[i % len(requests)])
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            answer = await reader.readexactly(length)
            seconds.append(time.perf_counter() - began)
            assert json.loads(answer) == expected[i % len(expected)], (head, answer)
        writer.close()

    await asyncio.gather(*(connection() for _ in range(at_once)))
    assert len(seconds) == number
    return seconds


if __name__ == "__main__":
    main()
