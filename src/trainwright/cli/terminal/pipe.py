"""What a command does when nobody reads its output any more (`| head`)."""

import os
import sys

BROKEN_PIPE = 128 + 13


def nobody_reads() -> int:
    """Send what Python still wants to print nowhere; return the exit code, as after SIGPIPE."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return BROKEN_PIPE
