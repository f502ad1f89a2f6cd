"""Training images mixed with each other, and what is to be predicted of them alike."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from trainwright.data.columns import Column, Image, Target
from trainwright.data.examples import Batch
from trainwright.data.images.draws import Rows, uniform
from trainwright.data.images.geometry import box
from trainwright.errors import ConfigError

NUM_POINTS = 1025  # at which the distribution of the shares is known exactly
NUM_DRAWS = 4  # random numbers an example


class Mixing:
    """Mixes each example with its neighbour in the batch, by a share drawn from Beta(alpha, alpha).

    `mixup` is the alpha for the mean of both images (Zhang et al. 2018, arXiv:1710.09412), `cutmix`
    for a box of the other (Yun et al. 2019, arXiv:1905.04899); where both are on, each example is
    mixed in one of the two ways. Batches are shuffled, so a neighbour is anyone.
    """

    def __init__(
        self,
        images: str,
        targets: Mapping[str, Target],
        *,
        mixup: float,
        cutmix: float,
        device: torch.device,
    ) -> None:
        self._images, self._targets = images, dict(targets)
        self._ways = [(alpha, _shares(alpha, device)) for alpha in (mixup, cutmix)]

    def __call__(
        self, batch: Batch, generator: torch.Generator, *, rows_of: Rows | None = None
    ) -> Batch:
        """The batch with other images and targets; `Target.mixed` says what these become.

        `rows_of`: which rows of a batch of how many they are, and after them the rows that these
        are mixed with (`with_neighbours`), which are no part of what is returned.
        """
        num = len(batch[self._images]) if rows_of is None else len(rows_of[0]) // 2
        mixed = {name: column[:num] for name, column in batch.items()}
        others = {
            name: column.roll(1, 0) if rows_of is None else column[num:]
            for name, column in batch.items()
            if name == self._images or name in self._targets
        }
        images = mixed[self._images]  # (B, C, H, W)
        mine = None if rows_of is None else (rows_of[0][:num], rows_of[1])
        share, way, y, x = uniform(NUM_DRAWS, images, generator, mine)
        (mixup, means), (cutmix, boxes) = self._ways
        is_box = way < (0.5 if mixup and cutmix else float(cutmix > 0))
        side = (1 - _at(boxes, share)).sqrt()
        hole = box(y, x, side, side, (images.shape[2], images.shape[3]))  # (B, H, W)
        whole = (~hole).to(images.dtype)
        kept = torch.where(is_box, whole.mean(dim=(1, 2)), _at(means, share))
        mask = torch.where(is_box[:, None, None], whole, kept[:, None, None])[:, None]
        mixed[self._images] = torch.lerp(others[self._images], images, mask.to(images.dtype))
        for name, target in self._targets.items():
            mixed[name] = target.mixed(mixed[name], others[name], kept)
        return mixed


def with_neighbours(rows: Tensor, batch_size: int) -> Tensor:
    """Rows of a batch (n,), and after them those that they are mixed with: (2n,)."""
    return torch.cat([rows, (rows - 1) % batch_size])


def _shares(alpha: float, device: torch.device) -> Tensor:
    """Shares of Beta(alpha, alpha) at equal steps of probability, (NUM_POINTS,)."""
    from scipy.special import betaincinv

    steps = np.linspace(0, 1, NUM_POINTS)
    found = betaincinv(alpha, alpha, steps) if alpha else np.ones(NUM_POINTS)
    return torch.tensor(found, dtype=torch.get_default_dtype(), device=device)


def _at(table: Tensor, draws: Tensor) -> Tensor:
    """The quantiles at uniform draws, straight between the points that are known."""
    places = draws * (NUM_POINTS - 1)
    below = places.long().clamp(max=NUM_POINTS - 2)
    return torch.lerp(table[below], table[below + 1], places - below)


def mixing_for(
    settings: Mapping[str, object] | None,
    columns: Mapping[str, Column],
    device: torch.device,
    *,
    takes_mixed: bool,
) -> Mixing | None:
    """What `data.augment` asks for; None where nothing is mixed. Its values were checked.

    `takes_mixed`: whether the task can learn from targets between two. Raises ConfigError.
    """
    alphas = {key: float((settings or {}).get(key) or 0) for key in ("mixup", "cutmix")}  # type: ignore[arg-type]
    if not any(alphas.values()):
        return None
    images = [name for name, column in columns.items() if isinstance(column, Image)]
    targets = {name: column for name, column in columns.items() if isinstance(column, Target)}
    wanted = next(key for key, alpha in alphas.items() if alpha)
    if not takes_mixed or not targets:
        raise ConfigError(
            f"data.augment.{wanted} mixes targets too, and this task does not learn from such\n"
            "  leave it out; a classifier, regression and multilabel do"
        )
    if len(images) != 1:
        raise ConfigError(f"data.augment.{wanted} mixes one image an example, not {len(images)}")
    return Mixing(images[0], targets, device=device, **alphas)
