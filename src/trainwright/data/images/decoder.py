"""The process that decodes images for a run: `python -m trainwright.data.images.decoder`. No torch.

Decoders are native code, and what they are given may come from anywhere: one that crashes or hangs
takes this process with it, and not the run. It reads requests from standard input, a line of JSON
each, and answers on standard output (see `answer`). It ends with its input, that is with the run.
"""

import json
import signal
import struct
import sys
import warnings
from pathlib import Path
from typing import BinaryIO

from trainwright.data.images.decode import BadImageError, decode_image
from trainwright.own_process import end_with_parent

PIXELS, BAD, LARGE, OUT_OF_MEMORY = b"P", b"B", b"L", b"M"
HEAD = struct.Struct("<cQ")  # what kind of answer, and how many bytes of it follow


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer for every file of every request, in order, until there are no more.

    A large image is announced (LARGE), and decoded when another line has come: the run sees to it
    that only one is in memory at a time.
    """

    def announce() -> None:
        answer(answers, LARGE, b"")
        if not requests.readline():
            sys.exit()

    for line in requests:
        wanted = json.loads(line)
        for path in wanted.pop("paths"):
            try:
                pixels = decode_image(Path(path), before_large=announce, **wanted)
            except BadImageError as error:
                answer(answers, BAD, str(error).encode("utf-8", "backslashreplace"))
            except MemoryError:
                answer(answers, OUT_OF_MEMORY, b"")
            else:
                answer(answers, PIXELS, pixels.data.cast("B"))


def answer(answers: BinaryIO, kind: bytes, contents: "bytes | memoryview") -> None:
    """Write the kind of an answer, how long it is, and it."""
    answers.write(HEAD.pack(kind, len(contents)))
    answers.write(contents)
    answers.flush()


def main() -> None:
    """Serve the run that has started this process, and end with it, even when stopped."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the run's business
    end_with_parent()
    warnings.simplefilter("ignore")  # Pillow's remarks on odd metadata and large images
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
