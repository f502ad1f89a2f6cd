"""Real runs, made once; folders of runs that never were, written by hand; and the command."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from trainwright.cli.runs import main

RUNS = Path(sys.executable).with_name("runs")


@pytest.fixture(scope="session")
def real_root(train, tmp_path_factory) -> Path:
    """An outputs folder with a classifier and a GAN of a few steps."""
    root = tmp_path_factory.mktemp("real") / "outputs"
    day = root / "2026-11-22"
    smoke = ("data=digits", "trainer=smoke")
    train(day / "100000-mlp-digits", "model=mlp", *smoke, "model.widths=[16]", "optimizer.lr=1e-2")
    gan = ("model=gan", *smoke, "model.width=4", "schedule=constant", "seed=3")
    train(day / "110000-gan-digits", *gan)
    return root


@pytest.fixture
def call(capfd) -> Callable[..., tuple[int, str, str]]:
    """Call the command's entry point in this process: exit code, output, errors."""

    def start(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            main(list(map(str, arguments)))
            code = 0
        except SystemExit as stop:
            code = stop.code or 0
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        assert len(err.splitlines()) <= 5, err
        return code, out, err

    return start


HEAVY = {"torch", "numpy", "hydra", "pydantic", "PIL"}  # 2 s to import, for what needs none


@pytest.fixture(scope="session")
def imported_by(environment) -> Callable[..., list[tuple[list[str], list[str]]]]:
    """Give command lines to `runs` in one new process.

    For each the lines that it prints, and which of the modules `among` those have been imported.
    """

    def call(
        *commands: Sequence[str], among: set[str] = HEAVY, cwd: Path | None = None
    ) -> list[tuple[list[str], list[str]]]:
        code = (
            "import json, sys; from trainwright.cli.runs import main\n"
            f"for command in {[list(map(str, words)) for words in commands]!r}:\n"
            "    try: main(command)\n"
            "    except SystemExit as stop: assert not stop.code, stop.code\n"
            f"    print(chr(0) + json.dumps(sorted({among!r} & set(sys.modules))))\n"
        )
        process = [sys.executable, "-c", code]
        done = subprocess.run(
            process, cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )
        assert done.stderr == ""
        told: list[tuple[list[str], list[str]]] = []
        lines: list[str] = []
        for line in done.stdout.splitlines():
            if line.startswith("\0"):
                told.append((lines, json.loads(line[1:])))
                lines = []
            else:
                lines.append(line)
        return told

    return call


CONFIG = """\
seed: {seed}
model:
  _target_: trainwright.nn.mlp.MLP
  widths:
  - 512
  - 256
  dropout: 0.0
  residual: false
data:
  _target_: trainwright.data.sources.idx.load_idx
  name: {data}
optimizer:
  _target_: torch.optim.Adam
  lr: {lr}
  fused: null
trainer:
  epochs: 10
"""


@pytest.fixture(scope="session")
def write_run() -> Callable[..., None]:
    """Write the small files of a run by hand, with numbers that a test knows."""

    def write(
        folder: Path,
        *,
        model: str = "mlp",
        data: str = "mnist",
        lr: float = 1e-3,
        seed: int = 0,
        accuracy: float | None = None,
        status: str = "finished",
        **more: object,
    ) -> None:
        folder.mkdir(parents=True)
        metrics = {"accuracy": accuracy, "loss": None if accuracy is None else 1 - accuracy}
        evaluation = None if accuracy is None else {"step": 900, "metrics": metrics}
        summary = {
            "status": status,
            "objective": "accuracy",
            "steps": 1000,
            "step": 1000,
            "seconds": 12.5,
            "best": evaluation,
            "last": evaluation,
            **more,
        }
        (folder / "summary.json").write_text(json.dumps(summary))
        (folder / "config.yaml").write_text(CONFIG.format(seed=seed, data=data, lr=lr))
        (folder / "overrides.txt").write_text(f"model={model}\ndata={data}\n")

    return write
