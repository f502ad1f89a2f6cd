"""`train init`: a starting folder with a network of one's own, and what to type with it."""

from collections.abc import Sequence
from pathlib import Path

from trainwright.command_line import command
from trainwright.errors import ConfigError, DiskError
from trainwright.files import typed_path, write_text
from trainwright.wording import printable

MODEL = '''"""A network of your own: `train model=mine`."""

import math

from torch import Tensor, nn


class Net(nn.Module):
    """Flattens an example and classifies it by one hidden layer.

    `input_shape` and `num_outputs` are given by what the data are; `width` stands in
    configs/model/mine.yaml.
    """

    def __init__(
        self, *, input_shape: tuple[int, ...], num_outputs: int, width: int = 64
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(math.prod(input_shape), width),
            nn.ReLU(),
            nn.Linear(width, num_outputs),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (B, *input_shape) to (B, num_outputs)."""
        return self.layers(inputs)
'''

CONFIG = """\
# A network of your own: mine.py.
_target_: mine.Net
width: 64 # units of the hidden layer
"""

TEST = '''"""python -m pytest"""

import torch

from mine import Net


def test_it_answers_an_example_with_a_number_a_class():
    net = Net(input_shape=(1, 8, 8), num_outputs=10, width=4)
    assert net(torch.zeros(2, 1, 8, 8)).shape == (2, 10)
'''

README = """\
# A network of your own

    train model=mine                          on handwritten digits, in seconds
    train model=mine data=mnist               other data
    train model=mine model.width=128          any key of configs/model/mine.yaml
    train -m model=mine seed=0,1,2            and is that more than luck?
    runs list                                 what there is; runs show last
    python -m pytest                          what is tested

The network is in mine.py. Data, tasks and optimizers of your own come in the same way.
"""

FILES = {
    "mine.py": MODEL,
    "configs/model/mine.yaml": CONFIG,
    "test_mine.py": TEST,
    "README.md": README,
}


def init(words: Sequence[str]) -> str:
    """Write the files into the folder that is named, or here; returns what to say.

    Raises ConfigError where one is there already: then none is written. DiskError.
    """
    if len(words) > 1 or any(word.startswith("-") or "=" in word for word in words):
        raise ConfigError(
            f"train init {printable(' '.join(words))}: it takes one folder, or none: that is here"
        )
    folder = typed_path(words[0]) if words else Path()
    there = [name for name in FILES if (folder / name).exists()]
    if there:
        raise ConfigError(
            f"{printable(str(folder / there[0]))} is there already, and nothing was written\n"
            "  name a new folder: train init my-project"
        )
    try:
        for name, text in FILES.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_text(folder / name, text)
    except OSError as error:
        raise DiskError(f"could not make {error.filename}\n  {error.strerror}") from error
    enter = f"{command('cd', str(folder))} && " if words else ""
    written = "".join(f"  {folder / name}\n" for name in FILES)
    return f"written:\n{written}next: {enter}train model=mine"
