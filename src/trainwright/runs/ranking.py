"""Which of several runs is better, by a metric."""

from collections.abc import Sequence

from trainwright.errors import ConfigError
from trainwright.runs.record import Record
from trainwright.wording import nearest, printable

# Metrics by the last part of their name. A run also says which way its own objective goes.
HIGHER_IS_BETTER = {
    "accuracy": True,
    "precision": True,
    "recall": True,
    "f1": True,
    "r2": True,
    "loss": False,
    "mse": False,
    "mae": False,
    "sliced_wasserstein": False,
    "frechet": False,
    "kid": False,
    "density": True,
    "coverage": True,
    "confident": True,
    "as_asked": True,
    "class_entropy": True,
    "smallest_class": True,
    "grad_norm": False,
}


def full_name(metric: str) -> str:
    """`accuracy` is that of the best checkpoint on the validation split."""
    return (
        metric if metric.startswith(("validation/", "last/", "test/")) else f"validation/{metric}"
    )


def direction(metric: str, runs: Sequence[Record]) -> bool | None:
    """Whether higher is better: as the runs say of their objective, or as is known of the name."""
    name = full_name(metric).partition("/")[2]
    for record in runs:
        said = record.summary.get("higher_is_better")
        if record.objective == name and isinstance(said, bool):
            return said
    last = name.rpartition("/")[2]
    return HIGHER_IS_BETTER.get("accuracy" if last.endswith("_accuracy") else last)


def ranked(
    runs: Sequence[Record], metric: str, *, higher_is_better: bool | None = None
) -> list[Record]:
    """Those runs that have the metric, the best first; of equals, the newer first.

    Raises ConfigError where none has it, or where it is not known which way is better.
    """
    name = full_name(metric)
    having = [record for record in runs if name in record.metrics]
    if not having:
        known = sorted({key for record in runs for key in record.metrics})
        listed = ", ".join(key for key in known if key.startswith("validation/")) or "none"
        raise ConfigError(
            f"{printable(metric)}: no run has such a metric{nearest(name, known)}\n"
            f"  there are: {printable(listed)}"
        )
    if higher_is_better is None:
        higher_is_better = direction(metric, runs)
    if higher_is_better is None:
        raise ConfigError(
            f"best:{printable(metric)}: it is not known whether higher or lower is better\n"
            f"  write highest:{printable(metric)} or lowest:{printable(metric)}"
        )
    sign = -1 if higher_is_better else 1
    return sorted(having, key=lambda r: (sign * r.metrics[name], -r.started, r.name))
