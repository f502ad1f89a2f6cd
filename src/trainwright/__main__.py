"""`python -m trainwright`: the command `train`, as torchrun and srun start it; or `runs`."""

import sys

from trainwright.cli.process import runs, train

if __name__ == "__main__":
    command = train
    if sys.argv[1:2] in (["train"], ["runs"]):
        command = {"train": train, "runs": runs}[sys.argv.pop(1)]
    command()
