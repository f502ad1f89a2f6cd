"""The process that serves: it listens, says so, and ends once what was asked is answered."""

import asyncio
import contextlib
import ipaddress
import socket
import sys
from collections.abc import Iterator, Sequence
from types import FrameType

import uvicorn

from trainwright.errors import ConfigError
from trainwright.inference.serve.app import Site
from trainwright.inference.serve.counts import Counts
from trainwright.inference.serve.guard import Guard, Limits
from trainwright.inference.serve.served import Served
from trainwright.inference.serve.worker import Worker
from trainwright.stop_signals import taken_by
from trainwright.streams import outlive_readers

SWITCH = 0.0005  # seconds for which one thread may keep the interpreter from the others


def listen(host: str, port: int) -> socket.socket:
    """A socket that takes connections. Raises ConfigError where there can be none."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise ConfigError(
            f"host={host} port={port}: {error.strerror or error}\n"
            "  another port: port=8001; one that is free: port=0"
        ) from None
    # An answer's head and body are two writes, and the second would wait 40 ms for an ACK.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def serve(server: "Server", listening: socket.socket) -> int:
    """Answer until a signal asks to stop, and return the exit code."""
    outlive_readers()
    with taken_by(server.stop):
        server.run(sockets=[listening])
    return 128 + server.signal


class Server(uvicorn.Server):
    """Some runs behind HTTP: `batch` examples at a time, the first waiting `wait` seconds."""

    def __init__(
        self,
        runs: Sequence[Served],
        *,
        limits: Limits,
        token: str | None = None,
        batch: int = 64,
        wait: float = 0.002,
        watch: bool = False,
    ) -> None:
        counts = Counts()
        self._worker = Worker(batch=batch, wait=wait, counts=counts)
        self._runs, self._watched = runs, runs if watch else ()
        guard = Guard(limits=limits, token=token, counts=counts)
        guard.app = Site(runs, self._worker, counts, guard.check_token)
        super().__init__(
            uvicorn.Config(
                guard,
                lifespan="off",
                ws="none",
                log_config=None,
                log_level="critical",
                server_header=False,
                timeout_keep_alive=30,
                timeout_graceful_shutdown=int(limits.seconds) + 1,
            )
        )
        self.signal = 0

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """They are taken already: of more kinds, and with the exit codes of the house."""
        yield

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Once: finish what was asked. Twice: end now."""
        self.force_exit = self.should_exit
        self.should_exit, self.signal = True, number

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to compute, to listen and to look for what is newer."""
        sys.setswitchinterval(SWITCH)
        self._worker.start()
        await super().startup(sockets)
        self._watching = [asyncio.create_task(served.watch(tell)) for served in self._watched]
        for name in sockets or ():
            host, port, *_ = name.getsockname()
            _introduce(self._runs, host, port)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take nothing new, and finish what was asked."""
        for task in self._watching:
            task.cancel()
        await super().shutdown(sockets)
        if not self.force_exit:
            await self._worker.stop()
        tell("stopped")


def tell(text: str) -> None:
    """A line for a person; standard output is the log's."""
    print(text, file=sys.stderr, flush=True)


def _introduce(runs: Sequence[Served], host: str, port: int) -> None:
    shown = f"[{host}]" if ":" in host else host
    if ipaddress.ip_address(host).is_unspecified:
        shown = "localhost"
    for place, served in enumerate(runs):
        at = f"http://{shown}:{port}/{served.name + '/' if place else ''}"
        tell(f"{served.name}: {served.now.kind}, step {served.now.trained.step:,}, at {at}")
    tell("each address is a page; /docs there is the API. Ctrl-C ends it")
