"""Every page that shows a terminal is typed, in a folder of its own, as a reader would."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .page import Block, blocks, missing, pages

ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "MPLBACKEND": "agg",
}
ELSEWHERE = {"api"}  # tests/api/test_page.py runs its blocks as one program
PAGES = [page for page in pages() if page.stem not in ELSEWHERE]
TYPED = [p for p in PAGES if any(b.language in ("console", "python") for b in blocks(p))]


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", TYPED, ids=lambda page: page.stem)
def test_what_a_page_shows_is_what_one_gets(page, tmp_path):
    with contextlib.ExitStack() as at_the_end:
        type_page(page, tmp_path, at_the_end)


def type_page(page, tmp_path, at_the_end):
    """Every block; servers run on to the end."""
    program = ""
    for block in blocks(page):
        if block.why_not:
            continue
        if block.file:
            path = tmp_path / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a") as file:
                file.write(block.body)
        elif block.language == "console" and block.body.startswith("$ runs serve"):
            at_the_end.enter_context(served(tmp_path, block))
        elif block.language == "console":
            type_in(tmp_path, block)
        elif block.language == "python":  # what has no name is one program, from top to bottom
            program += block.body
    (tmp_path / "program_of_the_page.py").write_text(program)
    type_in(tmp_path, Block("console", "", "$ python program_of_the_page.py", None))


def test_a_shown_line_that_was_not_printed_is_found():
    printed = "digits: 1,437 train\nstep     23 | loss 1.265 *\nbest: step 113, accuracy 0.9722"
    shown = ["digits: 1,500 train", "...", "best: step 90, accuracy 1"]
    assert missing(shown, printed) is None
    assert missing(["step  7 | loss 3e-04", *shown[2:]], printed) is None
    assert missing(["a  accuracy 1  3 s  2 min"], "a  accuracy 0.97  1 min 01 s   5 s") is None
    assert missing(["digits: 7 test"], printed) == "digits: 7 test"
    assert missing(shown[::-1], printed) == shown[0], "in their order"


def type_in(folder: Path, block: Block) -> None:
    """Type the commands of a block, and compare what is printed with what is shown."""
    for command, shown in block.commands():
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=folder,
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            check=False,
        )
        printed = f"{done.stdout}\n{done.stderr}"
        fails = any(line.startswith("error: ") for line in shown)
        assert (done.returncode != 0) == fails, f"{command}\n{printed}"
        lost = missing(shown, printed)
        assert lost is None, f"{command}\nshows {lost!r}, and prints\n{printed}"


@contextlib.contextmanager
def served(folder: Path, block: Block):
    """A server in a terminal of its own, which prints what is shown; Ctrl-C ends it."""
    ((command, shown),) = block.commands()
    printed = folder / "printed_by_the_server"
    with printed.open("w") as file:
        server = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=folder,
            env=ENVIRONMENT,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        while (lost := missing(shown, printed.read_text())) is not None:
            assert server.poll() is None, f"{command}\nshows {lost!r}\n{printed.read_text()}"
            time.sleep(0.05)
        yield
    finally:
        server.send_signal(signal.SIGINT)
        assert server.wait(60) == 130, printed.read_text()
