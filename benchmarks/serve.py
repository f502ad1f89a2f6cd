"""Requests a second of `runs serve`: an MLP of MNIST's shape, batched and one by one.

`python benchmarks/serve.py` trains it for a few steps, writes images to files, asks `runs predict`
about them, and then the server, 64 at a time; each answer is compared with that of its own image.
"""

import argparse
import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
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
        for name, keys in (("batched", []), ("one by one", ["batch=1", "wait_ms=0"])):
            for form, requests in forms.items():
                for _ in range(args.rounds):
                    found = _measured(desk, keys, requests, expected, args.requests, args.at_once)
                    print(f"{name:10} {form:4} {found}", flush=True)


def _request(media: str, body: bytes) -> bytes:
    head = f"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _measured(desk, keys, requests, expected, number, at_once) -> str:
    server = subprocess.Popen(
        [BIN / "runs", "serve", desk / "run", "port=0", *keys],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        port = next(int(line.split(":")[-1].strip("/\n")) for line in server.stderr if "//" in line)
        asyncio.run(_ask(port, requests, expected, 500, at_once))
        before, began = _processor_seconds(server.pid), time.perf_counter()
        seconds = asyncio.run(_ask(port, requests, expected, number, at_once))
        whole = time.perf_counter() - began
        used = _processor_seconds(server.pid) - before
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    return (
        f"{number / whole:6,.0f} requests/s, median {1000 * statistics.median(seconds):5.1f} ms, "
        f"p99 {1000 * sorted(seconds)[int(0.99 * len(seconds))]:5.1f} ms, all {number:,} answers "
        f"right; {1000 * used / number:.2f} ms of a core each"
    )


def _processor_seconds(process: int) -> float:
    """Of the server, on Linux: what it needs, whoever else computes."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


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
