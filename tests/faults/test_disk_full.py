"""A disk that is full: the run ends with 6, what was saved stands, and it goes on afterwards.

By the kernel's limit on the size of a file, and by a small disk (a tmpfs in a namespace).
"""

import ctypes
import os
import re
import resource
import shutil
import signal
import subprocess
from functools import partial

import pytest
from harness import (
    assert_comes_to,
    assert_log_is_whole,
    fingerprint,
    in_place,
    pictures,
    start,
)
from PIL import Image

from trainwright.engine import trainer
from trainwright.engine.checkpoint import checkpoint
from trainwright.errors import CheckpointError, DiskError
from trainwright.files import append_line, leftovers
from trainwright.hooks import log as log_hook
from trainwright.run.resume.recover import read
from trainwright.run.translate import in_our_words
from trainwright.runs.folder import RunFolder

RUN = (
    "model=gan", "model.width=4", "model.latent_dim=8", "trainer.ema=0.9", "data.limit=200",
    "trainer.batch_size=16", "trainer.log_every=1", "trainer.evaluate_every=4",
    "trainer.save_every=3", "trainer.sample_every=4", "trainer.steps=16",
    "trainer.score_samples=200",
)  # fmt: skip


BEGUN = 6
NUM_POINTS = 50  # from where the log no longer fits to just below a checkpoint's size

BEST = "best.safetensors"


def begin(train, folder, overrides):
    """The run as SIGTERM has left it after its sixth step."""
    take_step = trainer.train_step

    def step_and_stop(state, batch, settings):
        if state.step == BEGUN - 1:
            signal.raise_signal(signal.SIGTERM)
        return take_step(state, batch, settings)

    trainer.train_step = step_and_stop
    try:
        assert train(folder, *overrides).signal == signal.SIGTERM
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
    # The best is written before the last, and is whole where that has found no place.
    assert max(read(path).step for path in (folder.last, folder.checkpoints / BEST)) == step
    assert f"trainer.resume={folder.path}" in text
    now = checkpoints_of(folder)
    for name in ("last.safetensors", BEST):  # the same, but for what is newer
        assert now[name] == before[name] or read(folder.checkpoints / name).step > BEGUN
    for path in folder.checkpoints.iterdir():
        checkpoint.load(path)
    assert leftovers(folder.path) == []
    assert_log_is_whole(folder.path)
    for path in folder.samples.iterdir():
        with Image.open(path) as image:
            image.load()


def limited(limit, function):
    """Call it while no file may grow beyond `limit` bytes."""

    def call():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        return function()

    return call


@pytest.fixture(scope="module")
def begun(train, judged, tmp_path_factory):
    """Copies of runs that were stopped after six steps, by the trial's number."""
    made = {}

    def copy(trial, path):
        overrides = (*RUN, *pictures(trial))
        if overrides not in made:
            made[overrides] = tmp_path_factory.mktemp("begun") / "run"
            begin(train, made[overrides], overrides)
        shutil.copytree(made[overrides], path)
        return RunFolder(path)

    return copy


@pytest.mark.parametrize(
    "points", [[1], pytest.param(range(NUM_POINTS), marks=pytest.mark.slow)], ids=["one", "all"]
)
@pytest.mark.timeout(3600)
def test_a_file_that_may_not_grow_ends_the_run_and_nothing_is_torn(
    points, resume, uninterrupted, begun, tmp_path
):
    for point in points:
        folder = begun(point, tmp_path / str(point) / "run")
        expected, _ = uninterrupted(*RUN, *pictures(point))
        size = folder.last.stat().st_size
        limit = 1000 + (size - 1000) * point // NUM_POINTS
        before = checkpoints_of(folder)

        def work(path=folder.path):
            return resume(path)

        output = folder.path.with_name("output")
        child = start(limited(limit, work), output)
        assert child.wait() == 6, child.text
        assert_whole_after_failure(folder, before, child.text)
        assert_comes_to(expected, work, folder.path, output)
        shutil.rmtree(folder.path.parent)
        print(f"no file above {limit} bytes: {point + 1} points", flush=True)


@pytest.mark.slow
def test_control_where_checkpoints_are_written_in_place_a_full_disk_takes_the_best_one(
    resume, begun, tmp_path
):
    folder = begun(1, tmp_path / "run")
    before = checkpoints_of(folder)

    def resume_in_place():
        checkpoint.replacing = in_place
        return resume(folder.path)

    child = start(limited(folder.last.stat().st_size // 2, resume_in_place), tmp_path / "output")
    assert child.wait() == 6, child.text
    with pytest.raises(CheckpointError, match="damaged"):
        assert_whole_after_failure(folder, before, child.text)
    assert checkpoints_of(folder)["best.safetensors"] != before["best.safetensors"]


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


def fill_and_go_on(resume, begun, point, disk, num_free, expected):
    """In a child with a disk of its own: leave `num_free` bytes, go on, free it, go on."""
    if not own_disk(disk, 2**21):
        os._exit(NO_DISK)
    folder = begun(point, disk / "run")
    before = checkpoints_of(folder)
    space = os.statvfs(disk)
    filler = disk / "filler"
    filler.write_bytes(bytes(max(0, space.f_bavail * space.f_bsize - num_free)))
    child = start(lambda: resume(folder.path), disk.with_name("output"))
    if child.wait() == 0:
        assert fingerprint(folder.path) == expected
        print("fitted")
        return
    assert child.code == 6, child.text
    assert_whole_after_failure(folder, before, child.text)
    filler.unlink()
    assert_comes_to(expected, lambda: resume(folder.path), folder.path, disk.with_name("again"))
    print("failed:", child.text.partition("could not write ")[2].split()[0])


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_disk_that_fills_at_any_of_50_points_loses_nothing(
    resume, uninterrupted, begun, tmp_path
):
    num_failed = 0
    for point in range(50):
        disk = tmp_path / str(point) / "disk"
        disk.mkdir(parents=True)
        expected, _ = uninterrupted(*RUN, *pictures(point))
        work = partial(fill_and_go_on, resume, begun, point, disk, point * 3_000, expected)
        child = start(work, disk.with_name("test-output"))
        code = child.wait()
        if code == NO_DISK:
            pytest.skip("a process may not have a disk of its own here (unshare, mount)")
        assert code == 0, child.text
        print(f"{point * 3_000} bytes free: {child.text.splitlines()[-1]}", flush=True)
        num_failed += "failed" in child.text.splitlines()[-1]
    assert 30 < num_failed < 50  # most points are in the middle of the run, some beyond its needs


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


def test_what_is_advised_fits_what_was_refused_and_what_there_is(train, tmp_path):
    """Of a run that has lost `last`, `best` is still there to go on from."""
    folder = RunFolder(train(tmp_path / "run", *RUN, "trainer.steps=2").folder)
    full, closed = DiskError("could not write x\n  No space left"), DiskError("x\n  Read-only")
    for path in (folder.last, folder.previous):
        path.unlink(missing_ok=True)
    told = [str(in_our_words(error, None, folder, "GO ON")) for error in (full, closed)]
    assert "the last good step is 2; free some space, then go on: GO ON" in told[0]
    assert "the last good step is 2; see that it can be written, then go on" in told[1]
    folder.best.unlink()
    assert "no step was saved" in str(in_our_words(full, None, folder, "GO ON"))
