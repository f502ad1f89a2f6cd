"""The feature network: a small CNN that learns the classes, or which way up an image is.

The classes are those of the data. Where there are none, or one of which nothing can be learned, the
network learns by which quarter turn an image was rotated (Gidaris et al. 2018, arXiv:1803.07728),
and then knows no classes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from trainwright.data.batches import Batches
from trainwright.data.columns import Classes, Image, Scaling
from trainwright.data.dataset import TARGETS, DataInfo
from trainwright.data.examples import Arrays
from trainwright.data.images.augment import augment_for
from trainwright.engine.clock import Clock
from trainwright.engine.device.device import Placement
from trainwright.engine.hook import Hook
from trainwright.engine.optim.player_optimizer import PlayerOptimizer, decay_groups
from trainwright.engine.schedule import OneCycle
from trainwright.engine.settings import TrainerSettings
from trainwright.engine.state import TrainState
from trainwright.engine.trainer import fit
from trainwright.nn.cnn import CNN
from trainwright.progress import counted
from trainwright.score.judge import Seen
from trainwright.seeds import derive_seed
from trainwright.tasks.classifier import Classifier

LOOK_BATCH = 500


@dataclass(frozen=True)
class Recipe:
    """How the network is made. It belongs to the name of what it makes: no run changes it."""

    channels: tuple[int, ...] = (16, 32, 64)
    num_features: int = 64
    steps: int = 500
    batch_size: int = 128
    lr: float = 4e-3
    weight_decay: float = 0.02
    shift: int = 1  # pixels, of its training images
    seed: int = 0
    version: int = 1  # to be raised when the code changes what a recipe makes


class Eye:
    """A network that sees features, and class probabilities where it has learned classes."""

    def __init__(self, features: nn.Module, classes: nn.Module | None, scaling: Scaling) -> None:
        self.features = features.eval()
        self.classes = None if classes is None else classes.eval()
        self._scaling = scaling

    @torch.no_grad()
    def look(self, images: Tensor) -> Seen:
        """Map images (N, C, H, W) uint8 to float32 features (N, F), probabilities (N, classes).

        In float32 whatever the run computes in. Raises ValueError for features of another shape.
        """
        device = next((p.device for p in self.features.parameters()), images.device)
        with torch.autocast(device.type, enabled=False):
            return self._look(images, device)

    def _look(self, images: Tensor, device: torch.device) -> Seen:
        scale, shift = self._scaling.tensors(4, device)
        features, probabilities = [], []
        for start in counted(range(0, len(images), LOOK_BATCH), "looking at images, for the score"):
            batch = images[start : start + LOOK_BATCH]
            seen = self.features(torch.addcmul(shift, batch.to(device).float(), scale)).float()
            if seen.shape[:1] != batch.shape[:1] or seen.ndim != 2:
                raise ValueError(
                    f"a feature network maps images (B, C, H, W) to features (B, F); for "
                    f"{tuple(batch.shape)} this one gave {tuple(seen.shape)}"
                )
            features.append(seen)
            if self.classes is not None:
                probabilities.append(self.classes(seen).softmax(dim=1))
        return Seen(torch.cat(features), torch.cat(probabilities) if probabilities else None)


def train_network(
    task: Classifier,
    train: Arrays,
    info: DataInfo,
    recipe: Recipe,
    device: torch.device,
    advance: Callable[[int], object],
) -> None:
    """Train `make_task(info, recipe)` on images (N, C, H, W) uint8; `advance` counts the steps.

    With one CPU thread in float32, so that the result depends on the data and the recipe, and
    not on the run that happens to need it first.
    """
    if not learns_classes(info):
        train = turned(train, info)
    with _one_thread(device):
        placement = Placement(device, "fp32", torch.channels_last, 1)
        task.to(device, memory_format=placement.memory_format)  # type: ignore[call-overload]
        clock = Clock(len(train), recipe.batch_size, recipe.steps)
        groups = decay_groups(list(task.model.parameters()), recipe.weight_decay)
        optimizer = torch.optim.AdamW(groups, lr=recipe.lr)
        schedule = OneCycle(clock=clock)
        schedule.load_state_dict({})  # the course of 0.1, with which this recipe was made
        state = TrainState(
            task=task,
            optimizers={"model": PlayerOptimizer(task.model, [optimizer], l1=0.0)},
            schedule=schedule,
            clock=clock,
            placement=placement,
            seed=recipe.seed,
        )
        batches = Batches(
            train,
            task.columns,
            batch_size=recipe.batch_size,
            seed=recipe.seed,
            device=device,
            memory_format=placement.memory_format,
            augment=augment_for({"shift": recipe.shift}, task.columns, torch.device("cpu")),
        )
        settings = TrainerSettings(epochs=None, steps=recipe.steps, batch_size=recipe.batch_size)
        fit(state, batches, [_Advance(advance)], settings)


def learns_classes(info: DataInfo) -> bool:
    """Whether a network for these data learns their classes, and else the turns of images."""
    return info.num_classes > 1


def make_task(info: DataInfo, recipe: Recipe) -> Classifier:
    """The network before training, drawn by the recipe's seed, and what it has to learn."""
    if not learns_classes(info):
        turns = tuple(str(90 * quarter) for quarter in quarters(info.input_shape))
        info = replace(info.with_column(TARGETS, Classes(turns)), targets=(TARGETS,))
    torch.manual_seed(derive_seed(recipe.seed, "initialisation"))
    network = CNN(
        input_shape=info.input_shape,
        num_outputs=info.num_classes,
        channels=recipe.channels,
        dense=(recipe.num_features,),
        norm="batch",
    )
    return Classifier(model=network, info=info)


def eye_of(task: Classifier, *, knows_classes: bool) -> Eye:
    """The trained network, cut before its last layer."""
    network = task.model
    assert isinstance(network, CNN)
    features = nn.Sequential(network.features, network.head[:-1])
    image = task.columns[task.inputs[0]]
    assert isinstance(image, Image)
    return Eye(features, network.head[-1] if knows_classes else None, image.numbers)


def quarters(input_shape: tuple[int, ...]) -> tuple[int, ...]:
    """The quarter turns that leave an image's shape (C, H, W) as it is."""
    return (0, 1, 2, 3) if input_shape[1] == input_shape[2] else (0, 2)


def turned(split: Arrays, info: DataInfo) -> Arrays:
    """Every image in each of its turns, with the turn for a class, as many images as before."""
    images = split.columns[info.inputs[0]]
    turns = quarters(tuple(images.shape[1:]))
    each = images[: max(1, len(images) // len(turns))]
    inputs = torch.cat([torch.rot90(each, quarter, (2, 3)) for quarter in turns])
    classes = torch.arange(len(turns)).repeat_interleave(len(each))
    return Arrays({info.inputs[0]: inputs.contiguous(), TARGETS: classes})


class _Advance(Hook):
    """Tells a progress bar of every tenth step."""

    STRIDE = 10

    def __init__(self, advance: Callable[[int], object]) -> None:
        self._advance = advance

    def due(self, step: int, total: int) -> bool:
        return step % self.STRIDE == 0

    def __call__(self, state: TrainState, metrics: dict[str, Tensor]) -> None:
        self._advance(self.STRIDE)


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    num_threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)
