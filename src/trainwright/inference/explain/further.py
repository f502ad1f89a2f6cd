"""What captum explains images by, besides: the extra `explain`."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from trainwright.errors import ConfigError, require_extra
from trainwright.inference.explain.asked import Asked
from trainwright.inference.explain.subjects import Picture
from trainwright.seeds import derive_seed

SAMPLES = 50  # of gradient_shap
NOISE = 0.1  # of its images, as their pixels are normalised


def captums(name: str, *, seed: int) -> Callable[[Picture, Asked], Tensor]:
    """The method of that name of captum. Raises ConfigError where captum is not installed."""
    require_extra(f"captum={name}", "captum.attr", extra="explain")
    return partial(_of_captum, name, seed)


def _of_captum(name: str, seed: int, picture: Picture, asked: Asked) -> Tensor:
    """What each pixel adds by that method, all its channels together, (H * W,)."""
    import captum.attr

    x, base = picture.pixels, picture.base.expand_as(picture.pixels).contiguous()
    noisy = {"baselines": base, "n_samples": SAMPLES, "stdevs": NOISE}
    ways: dict[str, tuple[Any, dict[str, Any]]] = {
        "deep_lift": (captum.attr.DeepLift, {"baselines": base}),
        "gradient_shap": (captum.attr.GradientShap, noisy),
        "guided_backprop": (captum.attr.GuidedBackprop, {}),
    }
    kind, how = ways[name]
    method = kind(_Scored(asked, picture.name))
    with _drawing_as(derive_seed(seed, "captum")), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that slopes of the image are asked for, and hooks set
        try:
            found: Tensor = method.attribute(x.clone(), **how)
        except (RuntimeError, AssertionError) as error:
            first = str(error).splitlines()[0]
            raise ConfigError(f"captum={name} cannot explain this network\n  {first}") from None
    return found.detach()[0].sum(0).flatten().cpu()


@contextmanager
def _drawing_as(seed: int) -> Iterator[None]:
    """Torch and numpy draw by that seed, and afterwards as if nothing had been."""
    kept = np.random.get_state()  # captum's own generator
    try:
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)
            yield
    finally:
        np.random.set_state(kept)


class _Scored(nn.Module):
    """The network with its score at the end: captum looks for layers in a module."""

    def __init__(self, asked: Asked, name: str) -> None:
        super().__init__()
        self.task, self._asked, self._name = asked.task, asked, name

    def forward(self, x: Tensor) -> Tensor:
        """Scores (B,) of images (B, C, H, W)."""
        return self._asked.score({self._name: x})
