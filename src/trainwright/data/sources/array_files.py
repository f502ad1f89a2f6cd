"""Arrays by name from a file: NumPy's, torch's, safetensors. Nothing in a file is ever run."""

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from trainwright.errors import DataError
from trainwright.wording import printable

SUFFIXES = (".npz", ".npy", ".pt", ".pth", ".safetensors")
IN_TURN = ("x", "y")  # what two tensors without names are


def read_arrays(path: Path) -> dict[str, Any]:
    """The arrays of a file, or of all .npy files in a folder, by name. Raises DataError."""
    if path.is_dir():
        files = sorted(path.glob("*.npy"))
        if not files:
            raise DataError(f"{path} holds no .npy files\n  name a file: data.path=signals.npz")
        return {file.stem: _numpy(file) for file in files}
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder")
    kind = path.suffix.lower()
    if kind not in SUFFIXES:
        raise DataError(
            f"{path}: {printable(kind) or 'no suffix'} is no file of arrays\n"
            f"  right would be {', '.join(SUFFIXES)}; for a CSV file: data=table"
        )
    if kind == ".safetensors":
        return dict(_safetensors(path))
    if kind in (".pt", ".pth"):
        return dict(_torch(path))
    found = _numpy(path)
    return {path.stem: found} if isinstance(found, np.ndarray) else found


def _numpy(path: Path) -> Any:
    """An array, or several by name."""
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                return loaded
            return {name: loaded[name] for name in loaded.files}
    except (ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        if "pickle" in str(error).lower():
            raise DataError(
                f"{path} holds Python objects, which could do anything when they are read\n"
                "  save arrays of numbers or of text: np.savez('data.npz', x=x, y=y)"
            ) from None
        raise DataError(f"{path} is damaged, or no file of NumPy's ({error})") from None


def _torch(path: Path) -> Mapping[str, Any]:
    """Tensors by name; two that have none are x and y."""
    right = "  save tensors by name: torch.save({'x': x, 'y': y}, 'data.pt')"
    try:
        with warnings.catch_warnings(action="ignore"):  # of a pickle that is no file of torch's
            loaded = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError:
        raise DataError(
            f"{path} holds more than tensors, which could do anything when it is read\n{right}"
        ) from None
    except (RuntimeError, EOFError, ValueError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise DataError(f"{path} is damaged, or no file of torch's ({first[:100]})") from None
    if isinstance(loaded, Tensor):
        return {path.stem: loaded}
    if isinstance(loaded, list | tuple) and len(loaded) == 2:
        loaded = dict(zip(IN_TURN, loaded, strict=True))
    is_right = isinstance(loaded, Mapping) and all(isinstance(t, Tensor) for t in loaded.values())
    if not is_right or not loaded:
        raise DataError(f"{path} holds a {type(loaded).__name__}, not tensors by name\n{right}")
    return {str(name): tensor for name, tensor in loaded.items()}


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(path))
    except SafetensorError as error:
        raise DataError(f"{path} is damaged, or no safetensors file ({error})") from None
