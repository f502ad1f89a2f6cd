"""What a checkpoint's metadata must look like: it may come from anyone."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # with Python 3.11 pydantic takes no other

from trainwright.data.dataset import DataInfo
from trainwright.errors import CheckpointError

Count = Annotated[int, Field(ge=0, lt=2**53)]
Number = Annotated[float, Field(ge=-1e300, le=1e300)]
Rate = Annotated[float, Field(ge=0, le=1e300)]
Metrics = dict[str, Number | None]


def check_metadata(path: Path, metadata: Mapping[str, Any]) -> None:
    """Raise CheckpointError that names a field whose value is not of its kind, or out of range.

    Sections that are missing are the business of those who need them, and so is the config.
    """
    try:
        _CHECKS.validate_python(metadata)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"] if str(part).isidentifier())
        raise CheckpointError(
            f"{path} is not a trainwright checkpoint: its {key} is not what a run writes"
        ) from error


def data_info(metadata: Mapping[str, Any]) -> DataInfo:
    """The facts about the data. Raises CheckpointError where there are none."""
    try:
        return DataInfo.of_plain(metadata.get("data"))
    except ValueError as error:
        raise CheckpointError(
            f"the checkpoint lacks the facts about its data\n  {error}"
        ) from error


def _are_facts(facts: dict[str, Any]) -> dict[str, Any]:
    """Raise ValueError for facts about data that none could have."""
    DataInfo.of_plain(facts)
    return facts


class _Sums(TypedDict):
    names: list[str]
    count: Count
    sums: list[Number | None]


class _Evaluation(TypedDict):
    step: Count
    metrics: Metrics


class _Scale(TypedDict):
    value: Annotated[float, Field(gt=0, le=1e38)]
    num_good: Count


class _Recovery(TypedDict, total=False):
    num_skipped: Count
    skipped_in_a_row: Count
    num_rollbacks: Count
    rolled_back_to: Count | None
    lr_scale: Annotated[float, Field(ge=0, le=1)]


class _Progress(TypedDict, total=False):
    step: Count
    to_be_done: list[Annotated[tuple[str, Number | None], Field(strict=False)]] | None
    learning_rates: dict[str, Rate]
    schedule: Metrics
    scale: _Scale
    recovery: _Recovery
    means: list[_Sums]
    last: _Evaluation | None
    best: _Evaluation | None


class _EarlyStop(TypedDict):
    best: Number | None
    num_bad: Count


class _HealthCheck(TypedDict, total=False):
    history: list[dict[str, Number]]
    said: str
    course: dict[str, list[Count]]


class _OneAnswer(TypedDict):
    in_a_row: Count
    has_warned: bool


class _Hooks(TypedDict, total=False):
    EarlyStop: _EarlyStop
    HealthCheck: _HealthCheck
    OneAnswer: _OneAnswer


class _Resumed(TypedDict):
    step: Count
    anew: list[str]


class _Lineage(TypedDict):
    name: str
    step: Count
    taken: list[str]


@with_config(ConfigDict(strict=True))
class _Metadata(TypedDict, total=False):
    name: str
    config: dict[str, Any]
    data: Annotated[dict[str, Any], AfterValidator(_are_facts)]
    architecture: dict[str, Any]
    examples: dict[str, Count]
    placement: str
    versions: dict[str, str]
    environment: dict[str, str]
    total_steps: Annotated[int, Field(ge=1, lt=2**53)]
    progress: _Progress
    resumed: _Resumed | None
    lineage: _Lineage
    hooks: _Hooks


_CHECKS: TypeAdapter[_Metadata] = TypeAdapter(_Metadata)
