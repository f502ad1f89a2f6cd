"""Where the weights of a forked run come from, as its files tell."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError

from trainwright.errors import CheckpointError
from trainwright.run.resume.recover import Found


class Part(NamedTuple):
    """What has become of so many numbers of the network, and in which layers."""

    what: str  # "taken", "taken, frozen", "begins anew", "left behind"
    numbers: int
    layers: str


@dataclass(frozen=True)
class Lineage:
    """The run that another began with, and what it took from it."""

    name: str
    step: int
    checkpoint: str
    sha256: str
    averaged: bool  # whether the weights are its averaged ones
    taken: list[str] = field(default_factory=list)  # layers
    parts: list[Part] = field(default_factory=list)
    ancestors: list[dict[str, str | int]] = field(default_factory=list)  # the nearest first

    @classmethod
    def of(cls, found: Found, sha256: str) -> "Lineage":
        """That of a run which begins with a checkpoint; what it takes is not known yet."""
        before = found.metadata.get("lineage")
        ancestors: list[dict[str, str | int]] = []
        if before is not None:
            older = cls.stored(before)
            ancestors = [
                {"name": older.name, "step": older.step, "sha256": older.sha256},
                *older.ancestors,
            ]
        averaged = any(name.startswith("averaged.") for name in found.tensors)
        name = str(found.metadata["name"])
        return cls(name, found.step, str(found.path), sha256, averaged, ancestors=ancestors)

    @classmethod
    def stored(cls, plain: Any) -> "Lineage":
        """What a checkpoint says. Raises CheckpointError where that is none."""
        try:
            return TypeAdapter(cls).validate_python(plain)
        except ValidationError as error:
            raise CheckpointError("the checkpoint does not say what its run began with") from error

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {**dataclasses.asdict(self), "parts": [part._asdict() for part in self.parts]}

    def lines(self) -> list[str]:
        """What a person reads."""
        weights = ", averaged weights" if self.averaged else ""
        first = f"fork of {self.name}, step {self.step:,}{weights}"
        width = max((len(f"{part.numbers:,}") for part in self.parts), default=0)
        kinds = max((len(part.what) for part in self.parts), default=0)
        return [
            first,
            *(
                f"  {p.what:<{kinds}}  {p.numbers:>{width},} numbers: {p.layers}"
                for p in self.parts
            ),
        ]
