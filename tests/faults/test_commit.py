"""SIGKILL at every system call of a save, and the order of those calls: nothing is ever torn.

Needs strace, and the right to attach it to a child.
"""

import os
import re
import shutil
import subprocess

import pytest
import torch
from harness import in_place, start

from trainwright.engine.checkpoint import checkpoint
from trainwright.errors import CheckpointError
from trainwright.files import leftovers
from trainwright.run.resume.recover import go_back_to, newest_whole
from trainwright.runs.folder import RunFolder

CALLS = ("write", "fsync", "rename", "renameat", "link", "ftruncate", "openat", "unlink", "chmod")
TRACED = "openat,write,fsync,fdatasync,rename,renameat,renameat2,link,linkat,unlink,ftruncate,chmod"


def strace(pid, *options):
    """Attach strace to a process and return when it is attached."""
    process = subprocess.Popen(
        ["strace", "-f", "-p", str(pid), *options], stderr=subprocess.PIPE, text=True
    )
    first = process.stderr.readline()
    if "attached" not in first:
        process.communicate()
        pytest.skip(f"strace cannot attach to a child: {first.strip()}")
    return process


def needs_strace():
    return pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


pytestmark = needs_strace()


def state(step):
    metadata = {
        "name": "run", "config": {}, "hooks": {},
        "progress": {"step": step, "best": None},
    }  # fmt: skip
    return {"weights": torch.full((3000,), float(step))}, metadata


@pytest.fixture
def folder(tmp_path):
    """A run with `previous` of step 1, `last` and `best` of step 2."""
    made = RunFolder.create(tmp_path, "run", exact=tmp_path / "run")
    checkpoint.save([made.best, made.last], *state(1))
    checkpoint.save([made.best, made.last], *state(2), kept_as={made.last: made.previous})
    return made


def save_step_3(folder):
    checkpoint.save([folder.best, folder.last], *state(3), kept_as={folder.last: folder.previous})


def traced(action, output, *options):
    """Do it in a child with strace attached; return the child's exit code and what was traced."""
    ready, go = os.pipe()
    log = output.with_name("trace")
    log.unlink(missing_ok=True)

    def wait_and_act():
        os.read(ready, 1)
        action()

    child = start(wait_and_act, output)
    tracer = strace(child.pid, "-y", "-e", f"trace={TRACED}", "-o", str(log), *options)
    os.write(go, b"x")
    code = child.wait()
    tracer.communicate()
    os.close(ready)
    os.close(go)
    return code, log.read_text().splitlines()


def problem_in(folder):
    """What is wrong with a run after a kill in the save of step 3; None if all is well."""
    steps = {}
    for path in (folder.previous, folder.last, folder.best):
        try:
            tensors, metadata = checkpoint.load(path)
        except CheckpointError as error:
            return str(error)
        steps[path.stem] = metadata["progress"]["step"]
        if not bool((tensors["weights"] == steps[path.stem]).all()):
            return f"{path.name} holds other weights than its step says"
    if steps["last"] == 3 and steps["best"] != 3:
        return "last is newer than the best that it refers to"
    if steps["last"] not in (2, 3) or steps["previous"] not in (1, 2):
        return f"steps {steps}"
    return None


def problems_after_kills(folder, tmp_path, action, calls):
    """Kill the save at the 1st, 2nd, ... of each call, until it ends by itself."""
    problems, num_kills = [], 0
    whole = tmp_path / "whole"
    shutil.copytree(folder.path, whole)
    for call in calls:
        for number in range(1, 50):
            shutil.rmtree(folder.path)
            shutil.copytree(whole, folder.path)
            inject = f"inject={call}:signal=KILL:when={number}"
            code, _ = traced(action, tmp_path / "output", "-e", inject)
            if code == 0:
                break
            assert code == -9
            num_kills += 1
            problem = problem_in(folder)
            if problem is not None:
                problems.append(f"{call} {number}: {problem}")
                continue
            notes = go_back_to(folder, newest_whole(folder))
            assert leftovers(folder.path) == []
            assert all("unfinished" in note for note in notes)
    return problems, num_kills


@pytest.mark.parametrize(
    ("calls", "least"), [(("rename",), 3), pytest.param(CALLS, 20, marks=pytest.mark.slow)]
)
def test_a_kill_at_any_system_call_of_a_save_leaves_the_old_or_the_new(
    calls, least, folder, tmp_path
):
    problems, num_kills = problems_after_kills(folder, tmp_path, lambda: save_step_3(folder), calls)
    assert problems == []
    assert num_kills >= least
    print(f"{num_kills} kills")


def save_in_place(folder):
    """What we do not do: open the file under its name, and write."""
    checkpoint.replacing = in_place  # in the child alone
    save_step_3(folder)


@pytest.mark.slow
def test_control_without_the_rename_a_kill_is_seen_to_tear_a_file(folder, tmp_path):
    problems, _ = problems_after_kills(folder, tmp_path, lambda: save_in_place(folder), ("write",))
    assert any("damaged" in problem for problem in problems)


def is_durable(trace, path):
    """Whether each rename to `path` came after a flush of what it renames, and before its folder's.

    The file must have been flushed after the last write to it.
    """
    renames = 0
    for at, line in enumerate(trace):
        found = re.search(r'rename\w*\((?:.*, )?"([^"]+)", (?:.*, )?"([^"]+)"', line)
        if found is None or found[2] != str(path):
            continue
        renames += 1
        source = re.escape(found[1])
        before, after = trace[:at], trace[at + 1 :]
        flushes = [n for n, past in enumerate(before) if re.search(rf"fsync\(\d+<{source}>", past)]
        made = [n for n, past in enumerate(before) if re.search(rf'rename.*"{source}"\)', past)]
        writes = [n for n, past in enumerate(before) if re.search(rf"write\(\d+<{source}>", past)]
        if not flushes or max([*made, *writes], default=-1) > max(flushes):
            return False
        if not any(re.search(rf"fsync\(\d+<{re.escape(str(path.parent))}>", p) for p in after):
            return False
    return renames > 0


def test_a_save_writes_flushes_renames_and_flushes_the_folder(folder, tmp_path):
    code, trace = traced(lambda: save_step_3(folder), tmp_path / "output")
    assert code == 0
    for path in (folder.best, folder.last, folder.previous):
        assert is_durable(trace, path), "\n".join(trace)


def test_control_without_the_flush_the_order_is_seen_to_be_wrong(folder, tmp_path):
    def act():
        os.fsync = lambda descriptor: None  # in the child alone
        save_step_3(folder)

    code, trace = traced(act, tmp_path / "output")
    assert code == 0
    assert not is_durable(trace, folder.last)


@pytest.mark.slow
def test_every_save_of_a_real_run_is_durable(train, tmp_path):
    folder = RunFolder(tmp_path / "run")
    code, trace = traced(
        lambda: train(folder.path, "trainer=smoke", "model.widths=[8]", "trainer.steps=6"),
        tmp_path / "output",
    )
    assert code == 0
    for path in (folder.best, folder.last, folder.previous):
        assert is_durable(trace, path)
