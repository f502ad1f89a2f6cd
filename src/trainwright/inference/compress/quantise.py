"""An ONNX file with smaller numbers: 8-bit weights and activations, or bf16 weights."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

Inputs = Mapping[str, np.ndarray]  # a batch by the names of the ports
PRODUCTS = ("Conv", "Gemm", "MatMul")


def to_int8(source: Path, target: Path, calibration: Sequence[Inputs]) -> str:
    """Write the network in 8 bits. Returns how: statically where it has convolutions.

    Then activations are whole numbers too, from each one's least to its greatest in the batches of
    `calibration` (Jacob et al. 2018), weights one scale a channel. Else weights alone are stored
    so, and activations get their scale when they are computed.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    ready = target.with_suffix(".tmp")
    with _silent():
        # Normalisation goes into the convolutions. (Its own inference of shapes fails of texts.)
        quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
        model = onnx.load(ready)
        ready.unlink()
        is_static = any(node.op_type == "Conv" for node in model.graph.node)
        if is_static:
            _pool_after_relu(model.graph)
            products = [node.op_type in PRODUCTS for node in model.graph.node]
            before = [node.name for node in model.graph.node][: products.index(True)]
            quantize_static(
                model,
                target,
                _reader(calibration),
                per_channel=True,
                reduce_range=True,  # 7 bits: without VNNI two products of 8 overflow their sum
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=before,  # what scales pixels
            )
        else:
            quantize_dynamic(
                model,
                target,
                per_channel=True,
                weight_type=QuantType.QInt8,
                nodes_to_exclude=_stacked(model.graph),
            )
    slim(target)
    return "static" if is_static else "dynamic"


def to_bf16(path: Path) -> None:
    """Let a file hold its weights as bf16; they become float32 as it is loaded."""
    import onnx

    model = onnx.load(path)
    graph = model.graph
    casts = []
    for weight in graph.initializer:
        if weight.data_type != onnx.TensorProto.FLOAT or not weight.dims:
            continue
        numbers = torch.from_numpy(onnx.numpy_helper.to_array(weight).copy()).bfloat16()
        stored = f"{weight.name}_bf16"
        casts.append(
            onnx.helper.make_node("Cast", [stored], [weight.name], to=onnx.TensorProto.FLOAT)
        )
        weight.Clear()
        weight.name, weight.data_type = stored, onnx.TensorProto.BFLOAT16
        weight.dims.extend(numbers.shape)
        weight.raw_data = numbers.view(torch.int16).numpy().tobytes()
    nodes = [*casts, *graph.node]
    graph.ClearField("node")
    graph.node.extend(nodes)
    onnx.save(model, path)
    slim(path)


def slim(path: Path) -> None:
    """Leave out of a file which lines of code its nodes come from, and shapes that follow."""
    import onnx

    model = onnx.load(path)
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    model.graph.ClearField("value_info")
    model.ClearField("metadata_props")
    onnx.save(model, path)


def _pool_after_relu(graph: Any) -> None:
    """Let ReLU come before the largest value is taken, which is the same: so 8 bits last."""
    for node in graph.node:
        readers = [other for other in graph.node if node.output[0] in other.input]
        if node.op_type == "MaxPool" and [r.op_type for r in readers] == ["Relu"]:
            (relu,) = readers
            relu.op_type, node.op_type = "MaxPool", "Relu"
            relu.attribute.extend(node.attribute)
            node.ClearField("attribute")
    graph.ClearField("value_info")  # the shapes in between have changed


def _stacked(graph: Any) -> list[str]:
    """The products with a stack of matrices, which have no scale a channel."""
    flat = {weight.name for weight in graph.initializer if len(weight.dims) == 2}
    products = [node for node in graph.node if node.op_type == "MatMul"]
    return [node.name for node in products if not flat & set(node.input)]


def _reader(batches: Sequence[Inputs]) -> Any:
    from onnxruntime.quantization import CalibrationDataReader

    class _Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._left = iter(batches)

        def get_next(self) -> Inputs | None:
            return next(self._left, None)

    return _Reader()


@contextmanager
def _silent() -> Iterator[None]:
    """The library advises its users by warnings, whatever they do."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)
