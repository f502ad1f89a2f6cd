"""Make small runs of every kind, for later versions to read: `python make_runs.py FOLDER`.

0.1/ was made by trainwright 0.1.0. A later version makes its own, which takes two minutes:

    python tests/compatibility/make_runs.py /home/ada/project     # a folder that does not exist
    mv /home/ada/project tests/compatibility/<version>

Run folders name the path and the host that they were made on (in the parent of a fork, in logs, in
the jobs of a sweep), so both should say nothing of whose machine it was: as root,
`unshare --uts bash -c 'hostname laptop; ...'` gives a host another name for one command. MNIST is
looked for in $TRAINWRIGHT_DATA, as ever.

`expected.json` is what this version answers: predictions, generated pixels, and the metrics after
each run has gone on for some steps.
"""

import csv
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

OWN_CODE = Path(__file__).with_name("0.1")
COMMANDS = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}

# Steps are few. Where a run is saved twice, a checkpoint `previous` is left beside `last`.
SHORT = "trainer.plots=false trainer.steps=20 trainer.log_every=10 trainer.evaluate_every=10"
ONCE = f"{SHORT} trainer.save_every=100% trainer.sample_every=100%"
TWICE = f"{SHORT} trainer.save_every=50% trainer.sample_every=100%"
TINY = "'model.widths=[8]'"

RUNS = {  # name: what is typed after `train run.dir=outputs/<name>`
    "mlp": f"model=mlp data=digits {TINY} optimizer.lr=1e-2 {TWICE}",
    "muon": f"model=mlp data=digits 'model.widths=[8,8]' optimizer=muon schedule=constant {ONCE}",
    "cnn": "model=cnn data=digits 'model.channels=[4,4]' 'model.dense=[8]' model.norm=batch"
    " schedule=linear optimizer=adamw optimizer.lr=1e-2 trainer.ema=0.9 data.augment.shift=1"
    f" task.label_smoothing=0.1 {TWICE}",
    "resnet": "model=resnet data=digits model.blocks_per_stage=1 model.width=4 optimizer=sgd"
    f" schedule=one_cycle {ONCE}",
    "airbench": "model=airbench data=digits 'model.widths=[2,2,4]' optimizer=muon_sgd"
    f" schedule=exponential task.tta=mirror {ONCE}",
    "gan": "model=gan data=digits model.width=2 model.latent_dim=4 trainer.score_samples=200"
    f" {TWICE} trainer.sample_every=50%",
    "mlp_gan": "model=mlp_gan data=digits 'model.generator_widths=[8]' model.latent_dim=4"
    " 'model.discriminator_widths=[8]' task.loss=wasserstein_gp task.critic_steps=2"
    f" task.score=none optimizer.players.generator.lr=1e-3 {TWICE} trainer.sample_every=0",
    "mnist": "model=cnn data=mnist data.limit=500 data.validation=500 'model.channels=[2,2]'"
    f" 'model.dense=[]' optimizer=rmsprop {ONCE}",
    "photos": "model=cnn data=folder data.path=photos data.size=8 'model.channels=[4]'"
    f" 'model.dense=[]' trainer.batch_size=8 optimizer=adagrad optimizer.lr=1e-1 {ONCE}",
    "diabetes": f"model=mlp data=diabetes {TINY} schedule=step optimizer.lr=1e-1 {ONCE}"
    " trainer.plots=true",
    "breast_cancer": f"model=mlp data=tabular {TINY} schedule=plateau schedule.patience=1"
    " trainer.early_stopping.patience=2 optimizer.lr=1e-1 trainer.plots=false"
    " trainer.evaluate_every=10 trainer.save_every=100% trainer.log_every=10 trainer.steps=500",
    "tensorboard": f"model=mlp data=tabular data.name=iris {TINY} logger=tensorboard {ONCE}",
    "own_model": "model=patches model.width=4 model.heads=2 data=digits optimizer=lion"
    f" optimizer.lr=1e-3 {ONCE}",
    "own_data": f"model=mlp {TINY} data=spirals schedule=triangle optimizer.lr=1e-2 {ONCE}",
    "failed": f"model=mlp data=digits {TINY} optimizer=sgd optimizer.lr=1e30 {ONCE}",
}
UNFINISHED = {  # these are sent a signal when they have logged
    "stopped": signal.SIGTERM,
    "killed": signal.SIGKILL,
}
LONG = (
    f"model=mlp data=digits {TINY} optimizer=sgd optimizer.lr=1e-2 trainer.steps=200"
    " trainer.log_every=20 trainer.save_every=10 trainer.evaluate_every=20 trainer.plots=false"
)
FORK = "runs fork outputs/mlp freeze=layers.1 old_lr=0.1 run.dir=outputs/fork optimizer.lr=1e-3"
SWEPT = f"train -m model=mlp data=digits 'model.widths=[4]' sweep.jobs=1 {ONCE}"
SWEEPS = (
    f"{SWEPT} optimizer.lr=1e-3,1e-2,3e-2 sweep.dir=outputs/sweeps/grid",
    f"{SWEPT} optimizer.lr=2e-2 seed=0,1,2 sweep.stack=on sweep.dir=outputs/sweeps/stacked",
)

TRUST = {
    "own_model": "'trust=[mine.PatchAttention,mine.Lion]'",
    "own_data": "'trust=[mine.spirals,mine.Triangle]'",
}
LONGER = "trainer.steps=30 trainer.schedule_until=100%"
RESUMED = {  # what is typed after `train trainer.resume=outputs/<name>`
    **{name: LONGER for name in RUNS if name not in ("mnist", "breast_cancer", "failed")},
    "breast_cancer": "trainer.early_stopping.patience=9 trainer.steps=150",
    "fork": LONGER,
    "stopped": "",
    "killed": "",
}
DIGITS = "photos/one/0.png photos/four/1.png photos/seven/2.png"
ON_DIGITS = ("mlp", "muon", "cnn", "resnet", "airbench", "own_model", "fork", "stopped", "killed")
PREDICTED = {  # what is typed after `runs predict outputs/<name>`
    **dict.fromkeys((*ON_DIGITS, "mnist", "photos"), DIGITS),
    **{name: f"tables/{name}.csv" for name in ("diabetes", "breast_cancer", "own_data")},
}


def make(here: Path) -> None:
    """Make all of it in a folder that is new."""
    shutil.copytree(OWN_CODE / "configs", here / "configs")
    shutil.copy(OWN_CODE / "mine.py", here)
    write_photos(here / "photos")
    write_tables(here / "tables")
    for name, typed in RUNS.items():
        call(here, f"train run.dir=outputs/{name} {typed}", 5 if name == "failed" else 0)
    for name, number in UNFINISHED.items():
        interrupt(here, f"train run.dir=outputs/{name} {LONG}", number)
    call(here, f"{FORK} {ONCE}")
    for command in SWEEPS:
        call(here, command)
    for plots in (here / "outputs" / "sweeps").glob("*/plots"):
        shutil.rmtree(plots)  # 45 kB of pictures; `runs sweep` draws them again
    for plot in (here / "outputs").glob("*/plots/*.png"):
        Image.open(plot).quantize(16).save(plot, optimize=True)  # a quarter of the bytes
    write(here / "expected.json", answers(here))


def answers(here: Path) -> dict[str, dict]:
    """What this version says of the runs: by command and run, what was typed and what came."""
    predicted, sampled, resumed = {}, {}, {}
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder) / "copy"  # so that the runs stay as they are
        shutil.copytree(here, there)
        for name, files in PREDICTED.items():
            command = f"runs predict outputs/{name} {files} --csv {TRUST.get(name, '')}".strip()
            rows = list(csv.DictReader(io.StringIO(call(there, command))))
            predicted[name] = {"command": command, "rows": rows}
        for name in ("gan", "mlp_gan"):
            command = f"runs sample outputs/{name} n=1 format=npy out={name}.npy"
            call(there, command)
            pixels = np.load(there / f"{name}.npy", allow_pickle=False).flatten()
            sampled[name] = {"command": command, "pixels": [round(float(x), 6) for x in pixels]}
        for name, typed in RESUMED.items():
            words = (f"train trainer.resume=outputs/{name}", typed, TRUST.get(name, ""))
            command = " ".join(filter(None, words))
            call(there, command)
            summary = json.loads((there / "outputs" / name / "summary.json").read_text())
            resumed[name] = {"command": command, "last": summary["last"]}
    return {"trust": TRUST, "predict": predicted, "sample": sampled, "resume": resumed}


def write(path: Path, expected: dict[str, dict]) -> None:
    """As JSON, a line a run."""
    of_runs = (
        f"{json.dumps(command)}: {{\n"
        + ",\n".join(f" {json.dumps(run)}: {json.dumps(answer)}" for run, answer in runs.items())
        + "\n}"
        for command, runs in expected.items()
    )
    path.write_text("{\n" + ",\n".join(of_runs) + "\n}\n")


def call(here: Path, command: str, code: int = 0) -> str:
    """Run a command line in a folder, and return what it printed."""
    print(f"$ {command}", flush=True)
    program, *words = shlex.split(command)
    done = subprocess.run(
        [COMMANDS / program, *words], cwd=here, env=ENVIRONMENT, capture_output=True, text=True
    )
    if done.returncode != code:
        raise SystemExit(f"{command}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def interrupt(here: Path, command: str, number: int) -> None:
    """Start a run, and send it a signal once it has logged something."""
    print(f"$ {command} # and signal {number}", flush=True)
    program, *words = shlex.split(command)
    process = subprocess.Popen([COMMANDS / program, *words], cwd=here, env=ENVIRONMENT)
    metrics = here / words[0].removeprefix("run.dir=") / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size):
        if process.poll() is not None:
            raise SystemExit(f"{command}: it has ended by itself")
        time.sleep(0.001)
    process.send_signal(number)
    process.wait()


def write_photos(folder: Path) -> None:
    """Ten handwritten digits each of three classes, as grey PNGs of 8x8 pixels."""
    digits = load_digits()
    for name, digit in (("one", 1), ("four", 4), ("seven", 7)):
        (folder / name).mkdir(parents=True)
        for number, image in enumerate(digits.images[digits.target == digit][:10]):
            pixels = (image * 255 / 16).round().astype("uint8")
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def write_tables(folder: Path) -> None:
    """Three rows of each table, with names of columns."""
    folder.mkdir()
    tables = {"diabetes": load_diabetes(scaled=False), "breast_cancer": load_breast_cancer()}
    for name, table in tables.items():
        write_table(folder / f"{name}.csv", table.feature_names, table.data[:3])
    write_table(folder / "own_data.csv", None, [[0.5, 0.5], [-0.7, 0.1], [0.0, -0.3]])


def write_table(path: Path, names: list[str] | None, rows: list[list[float]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([names] if names is not None else [])
        writer.writerows([float(value) for value in row] for row in rows)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
