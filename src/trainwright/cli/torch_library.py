"""torch's large library, made ready by a thread while Hydra composes a config. No import of torch.

It has 400 MB, and links itself for a fifth of a second, in which no interpreter is needed. `import
torch` then finds it loaded. Where something is different here, it is loaded then, as ever.
"""

import contextlib
import ctypes
import gc
import importlib.util
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from trainwright.cores import begin_to_watch

# As `torch/__init__.py` loads them: first what is to be seen by all, then its own.
_LIBRARIES = (("libtorch_global_deps.so", os.RTLD_GLOBAL), ("libtorch_cpu.so", os.RTLD_LOCAL))
# With these, what is found depends on more, about which torch has a mind of its own.
_FOR_DEVICES = ("libtorch_cuda.so", "libtorch_hip.so", "libtorch_xpu.so")


def begin_loading() -> None:
    """Begin to load it, on Linux, where torch is one for CPUs alone."""
    if sys.platform != "linux" or "torch" in sys.modules:
        return
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return
    folder = Path(spec.origin).parent / "lib"
    if not any((folder / name).exists() for name in _FOR_DEVICES):
        threading.Thread(target=_load, args=(folder,), name="loads torch", daemon=True).start()


def _load(folder: Path) -> None:
    # A foreign function, unlike `ctypes.CDLL(path)`: who calls one leaves the interpreter free.
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    for name, scope in _LIBRARIES:
        dlopen(os.fsencode(folder / name), os.RTLD_NOW | scope)


@contextlib.contextmanager
def imports_of_torch() -> Iterator[None]:
    """Where torch is imported for the first time: no search for garbage among what will stay.

    There are half a million objects, and nothing of them is searched again later.
    """
    begin_to_watch()
    if "torch" in sys.modules or not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
