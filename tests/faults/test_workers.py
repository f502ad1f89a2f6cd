"""The processes that decode images: one that dies or hangs is an error; none outlives its run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainwright.data.images.decode import LARGE_PIXELS, decode_image
from trainwright.data.images.decoding import Decoders
from trainwright.errors import DataError

TRAIN = "import sys; from trainwright.cli.train import main; sys.argv = ['train']; main({!r})"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")


def picture(path, side):
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def decoders(*, timeout=100_000, num_files=1):
    return Decoders(num_files, size=8, channels=3, fit="crop", timeout=timeout)


def decoder_of_this_process():
    """The one process that this one has started to decode (tests before have left others)."""
    (pid,) = [pid for pid in children(os.getpid()) if is_decoder(pid)]
    return pid


def is_decoder(pid):
    return b"trainwright.data.images.decoder" in Path(f"/proc/{pid}/cmdline").read_bytes()


def children(pid):
    """The decoders of a run, and not who draws its plots."""
    every = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(n) for n in every if "decoder" in Path(f"/proc/{n}/cmdline").read_text()]


def state(pid):
    """S for one that sleeps, T for one that is stopped, and so on; None if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_a_process_decodes_what_this_one_would_large_ones_too(tmp_path):
    side = int(LARGE_PIXELS**0.5) + 1
    large = tmp_path / "large.png"
    Image.new("RGB", (side, side), (9, 8, 7)).save(large)
    paths = [picture(tmp_path / "small.png", 20), large, tmp_path / "gone.png", large]
    with decoders() as pool:
        small, *larges = pool.decode(paths)
    assert np.array_equal(small, decode_image(paths[0], size=8, channels=3, fit="crop"))
    assert "No such file" in str(larges.pop(1))
    for image in larges:
        assert np.array_equal(image, decode_image(large, size=8, channels=3, fit="crop"))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP])
def test_a_decoder_that_dies_or_stops_is_an_error_that_says_which_file_and_process(
    tmp_path, number
):
    path = picture(tmp_path / "a.png", 20)
    with decoders(timeout=1) as pool:
        pool.decode([path])
        pid = decoder_of_this_process()
        os.kill(pid, number)
        with pytest.raises(DataError) as caught:
            pool.decode([path])
    text = str(caught.value)
    assert caught.value.exit_code == 3
    assert f"{path}: its decoder, process {pid}, " in text
    said = "has not answered for 1 seconds" if number == signal.SIGSTOP else number.name
    assert said in text
    assert len(text.splitlines()) == 2
    assert not any(is_decoder(pid) for pid in children(os.getpid()))


def test_control_without_a_time_limit_a_stopped_decoder_is_waited_for(tmp_path):
    """It answers only when it is let go, which is here after it was seen to be waited for."""
    path = picture(tmp_path / "a.png", 20)
    with decoders(timeout=100_000) as pool:
        pool.decode([path])
        pid = decoder_of_this_process()
        os.kill(pid, signal.SIGSTOP)
        reader = threading_call(lambda: pool.decode([path]))
        assert not reader.wait_for(1.5)  # with a limit of 1 s it would be over
        os.kill(pid, signal.SIGCONT)
        assert reader.wait_for(60)


class threading_call:
    """A call in a thread of its own."""

    def __init__(self, function):
        import threading

        self._done = threading.Event()
        self._thread = threading.Thread(target=lambda: (function(), self._done.set()))
        self._thread.start()

    def wait_for(self, seconds):
        return self._done.wait(seconds)


def start(tmp_path, *overrides, num=400):
    """`train` on images that take their time, once its decoders are at work."""
    folder = tmp_path / "images"
    folder.mkdir()
    picture(folder / "0.png", 700)
    for number in range(1, num):
        os.link(folder / "0.png", folder / f"{number}.png")
    arguments = [
        "data=folder", f"data.path={folder}", f"data.root={tmp_path / 'root'}", "model=gan",
        f"run.dir={tmp_path / 'run'}", "data.size=64", *overrides,
    ]  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "-c", TRAIN.format(arguments)],
        cwd=tmp_path, start_new_session=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
        text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    images = tmp_path / "root" / "folder-cache"
    begun = until(lambda: process.poll() or any(p.stat().st_size for p in images.glob(".*/*.bin")))
    assert begun
    assert process.poll() is None, process.stderr.read()
    return process


def assert_nothing_is_left(tmp_path, decoders):
    assert until(lambda: all(state(pid) in (None, "Z") for pid in decoders), 10)
    assert not (tmp_path / "run").exists()
    assert not list((tmp_path / "root").glob("folder-cache/[!.]*"))


@pytest.mark.slow
@pytest.mark.parametrize("is_stopped", [False, True])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_killed_while_it_decodes_leaves_no_process_behind(
    tmp_path, number, is_stopped
):
    process = start(tmp_path)
    found = children(process.pid)
    assert len(found) >= 1
    if is_stopped:  # a process that is stopped reads no end of its input
        os.kill(found[0], signal.SIGSTOP)
        assert until(lambda: state(found[0]) == "T")
    os.kill(process.pid, number)
    process.communicate(timeout=120)
    assert process.returncode in (-number, 130)
    assert_nothing_is_left(tmp_path, found)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_run_whose_decoder_is_killed_or_stopped_ends_with_3_and_says_which(tmp_path, number):
    process = start(tmp_path, "data.timeout=20")
    found = children(process.pid)
    os.kill(found[0], number)
    _, text = process.communicate(timeout=240)
    assert process.returncode == 3, text
    error = text[text.index("error: ") :]
    assert f"its decoder, process {found[0]}, " in error
    assert str(tmp_path / "images") in error
    assert ("SIGKILL" if number == signal.SIGKILL else "has not answered for 20 seconds") in error
    assert len(error.splitlines()) <= 5
    assert_nothing_is_left(tmp_path, found)


@pytest.mark.slow
def test_control_a_decoder_that_does_not_ask_to_end_with_its_run_is_left_behind(tmp_path):
    """The same process, stopped, but for the request to the kernel."""
    decoder = "import trainwright.data.images.decoder as d; d.sys.platform = 'elsewhere'; d.main()"
    run = (
        "import subprocess, sys\n"
        f"command = [sys.executable, '-c', {decoder!r}]\n"
        "child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", run], stdout=subprocess.PIPE, text=True)
    pid = int(process.stdout.readline())
    process.stdout.close()
    os.kill(pid, signal.SIGSTOP)
    assert until(lambda: state(pid) == "T")
    process.kill()
    process.wait()
    time.sleep(2)
    assert state(pid) == "T"
    os.kill(pid, signal.SIGKILL)
