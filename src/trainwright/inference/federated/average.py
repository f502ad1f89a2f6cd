"""The mean of several runs' networks: one round of federated averaging, by files.

McMahan, Moore, Ramage, Hampson and Agüera y Arcas 2017, "Communication-efficient learning of deep
networks from decentralized data", arXiv:1602.05629. Each file may come from anyone: it is checked
as every checkpoint is, and then against the first.
"""

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import torch
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from trainwright import __version__
from trainwright.config.trust import remember
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.checkpoint.fitting import check_fit
from trainwright.engine.nonfinite import first_nonfinite
from trainwright.errors import CheckpointError, ConfigError
from trainwright.files import write_text
from trainwright.inference.trained import Trained, load_trained
from trainwright.run.resume.same_data import FACTS
from trainwright.runs.folder import RunFolder
from trainwright.runs.header import check_header
from trainwright.wording import printable

Weights = Literal["examples", "equal"]
COUNT = "num_batches_tracked"  # of batch normalisation: how often it has seen a batch


@dataclass(frozen=True)
class Site:
    """A network that was sent, and what its file says of its run."""

    trained: Trained
    tensors: Mapping[str, Tensor]  # as it is evaluated: averaged where there are averages
    num_examples: int | None  # that it was trained on, as it says
    sha256: str
    began_with: str  # what it has in common with others, if they began with the same weights


@dataclass(frozen=True)
class Average:
    """The mean network, and what each site has in it."""

    sites: Sequence[Site]
    shares: Sequence[float]  # sum to 1
    distances: Sequence[float]  # of each site from the mean, as a share of the mean's norm
    tensors: Mapping[str, Tensor]
    notes: Sequence[str]  # what a person should know


def average(paths: Sequence[Path], weights: Weights, *, trust: Collection[str] = ()) -> Average:
    """The weighted mean of the networks in some checkpoints.

    Floating-point tensors are averaged, statistics of batch normalisation among them, in float64.
    Raises ConfigError for fewer than two files or one named twice, and CheckpointError for one that
    is damaged, not finite, of another network or of other data than the first, or does not say how
    many examples it has seen.
    """
    if len(paths) < 2:
        raise ConfigError("one run has no average: name two or more: runs average A B C")
    resolved = [path.resolve() for path in paths]
    twice = [p for n, p in enumerate(paths) if resolved[n] in resolved[:n]]
    if twice:
        raise ConfigError(f"{printable(str(twice[0]))} is named twice, and would count twice")
    sites: list[Site] = []
    for path in paths:
        site = _read(path, trust)
        if sites:
            _check_alike(sites[0], site)
        sites.append(site)
    shares = _shares(sites, weights)
    tensors = _mean([site.tensors for site in sites], shares)
    distances = [_distance(site.tensors, tensors) for site in sites]
    starts = {site.began_with for site in sites}
    notes = []
    if len(starts) > 1:
        notes.append(
            "these runs did not begin with the same weights, and the mean of such networks is "
            "seldom any good: let all fork one run"
        )
    return Average(sites, shares, distances, tensors, notes)


def _read(path: Path, trust: Collection[str]) -> Site:
    # For all files the same path through the checks; where it computed is of no matter.
    trained = load_trained(path, trust=trust, device="cpu", precision="fp32", calibrated=False)
    tensors = trained.task.state_dict()
    found = first_nonfinite(tensors)
    if found is not None:
        raise CheckpointError(f"{path} contains NaN or infinity\n  {found}")
    counted = trained.metadata.get("examples", {}).get("train")
    fork, plan = trained.plan.fork, trained.plan
    start = f"seed {plan.seed}" if fork is None else f"fork of {fork.sha256}"
    sha256 = check_header(path).labels["sha256"]
    return Site(trained, tensors, counted or None, sha256, start)


def _check_alike(first: Site, other: Site) -> None:
    """Raise CheckpointError where two networks are not of one kind, or mean other things."""
    one, two = first.trained, other.trained
    facts = [_facts(trained) for trained in (one, two)]
    for what in facts[0] | facts[1]:
        there, here = (printable(str(found.get(what)))[:60] for found in facts)
        if facts[0].get(what) != facts[1].get(what):
            raise CheckpointError(
                f"{two.path} is not of one kind with {one.path}: {printable(what)[:60]}\n"
                f"  {there} there, {here} here\n"
                "  sites that fork one run have its network, its classes and its normalisation"
            )
    try:
        check_fit(first.tensors, other.tensors)
    except ValueError as error:
        raise CheckpointError(
            f"{two.path} does not fit {one.path}: {error}\n  average runs of one network"
        ) from error


def _facts(trained: Trained) -> dict[str, Any]:
    """All in which networks must agree to have a mean, by what a person calls it."""
    plan, info = trained.plan, trained.info
    columns = info.plain()["columns"]
    return {
        "task": plan.task.node.get("_target_"),
        **{f"model.{key}": value for key, value in plan.model.node.items()},
        "architecture": trained.metadata.get("architecture", {}),
        **{fact.replace("_", " "): getattr(info, fact) for fact in FACTS},
        **{f"{key} of {name}": v for name, of in columns.items() for key, v in of.items()},
    }


def _shares(sites: Sequence[Site], weights: Weights) -> list[float]:
    if weights == "equal":
        return [1 / len(sites)] * len(sites)
    counts = [site.num_examples or 0 for site in sites]
    if 0 in counts:
        raise CheckpointError(
            f"{sites[counts.index(0)].trained.path} does not say how many examples it was trained "
            "on\n  an older version wrote it; count every site alike: weights=equal"
        )
    return [count / sum(counts) for count in counts]


@torch.no_grad()
def _mean(states: Sequence[Mapping[str, Tensor]], shares: Sequence[float]) -> dict[str, Tensor]:
    """The mean of each tensor of floating point, by these shares; of a count the largest.

    Raises CheckpointError for other whole numbers that differ.
    """
    found = {}
    for name, first in states[0].items():
        all_of_it = [state[name] for state in states]
        if first.is_floating_point():
            mean = torch.zeros(first.shape, dtype=torch.float64)
            for tensor, share in zip(all_of_it, shares, strict=True):
                mean.add_(tensor.double(), alpha=share)
            found[name] = mean.to(first.dtype)
        elif name.endswith(COUNT):
            found[name] = torch.stack(all_of_it).amax(dim=0)
        elif all(torch.equal(tensor, first) for tensor in all_of_it):
            found[name] = first.clone()
        else:
            raise CheckpointError(f"{printable(name)[:100]} are whole numbers, and have no mean")
    return found


def _distance(tensors: Mapping[str, Tensor], mean: Mapping[str, Tensor]) -> float:
    """How far a network is from the mean: the norm of the difference, as a share of the mean's."""
    floats = [name for name, tensor in mean.items() if tensor.is_floating_point()]
    away = sum(float((tensors[n].double() - mean[n].double()).square().sum()) for n in floats)
    norm = sum(float(mean[n].double().square().sum()) for n in floats)
    return float((away / norm) ** 0.5) if norm else 0.0


def write(found: Average, root: Path, *, exact: Path | None = None) -> RunFolder:
    """Write the mean as a run's folder, which can be evaluated, predicted with and forked.

    A new one in `root`, or just `exact`, which must be new. Raises ConfigError, DiskError.
    """
    first = found.sites[0].trained
    config = copy.deepcopy(first.plan.kept)
    OmegaConf.set_struct(config, False)
    config.pop("fork", None)
    metadata = _metadata(found, config)
    folder = RunFolder.create(root, f"average-{first.plan.name}", exact=exact)
    tensors = {f"task.{key}": tensor.contiguous() for key, tensor in found.tensors.items()}
    checkpoint.save([folder.best], tensors, metadata)
    remember(folder.path, config)
    write_text(folder.path / "config.yaml", OmegaConf.to_yaml(config))
    write_text(folder.path / "overrides.txt", "")
    folder.write_summary(
        {
            "status": "finished",
            "name": first.plan.name,
            "started": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "objective": first.task.objective.metric,
            "higher_is_better": first.task.objective.higher_is_better,
            "step": metadata["progress"]["step"],
            "versions": metadata["versions"],
            "average": metadata["average"],
        }
    )
    return folder


def _metadata(found: Average, config: DictConfig) -> dict[str, Any]:
    """What the checkpoint says: the first site's facts, and what each site has in it."""
    first = found.sites[0].trained
    kept = {k: v for k, v in first.metadata.items() if k in ("data", "architecture")}
    counts = [site.num_examples or 0 for site in found.sites]
    examples = {"examples": {"train": sum(counts)}} if all(counts) else {}
    return {
        **kept,
        **examples,
        "name": f"average of {len(found.sites)}: {first.plan.name}",
        "config": OmegaConf.to_container(config),
        "versions": {"trainwright": __version__, "torch": torch.__version__},
        "progress": {"step": max(site.trained.step for site in found.sites)},
        "hooks": {},
        "average": told(found),
    }


def told(found: Average) -> list[dict[str, Any]]:
    """What each site has in the mean, as plain JSON types."""
    return [
        {
            "name": site.trained.plan.name,
            "checkpoint": site.trained.path.name,
            "sha256": site.sha256,
            "step": site.trained.step,
            "examples": site.num_examples,
            "share": share,
            "distance": distance,
        }
        for site, share, distance in zip(found.sites, found.shares, found.distances, strict=True)
    ]
