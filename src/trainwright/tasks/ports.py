"""What goes into a trained network and what comes out, as other programs use it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from trainwright.data.columns import Column, Image, Numbers, Scaled, Series
from trainwright.data.examples import Batch


@dataclass(frozen=True)
class Port:
    """One input or output: its name, shape after the batch dimension, type, and what it means."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    meaning: str

    def describe(self) -> dict[str, Any]:
        """As plain JSON types."""
        dtype = str(self.dtype).removeprefix("torch.")
        return {
            "name": self.name,
            "shape": ["batch", *self.shape],
            "dtype": dtype,
            "meaning": self.meaning,
        }


@dataclass(frozen=True)
class Pretrained:
    """A language model as a folder for the library transformers.

    `config`: what config.json says; `tensors`: by the names there; `tokenizer`: what tokenizer.json
    says; `end`: the token that ends a text.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    tokenizer: str
    end: str | None
    network: nn.Module  # tokens (B, T) to logits, to compare with


class Portable(nn.Module, ABC):
    """A trained network with its preprocessing inside, in float32.

    `does`: one word for what it does, such as classifier; `network`: what of the model it needs;
    `facts`: what model.json says of it besides, as plain JSON types.
    """

    does: str
    facts: Mapping[str, Any] = {}
    inputs: tuple[Port, ...]
    output: Port
    network: nn.Module

    def of_any_size(self, batch: Any) -> Any:
        """Which dimensions of the arguments of `forward` are those of a batch, for an exporter."""
        return [{0: batch} for _ in self.inputs]

    @abstractmethod
    def example(self, num_examples: int) -> tuple[Tensor, ...]:
        """Inputs for so many examples, drawn with a fixed seed."""


class Predictor(Portable):
    """Raw inputs, one port a column and prepared inside; what the task says of them comes out."""

    def __init__(
        self,
        network: nn.Module,
        columns: Mapping[str, Column],
        output: Port,
        *,
        does: str,
        answer: Callable[[Batch], Tensor],
        facts: Mapping[str, Any],
    ) -> None:
        """`answer`: of a batch as the network sees it; it is traced, and calls `network`."""
        super().__init__()
        self.facts = {**_image_facts(columns), **facts}
        self.does, self.network, self.output = does, network, output
        self._columns, self._answer = dict(columns), answer
        self.inputs = tuple(_port(name, column) for name, column in self._columns.items())
        for name, column in self._columns.items():
            for constant, value in _constants(column).items():
                self.register_buffer(f"{name}_{constant}", value)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Map raw inputs, each (B, ...), to the output."""
        batch = {}
        for (name, column), values in zip(self._columns.items(), inputs, strict=True):
            if isinstance(column, Scaled):
                buffers = {key: self.get_buffer(f"{name}_{key}") for key in _constants(column)}
                batch[name] = column.scaled(values, **buffers)
            else:
                batch[name] = column.preparation(values.device)(values)
        return self._answer(batch)

    def of_any_size(self, batch: Any) -> Any:
        """All inputs are one argument, which takes any number of them."""
        return [tuple(super().of_any_size(batch))]

    def example(self, num_examples: int) -> tuple[Tensor, ...]:
        """Random pixels, features as far from zero as the data's are, or whole numbers."""
        generator = torch.Generator().manual_seed(num_examples)
        return tuple(self._drawn(name, num_examples, generator) for name in self._columns)

    def _drawn(self, name: str, num_examples: int, generator: torch.Generator) -> Tensor:
        column = self._columns[name]
        shape = (num_examples, *column.stored_shape)
        if isinstance(column, Image):
            return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
        if isinstance(column, Numbers | Series):
            shift, scale = self.get_buffer(f"{name}_shift"), self.get_buffer(f"{name}_scale")
            return (torch.randn(shape, generator=generator) - shift) / scale
        return torch.randint(0, column.num_options, shape, generator=generator)


def _constants(column: Column) -> dict[str, Tensor]:
    return column.constants() if isinstance(column, Scaled) else {}


def _image_facts(columns: Mapping[str, Column]) -> dict[str, Any]:
    """How an image file becomes the input, where that is one image and nothing else."""
    (first, *others) = columns.values()
    if others or not isinstance(first, Image) or first.size[0] not in (1, 3):
        return {}
    channels, height, width = first.size
    mode = "L" if channels == 1 else "RGB"
    return {"image": {"mode": mode, "height": height, "width": width, "fit": first.fit}}


def _port(name: str, column: Column) -> Port:
    if isinstance(column, Image):
        return Port(name, column.shape, torch.uint8, "pixels, 0 to 255")
    if isinstance(column, Numbers):
        missing = ", NaN where one is missing" if column.fill else ""
        shape = column.stored_shape
        return Port(name, shape, torch.float32, f"the features as in the table{missing}")
    if isinstance(column, Series):
        return Port(name, column.shape, torch.float32, "the steps, each with its channels")
    return Port(name, column.shape, torch.int64, f"{column.kind}, numbered as in columns")
