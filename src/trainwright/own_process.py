"""Processes of trainwright's own that a command starts beside itself."""

import ctypes
import os
import signal
import subprocess
import sys

from trainwright.cores import started

PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def start(module: str, *, stdout: int, stderr: int | None = None) -> "subprocess.Popen[bytes]":
    """Start `python -m module`, which is written to, with the modules that this process finds.

    It computes with one thread. Raises OSError where the system has no process to spare.
    """
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "OPENBLAS_NUM_THREADS": "1",
    }
    process = subprocess.Popen(  # noqa: S603  # of modules that our own code names
        [sys.executable, "-P", "-m", module],
        stdin=subprocess.PIPE,
        stdout=stdout,
        stderr=stderr,
        env=environment,
    )
    started.append(process.pid)
    return process


def end_with_parent(number: int = signal.SIGKILL) -> None:
    """Let the system send this signal when the parent dies: a stopped one reads no end (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, number)
