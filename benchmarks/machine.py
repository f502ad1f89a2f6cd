"""What a figure depends on: the machine, the versions, the code."""

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "torch",
    "lightning",
    "keras",
    "transformers",
    "accelerate",
    "skorch",
    "pytorch-ignite",
    "jax",
    "optax",
    "hydra-core",
    "hydra-joblib-launcher",
    "joblib",
)


def describe() -> str:
    """Processor, its matrix units, cores, memory, system."""
    flags = _cpuinfo("flags").split()
    units = [name for name in ("avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    gigabytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return ", ".join(
        [
            _cpuinfo("model name") or platform.processor() or platform.machine(),
            *([" ".join(units)] if units else []),
            f"{os.cpu_count()} cores",
            f"{gigabytes:.0f} GB",
            f"{platform.system()} {platform.machine()}",
        ]
    )


def versions() -> dict[str, str]:
    """Python and the packages that are there."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def is_installed(package: str) -> bool:
    """Whether a package is there, without importing it."""
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def commit() -> str:
    """The short hash of what is checked out; with a + where src/ was changed since."""
    head = _git("rev-parse", "--short", "HEAD")
    return head + ("+" if head and _git("status", "--porcelain", "src") else "")


def source() -> str:
    """A hash of src/ as committed: results of the same source belong together."""
    return _git("rev-parse", "--short", "HEAD:src")


def _git(*arguments: str) -> str:
    try:
        return subprocess.run(
            ["git", "-C", str(ROOT), *arguments],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _cpuinfo(field: str) -> str:
    path = Path("/proc/cpuinfo")
    if sys.platform != "linux" or not path.exists():
        return ""
    for line in path.read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == field:
            return value.strip()
    return ""
