"""`python -m trainwright`: the command `train`, as torchrun and srun start it."""

from trainwright.cli.process import train

if __name__ == "__main__":
    train()
