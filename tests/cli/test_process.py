"""A command's process ends without being taken apart; all else at its end is as Python has it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = Path("/dev/full")  # every write to it fails

PROGRAM = """
import atexit, sys, threading
from trainwright.cli.process import live

class Loud:
    def __del__(self):
        print("taken apart", flush=True)

kept = Loud()
go_on = threading.Event()

def linger():
    go_on.wait()
    print("a thread has ended")

def main():
    atexit.register(print, "what was registered is called")
    threading.Thread(target=linger).start()
    print("done")
    go_on.set()
    {ending}

live(main)
"""


def ended(program, *, out=subprocess.PIPE):
    return subprocess.run(
        [sys.executable, "-c", program],
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
        stdout=out,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("ending", "code"), [("return", 0), ("sys.exit(0)", 0), ("sys.exit(3)", 3)]
)
def test_threads_and_functions_for_the_end_have_their_turn_and_nothing_is_taken_apart(ending, code):
    process = ended(PROGRAM.format(ending=ending))
    assert process.returncode == code
    assert sorted(process.stdout.splitlines()[:2]) == ["a thread has ended", "done"]
    assert process.stdout.splitlines()[2:] == ["what was registered is called"]
    assert process.stderr == ""


def test_an_error_of_ours_ends_as_python_has_it():
    process = ended(PROGRAM.format(ending="raise LookupError('a bug')"))
    assert process.returncode == 1
    assert process.stderr.endswith("LookupError: a bug\n")
    assert "taken apart" in process.stdout


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full")
def test_what_cannot_be_written_at_the_end_is_told():
    program = "from trainwright.cli.process import live; live(lambda: print('done'))"
    with FULL.open("w") as full:
        process = ended(program, out=full)
    assert process.returncode == 6
    assert process.stderr == "error: standard output: No space left on device\n"


@pytest.mark.slow
def test_the_collector_does_not_look_at_what_importing_torch_leaves_and_goes_on_after_it():
    program = """
import gc
from trainwright.cli.torch_library import imports_of_torch
runs = []
gc.callbacks.append(lambda phase, info: runs.append(phase))
with imports_of_torch():
    import torch
print(len(runs), gc.isenabled(), gc.get_freeze_count() > 100_000)
"""
    assert ended(program).stdout == "0 True True\n"
