"""This process's place among those that torchrun, srun or submitit has started together."""

import os
from pathlib import Path

from trainwright.files import remember, remembered

# What torchrun tells its processes, Slurm those of one `srun`, and submitit its own on one machine.
_TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_SRUN = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", "SLURM_STEP_NODELIST")
_SUBMITIT = tuple(f"SUBMITIT_LOCAL_{name}" for name in ("GLOBALID", "NTASKS", "LOCALID", "JOB_ID"))
_RESTARTS = "TORCHELASTIC_RESTART_COUNT"
_NOTES = "torchrun"  # a file of the user's state folder: whose processes had begun which run
_PORT_OF_SLURM = 20_000  # and the number of the job and step, so that two on a machine differ

Place = tuple[int, int, int, str, int, None]  # as `Meeting` has it


def place_among_others() -> Place | None:
    """This process's place in the world that was started with it; None: it is alone."""
    there = [os.environ.get(name, "") for name in _TORCHRUN]
    if all(there) and int(there[1]) > 1:
        rank, size, local, address, port = there
        return int(rank), int(size), int(local), address, int(port), None
    there = [os.environ.get(name, "") for name in _SRUN]
    if all(there) and int(there[1]) > 1:
        rank, size, local, nodes = there
        job = int(os.environ.get("SLURM_JOB_ID", "0")) + int(os.environ.get("SLURM_STEP_ID", "0"))
        port = os.environ.get("MASTER_PORT", str(_PORT_OF_SLURM + job % 10_000))
        address = os.environ.get("MASTER_ADDR", first_node(nodes))
        return int(rank), int(size), int(local), address, int(port), None
    there = [os.environ.get(name, "") for name in _SUBMITIT]
    if all(there) and int(there[1]) > 1:
        rank, size, local, identity = there
        port = str(_PORT_OF_SLURM + int(identity) % 10_000)
        return int(rank), int(size), int(local), "127.0.0.1", int(port), None
    return None


def first_node(nodes: str) -> str:
    """The first of Slurm's list of nodes: `a1` of `a1`, `a1,a2`, `a[1-3,7]` or `a[01-03],b4`."""
    name, bracket, rest = nodes.partition("[")
    if not bracket or "," in name:
        return nodes.partition(",")[0]
    inner, _, after = rest.partition("]")
    return name + inner.partition(",")[0].partition("-")[0] + after.partition(",")[0]


def note_folder(folder: Path) -> None:
    """Remember where the run of these processes is, for when torchrun starts them again."""
    if os.environ.get(_RESTARTS) is not None:
        remember(_NOTES, f"{_agent()} {folder}")


def begun_before() -> str | None:
    """The folder of the run that had begun before torchrun started its processes again."""
    if int(os.environ.get(_RESTARTS, "0")) == 0:
        return None
    known = [line.partition(" ") for line in remembered(_NOTES)]
    of_agent = [Path(folder) for agent, _, folder in known if agent == _agent()]
    if not of_agent or not any((of_agent[-1] / "checkpoints").glob("*.safetensors")):
        return None
    return str(of_agent[-1])


def _agent() -> str:
    return f"{os.getppid()}-{os.environ.get('TORCHELASTIC_RUN_ID', '')}"
