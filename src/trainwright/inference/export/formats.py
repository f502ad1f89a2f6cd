"""The files that a network is written to, each compared with the network it came from."""

import contextlib
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainwright.errors import TrainwrightError, require_extra
from trainwright.tasks.ports import Portable

FILES = {"safetensors": "model.safetensors", "pt2": "model.pt2", "onnx": "model.onnx"}
SIZES = (1, 2, 5)  # batches that are tried; what is traced has two examples
Answer = Callable[[tuple[Tensor, ...]], Tensor]  # a file that was read back, called with a batch
TOLERANCE = 1e-4  # of the largest output; float32 in another order of sums


def write(network: Portable, form: str, folder: Path) -> float:
    """Write the network in one of FILES, read it back, and compare the two on several batches.

    Returns the largest difference, as a share of the largest output. Raises ConfigError where a
    package is missing, TrainwrightError where the two differ.
    """
    path = folder / FILES[form]
    {"safetensors": _write_weights, "pt2": _write_pt2, "onnx": _write_onnx}[form](network, path)
    if form == "safetensors":
        return 0.0  # has been compared bit by bit
    answer = _read_pt2(path) if form == "pt2" else _read_onnx(path)
    worst = max(_difference(network, answer, num_examples) for num_examples in SIZES)
    if not worst <= TOLERANCE:
        raise TrainwrightError(
            f"{path.name}: its outputs differ from the run's own by {worst:.2g} of the largest"
        )
    return worst


def check_installed(form: str) -> None:
    """Raise ConfigError where a format needs a package that is not there; before any work."""
    if form == "hf":
        require_extra("format=hf", "transformers", extra="hf")
    if form == "onnx":
        require_extra("format=onnx", "onnx", "onnxruntime", "onnxscript", extra="export")


def _difference(network: Portable, answer: Answer, num_examples: int) -> float:
    inputs = network.example(num_examples)
    with torch.no_grad():
        expected = network(*inputs)
    got = answer(inputs)
    if got.shape != expected.shape:
        return float("inf")
    return float((got - expected).abs().max() / expected.abs().max().clamp(min=1e-6))


def _write_weights(network: Portable, path: Path) -> None:
    weights = {k: value.contiguous() for k, value in network.network.state_dict().items()}
    save_file(weights, path)
    read = load_file(path)
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[name], weights[name]) for name in weights)


def _write_pt2(network: Portable, path: Path) -> None:
    batch = torch.export.Dim("batch", min=1)
    with _quiet():
        program = torch.export.export(
            network, network.example(2), dynamic_shapes=network.of_any_size(batch)
        )
        torch.export.save(program, path)


def _write_onnx(network: Portable, path: Path) -> None:
    batch = torch.export.Dim("batch", min=1)
    with _quiet():
        program = torch.onnx.export(
            network,
            network.example(2),
            dynamo=True,
            input_names=[port.name for port in network.inputs],
            output_names=[network.output.name],
            dynamic_shapes=network.of_any_size(batch),
            verbose=False,
        )
        assert program is not None
        program.save(str(path))


def _read_pt2(path: Path) -> Answer:
    module = torch.export.load(path).module()

    def answer(inputs: tuple[Tensor, ...]) -> Tensor:
        with torch.no_grad():
            outputs: Tensor = module(*inputs)
        return outputs

    return answer


def _read_onnx(path: Path) -> Answer:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]

    def answer(inputs: tuple[Tensor, ...]) -> Tensor:
        given = dict(zip(names, (value.numpy() for value in inputs), strict=True))
        return torch.from_numpy(session.run(None, given)[0])

    return answer


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the exporters say about their own insides."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
