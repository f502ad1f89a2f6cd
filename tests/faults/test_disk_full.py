"""A disk that is full: the run ends with 6, what was saved stands, and it goes on afterwards.

By the kernel's limit on the size of a file, and by a small disk (a tmpfs in a namespace).
"""

import ctypes
import os
import re
import resource
import signal
import subprocess

import pytest
from harness import assert_log_is_whole, fingerprint, start
from PIL import Image

from trainwright.engine import checkpoint, trainer
from trainwright.files import append_line, leftovers
from trainwright.hooks import log as log_hook
from trainwright.run.recover import read
from trainwright.runfolder import RunFolder

RUN = (
    "model=gan", "model.width=4", "model.latent_dim=8", "trainer.ema=0.9", "data.limit=200",
    "trainer.batch_size=16", "trainer.log_every=1", "trainer.evaluate_every=4",
    "trainer.save_every=3", "trainer.sample_every=4", "trainer.steps=16",
)  # fmt: skip


@pytest.fixture(scope="module")
def expected(train, judged, tmp_path_factory):
    return fingerprint(train(tmp_path_factory.mktemp("whole") / "run", *RUN).folder)


def begin(train, folder):
    """The run as SIGTERM has left it after its sixth step."""
    take_step = trainer.train_step

    def step_and_stop(state, batch, settings):
        if state.step == 5:
            signal.raise_signal(signal.SIGTERM)
        return take_step(state, batch, settings)

    trainer.train_step = step_and_stop
    try:
        assert train(folder, *RUN).signal == signal.SIGTERM
    finally:
        trainer.train_step = take_step


def checkpoints_of(folder):
    return {path.name: path.read_bytes() for path in folder.checkpoints.glob("*")}


def assert_whole_after_failure(folder, before, text):
    """Every file is whole, and the message says where, how much, and from where to go on."""
    assert re.search(r"could not write \S+", text)
    assert re.search(r": ([\d.]+ \w+ needed, )?[\d.]+ \w+ free", text)
    assert "needed" in text or "plots" in text  # a plot's size is not known beforehand
    step = int(re.search(r"last good step is (\d+)", text)[1])
    assert read(folder.last).step == step
    assert f"trainer.resume={folder.path}" in text
    now = checkpoints_of(folder)
    if step == read_step(before["last.safetensors"], folder):
        assert now["last.safetensors"] == before["last.safetensors"]
    for path in folder.checkpoints.iterdir():
        checkpoint.load(path)
    assert leftovers(folder.path) == []
    assert_log_is_whole(folder.path)
    for path in folder.samples.iterdir():
        with Image.open(path) as image:
            image.load()


def read_step(data, folder):
    path = folder.path.with_name("before.safetensors")
    path.write_bytes(data)
    return read(path).step


def limited(limit, function):
    """Call it while no file may grow beyond `limit` bytes."""

    def call():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        return function()

    return call


@pytest.mark.parametrize("num_points", [1, pytest.param(50, marks=pytest.mark.slow)])
@pytest.mark.timeout(3600)
def test_a_file_that_may_not_grow_ends_the_run_and_nothing_is_torn(
    num_points, train, resume, expected, tmp_path
):
    begin(train, tmp_path / "run")
    size = tmp_path / "run" / "checkpoints" / "last.safetensors"
    for point in range(num_points):
        limit = 1000 + (size.stat().st_size - 1000) * point // num_points
        folder = RunFolder(tmp_path / f"run{point}")
        subprocess.run(["cp", "-r", tmp_path / "run", folder.path], check=True)
        before = checkpoints_of(folder)
        output = tmp_path / f"output{point}"
        child = start(limited(limit, lambda f=folder: resume(f.path)), output)
        assert child.wait() == 6, child.text
        if "could not write" in child.text and "last good step" in child.text:
            assert_whole_after_failure(folder, before, child.text)
        assert start(lambda f=folder: resume(f.path), output).wait() == 0, child.text
        assert fingerprint(folder.path) == expected


def own_disk(path, size):
    """A disk of `size` bytes at `path`, for this process alone."""
    new_user, new_mounts = 0x10000000, 0x00020000
    user, group = os.getuid(), os.getgid()
    flags = new_mounts if user == 0 else new_mounts | new_user
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        return False
    if user != 0:
        with open("/proc/self/setgroups", "w") as file:  # noqa: PTH123
            file.write("deny")
        for kind, number in (("uid", user), ("gid", group)):
            with open(f"/proc/self/{kind}_map", "w") as file:  # noqa: PTH123
                file.write(f"0 {number} 1")
    private = ["mount", "--make-rprivate", "/"]
    subprocess.run(private, check=False, capture_output=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)]
    return subprocess.run(mount, check=False, capture_output=True).returncode == 0


NO_DISK = 77


def fill_and_go_on(train, resume, disk, num_free, expected):
    """In a child with a disk of its own: begin, leave `num_free` bytes, go on, free it, go on."""
    if not own_disk(disk, 2**21):
        os._exit(NO_DISK)
    folder = RunFolder(disk / "run")
    begin(train, folder.path)
    before = checkpoints_of(folder)
    space = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(bytes(max(0, space.f_bavail * space.f_bsize - num_free)))
    child = start(lambda: resume(folder.path), disk.with_name("output"))
    code, failed = child.wait(), 0
    if code != 0:
        assert code == 6, child.text
        failed = 1
        if "last good step" in child.text:
            assert_whole_after_failure(folder, before, child.text)
    filler.unlink()
    if failed:
        child = start(lambda: resume(folder.path), disk.with_name("again"))
        assert child.wait() == 0, child.text
    assert fingerprint(folder.path) == expected
    print("failed" if failed else "fitted")


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_disk_that_fills_at_any_of_50_points_loses_nothing(train, resume, expected, tmp_path):
    num_failed = 0
    for point in range(50):
        disk = tmp_path / str(point) / "disk"
        disk.mkdir(parents=True)
        num_free = point * 16_000
        output = disk.with_name("test-output")
        child = start(
            lambda d=disk, n=num_free: fill_and_go_on(train, resume, d, n, expected), output
        )
        code = child.wait()
        if code == NO_DISK:
            pytest.skip("a process may not have a disk of its own here (unshare, mount)")
        assert code == 0, child.text
        num_failed += "failed" in child.text.splitlines()[-1]
    assert 10 < num_failed < 50  # some points are in the middle of the run, some beyond its needs
    print(f"{num_failed} of 50 points met a full disk")


def test_half_a_line_is_taken_back_from_a_full_disk(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_line(path, "x" * 600)

    def append():
        append_line(path, "y" * 600)

    assert start(limited(1000, append), tmp_path / "output").wait() == 6
    assert path.read_text() == "x" * 600 + "\n"


def test_control_a_plain_write_is_seen_to_tear_the_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    append_line(path, "x" * 600)

    def write():
        with path.open("a") as file:
            file.write("y" * 600 + "\n")

    assert start(limited(1000, write), tmp_path / "output").wait() != 0
    assert [row for row in path.read_text().splitlines() if set(row) == {"y"}] != []
    assert log_hook.append_line is append_line  # what the log writes with
