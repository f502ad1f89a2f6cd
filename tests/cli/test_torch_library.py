"""torch's library is loaded early where that is safe, and the interpreter stays free meanwhile."""

import json
import subprocess
import sys
from importlib.machinery import ModuleSpec

import pytest
import torch

from trainwright.cli import torch_library

PROGRAM = """
import json, sys, threading
from pathlib import Path
from trainwright.cli.torch_library import begin_loading

begin_loading()
threads = [thread for thread in threading.enumerate() if thread.name == "loads torch"]
for thread in threads:
    thread.join()
mapped = "libtorch_cpu.so" in Path("/proc/self/maps").read_text()
early = [len(threads), mapped, "torch" in sys.modules]
import torch
same = torch.arange(6.0).reshape(2, 3) @ torch.ones(3)
print(json.dumps([early, same.tolist(), torch.get_num_threads()]))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or torch.backends.cuda.is_built() or torch.version.hip is not None,
    reason="only there, and for CPUs, it is loaded early",
)
def test_the_library_is_there_before_torch_is_imported_which_then_works(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [[1, True, False], [3.0, 12.0], 2]


@pytest.fixture
def loaded(monkeypatch):
    """The folders from which something was loaded; torch has not been imported."""
    folders = []
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setattr(torch_library, "_load", folders.append)
    return folders


@pytest.mark.parametrize("library", ["libtorch_cuda.so", "libtorch_hip.so", "libtorch_xpu.so"])
def test_a_torch_for_other_devices_is_left_alone(library, loaded, monkeypatch, tmp_path):
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / library).touch()
    spec = ModuleSpec("torch", None, origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    torch_library.begin_loading()
    assert loaded == []


def test_where_there_is_no_torch_or_no_such_library_nothing_happens(loaded, monkeypatch, tmp_path):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    torch_library.begin_loading()
    assert loaded == []
    monkeypatch.undo()
    torch_library._load(tmp_path)
