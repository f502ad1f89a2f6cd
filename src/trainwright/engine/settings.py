"""The trainer's settings, as `configs/trainer/*.yaml` writes them."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from trainwright.engine.clock import Duration

LENGTHS = ("epochs", "steps", "tokens")  # of which a run has one
Positive = Annotated[int, Field(gt=0)]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class EarlyStopping:
    """Stop when a metric has not improved for `patience` evaluations."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    patience: Positive | None = None  # evaluations; null: never
    metric: str | None = None  # a validation metric; null: the task's objective
    mode: Literal["min", "max"] | None = None  # null: as the metric's name has it
    min_delta: Annotated[float, Field(ge=0)] = 0.0


@dataclass(frozen=True)
class RollbackSettings:
    """How a run goes back to an earlier checkpoint."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    factor: Annotated[float, Field(gt=0, le=1)] = 0.5  # on the learning rate, each time
    limit: Positive = 3  # times in one run; then it ends


@dataclass(frozen=True)
class PrivacySettings:
    """What may be learned of any one training example: differential privacy."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    epsilon: Annotated[float, Field(gt=0, le=1000)] | None = None  # null: none
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5
    clip: Annotated[float, Field(gt=0, le=1e6)] = 1.0  # norm of an example's gradient


@dataclass(frozen=True)
class FederatedSettings:
    """Sites that keep their data, simulated: what each holds, and how they learn together."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    clients: Annotated[int, Field(gt=0, le=100_000)] = 20
    rounds: Positive = 50
    split: Literal["iid", "dirichlet"] = "iid"
    alpha: Annotated[float, Field(gt=0, le=1e6)] = 0.3  # of dirichlet
    fraction: Annotated[float, Field(gt=0, le=1)] = 1.0  # of the clients, in a round
    epochs: Annotated[float, Field(gt=0, le=1000)] = 1.0  # of a client, in a round
    proximal: Annotated[float, Field(ge=0, le=1e6)] = 0.0  # mu of FedProx
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0  # of the server

    @property
    def num_chosen(self) -> int:
        """How many clients take part in a round."""
        return max(1, round(self.fraction * self.clients))

    def examples_a_round(self, num_examples: int) -> int:
        """How many of so many training examples a round sees."""
        return max(1, round(self.epochs * self.num_chosen / self.clients * num_examples))


@dataclass(frozen=True)
class RunSettings:
    """Where a run lands."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    root: str = "outputs"  # a new folder in it: <date>/<time>-<name>
    name: str | None = None  # null: <model>-<data>
    dir: str | None = None  # the exact folder instead, which must not exist


@dataclass(frozen=True)
class ForkSettings:
    """What a run begins with that takes over the weights of another; made by `runs fork`."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    checkpoint: str  # of the other run; needed to begin, and not to go on
    sha256: str  # of that file, as it says itself
    freeze: tuple[str, ...] = ()  # names of layers or parameters, with wildcards
    old_lr: Annotated[float, Field(gt=0, le=1)] = 1.0  # on the learning rate of what was taken


@dataclass(frozen=True)
class TrainerSettings:
    """What the shared trainer is told. Durations: see `trainwright.engine.clock`."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    epochs: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = 10
    steps: Positive | None = None
    tokens: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    batch_size: Positive = 64

    device: str = "auto"
    devices: Positive | Literal["auto"] | None = None  # processes that share the run
    shard: bool = False  # weights and optimizer state, over these processes
    sync_batchnorm: Literal["auto", "on", "off"] = "auto"
    max_restarts: Annotated[int, Field(ge=0)] = 3
    rank_timeout: Annotated[float, Field(gt=0, le=1e6)] = 1800  # seconds
    precision: Precision = "auto"
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    threads: Annotated[int, Field(gt=0, le=1024)] | Literal["auto"] | None = None
    deterministic: bool = False
    cuda_graph: Literal["auto", "on", "off"] = "auto"
    compile: bool = False

    clip_norm: Annotated[float, Field(gt=0)] | None = None
    accumulate: Positive = 1
    privacy: PrivacySettings = field(default_factory=PrivacySettings)
    ema: Annotated[float, Field(ge=0, lt=1)] | None = None

    schedule_from: Duration = 0
    schedule_until: Duration = "100%"

    log_every: Duration = 50
    evaluate_every: Duration = "1 epoch"
    sample_every: Duration = "1 epoch"
    save_every: Duration = "1 epoch"
    keep: Annotated[int, Field(gt=0, le=1000)] = 1  # of the best checkpoints
    evaluate_batch_size: Positive = 1000
    score_samples: Annotated[int, Field(ge=0)] = 2500
    plots: bool = True  # drawn at the end
    early_stopping: EarlyStopping = field(default_factory=EarlyStopping)

    on_nonfinite: Literal["stop", "skip", "rollback"] = "stop"
    max_skips: Positive = 10  # batches in a row; then the run ends
    rollback: RollbackSettings = field(default_factory=RollbackSettings)
    on_ill: Literal["warn", "stop", "rollback"] = "warn"

    events: Literal["json"] | None = None  # on standard output, for programs
    resume: str | None = None
