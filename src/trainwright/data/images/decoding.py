"""Processes that decode images for a run: one that dies or hangs is an error with a name."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainwright.data.images.decode import BadImageError, Fit
from trainwright.data.images.decoder import BAD, HEAD, LARGE, OUT_OF_MEMORY
from trainwright.errors import DataError
from trainwright.own_process import start
from trainwright.wording import printable

MOST_DECODERS = 16
FILES_EACH = 64  # a process takes as long to start as some hundred small images to decode


class Decoders:
    """So many processes while this context is open; `decode` may be called by as many threads."""

    def __init__(
        self, num_files: int, *, size: int, channels: int, fit: Fit, timeout: float
    ) -> None:
        """For so many files, each of which may take `timeout` seconds."""
        self.count = max(1, min(MOST_DECODERS, os.cpu_count() or 1, -(-num_files // FILES_EACH)))
        self._settings = {"size": size, "channels": channels, "fit": fit}
        self._shape = (channels, size, size)
        self._timeout = timeout
        self._decoders: list[_Decoder] = []
        self._idle: queue.SimpleQueue[_Decoder] = queue.SimpleQueue()
        self._is_over = threading.Event()

    def __enter__(self) -> "Decoders":
        # By this thread, which outlives them: Linux ends them with the thread that began them.
        try:
            for _ in range(self.count):
                self._decoders.append(_Decoder())
                self._idle.put(self._decoders[-1])
        except OSError as error:
            self._end()
            raise DataError(
                f"no process could be started to decode images: {error.strerror}"
            ) from error
        threading.Thread(target=self._watch, name="watches decoders", daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._end()

    def decode(self, paths: Sequence[Path]) -> list[NDArray[np.uint8] | BadImageError]:
        """The images, each (channels, size, size), by one of the processes that is idle.

        An error in place of what is no image. Raises DataError where the process has died or hangs.
        """
        decoder = self._idle.get()
        try:
            found = list(decoder.decode(paths, self._settings))
        finally:
            self._idle.put(decoder)
        return [
            image
            if isinstance(image, BadImageError)
            else np.frombuffer(image, dtype=np.uint8).reshape(self._shape)
            for image in found
        ]

    def _end(self) -> None:
        self._is_over.set()
        for decoder in self._decoders:
            decoder.end()

    def _watch(self) -> None:
        """Count the seconds that each is at its file, in seconds in which this process runs.

        (By the clock, a laptop that has slept would find that all of them hang.)
        """
        while not self._is_over.wait(1):
            for decoder in self._decoders:
                decoder.count_second(self._timeout)


class _Decoder:
    """One process, and what it is at."""

    large = threading.Lock()  # one large image at a time, so that all stay within memory

    def __init__(self) -> None:
        self._process = start("trainwright.data.images.decoder", stdout=subprocess.PIPE)
        self._seconds: int | None = None  # at its file; None: it is idle, or waits for its turn
        self._hung: float | None = None  # the seconds that were too many

    def decode(
        self, paths: Sequence[Path], settings: Mapping[str, Any]
    ) -> Iterator[bytes | BadImageError]:
        """The pixels of each file. Raises DataError or MemoryError."""
        request = json.dumps({"paths": [str(path) for path in paths], **settings}).encode()
        for number, path in enumerate(paths):
            self._seconds = 0
            try:
                if number == 0:
                    self._send(request)
                kind, contents = self._receive()
                if kind == LARGE:
                    self._seconds = None
                    with self.large:
                        self._seconds = 0
                        self._send(b"")
                        kind, contents = self._receive()
            except (EOFError, OSError) as error:
                raise DataError(self._obituary(path)) from error
            finally:
                self._seconds = None
            if kind == OUT_OF_MEMORY:
                raise MemoryError
            yield BadImageError(contents.decode("utf-8")) if kind == BAD else contents

    def count_second(self, timeout: float) -> None:
        """Note that a second has passed; end the process if it has been at its file too long."""
        if self._seconds is None:
            return
        self._seconds += 1
        if self._seconds > timeout:
            self._hung, self._seconds = timeout, None
            self._process.kill()

    def end(self) -> None:
        """End the process, whatever it is at."""
        self._process.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(OSError):  # a request that it has not taken
                pipe.close()
        self._process.wait()

    def _send(self, line: bytes) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        pipe.write(line + b"\n")
        pipe.flush()

    def _receive(self) -> tuple[bytes, bytes]:
        kind, length = HEAD.unpack(self._read(HEAD.size))
        return kind, self._read(length)

    def _read(self, count: int) -> bytes:
        pipe = self._process.stdout
        assert pipe is not None
        data = pipe.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def _obituary(self, path: Path) -> str:
        code, who = self._process.wait(), f"its decoder, process {self._process.pid}"
        if self._hung is not None:
            return (
                f"{printable(str(path))}: {who}, has not answered for {self._hung:g} seconds\n"
                "  remove the file, or, where its disk is slow, wait longer: data.timeout=600"
            )
        how = f"with {code}" if code >= 0 else f"by {signal.Signals(-code).name}"
        return (
            f"{printable(str(path))}: {who}, was ended {how}\n"
            "  remove the file if it is to blame; if memory ran out, free some, or lower data.size"
        )
