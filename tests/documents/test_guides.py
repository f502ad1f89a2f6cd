"""The guides' commands that do not stand in a terminal are run as well, on small stand-ins.

Digits stand for larger images, a run on them for the one that is named, and a file made here for
the reader's. A training ends after a few steps. What needs more than that is planned only
(test_commands.py).
"""

import csv
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_digits

from .page import pages
from .test_commands import COMMANDS
from .test_pages import ENVIRONMENT

FEW = "trainer.steps=12"
IMAGES = "model=gan data=digits task.score=none run.dir=outputs/2026-11-22/103005-gan-mnist"
BEFORE = {  # what has been trained, the newest at the end
    "nothing": [],
    "classifier": [
        f"model=mlp {FEW} run.dir=outputs/2026-11-22/102000-sweep/mlp-mnist",
        f"model=mlp {FEW} run.dir=outputs/2026-11-22/102500-gan-mnist",
        f"model=cnn {FEW} trainer.save_every=6 run.dir=outputs/2026-11-22/103005-cnn-mnist",
    ],
    "images": [f"{IMAGES} {FEW}"],
    "vae": [f"model=vae data=digits {FEW}"],
    "flow": [f"model=flow data=digits task.score=none {FEW}"],
    "rows": [f"model=mlp_flow data=tabular data.name=iris {FEW}"],
    "cells": [
        f"data=tabular data.name=breast_cancer {FEW} run.dir=outputs/mlp-breast_cancer",
        f"data=tabular data.name=breast_cancer {FEW} run.dir=outputs/mlp-tabular",
    ],
    "table": [f"data=table data.path=customers.csv data.target=churned {FEW}"],
    "text": [f"model=gpt data=text data.path=notes/ data.context=16 model.depth=1 {FEW}"],
    "hidden tokens": [
        f"task=masked_language model=text_encoder data=text data.path=notes/ data.context=16 {FEW}"
    ],
}
TABLES = {
    "customers": "churned",
    "new_customers": "unknown",
    "next_month": "churned",
    "wine": "y",
    "claims": "fraud",
    "reviews": "stars",
}
# The first that a line of `runs` is like, the kind of run that it is for.
KINDS = {
    r"^sample .*rows.csv": "rows",
    r"^sample .*(prompt=|n=5$)": "text",
    r"^evaluate .*other.txt": "text",
    r"^sample .*between=": "vae",
    r"likelihood=": "flow",
    r"^sample .*(sampler=|edit=|steps=)|^fork .*shortcut": "flow",
    r"^(sample|fork gan)": "images",
    r"mlp-(tabular|breast_cancer)": "cells",
    r"customers.csv|next_month.csv|group=": "table",
    r"^fork .*reviews.csv": "hidden tokens",
    r"": "classifier",
}
OUT_OF_REACH = (
    r"cifar10|experiment=|model=(hf|timm)|logger=|data=hf|slurm|RUN|sweeps/\.\.\.|format=hf|compile"
    r"|^serve|^sweep last|^report lr$|data=kmnist|epsilon|devices=|range\(8\)|optuna|parquet"
    r"|=flow data|gan,flow|rollback|dinov2"  # minutes
)


def guides():
    """Each command that can be run here, once, and what has to be there before."""
    found = {}
    for page, command, line in COMMANDS:
        line = re.split(r" {2,}| #", line)[0]
        line = re.sub(r"data=(fashion_)?mnist", "data=digits", line)
        if re.search(OUT_OF_REACH, line) or (command, line) in found:
            continue
        kind = next(kind for like, kind in KINDS.items() if re.search(like, line))
        if command == "train":
            kind = "images" if "resume=" in line else "nothing"
        found[command, line] = pytest.param(command, line, kind, id=f"{page}: {command} {line}")
    return found.values()


def typed(folder, line):
    """The exit code of a line in a shell, and what it prints."""
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """What a reader has: photographs, tables, series and notes."""
    folder = tmp_path_factory.mktemp("files")
    digits, cells = load_digits(), load_breast_cancer()
    images = (digits.images[:120] * 15.9).astype("u1")
    for number, image in enumerate(images):
        kind = folder / "photos" / str(digits.target[number])
        kind.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).resize((28, 28)).save(kind / f"{number}.png")
    for number, name in enumerate(("photo", "seven", "a", "b")):
        Image.fromarray(images[number]).save(folder / f"{name}.png")
    Image.new("L", (8, 8), 255).save(folder / "hole.png")
    x, y = digits.images.astype("f4"), digits.target
    np.savez(folder / "signals.npz", x=x, y=y, left=x, kind=y)
    rows = [
        (20 + i % 50, "fm"[i % 2], f"{'bad' if i % 3 else 'good'} food", "no" if i % 3 else "yes")
        for i in range(200)
    ]
    for name, target in TABLES.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["age", "sex", "review", target], *rows])
    with (folder / "patients.csv").open("w", newline="") as file:
        csv.writer(file).writerows([cells.feature_names, *cells.data[:9]])
    (folder / "notes").mkdir()
    for page, place in zip(pages(), ("other", *(f"notes/{n}" for n in range(5))), strict=False):
        shutil.copy(page, folder / f"{place}.txt")
    return folder


@pytest.fixture(scope="module")
def prepared(files, tmp_path_factory):
    """A folder with the files and the runs that a command of a kind finds."""
    made = {}

    def folder_for(kind):
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp("prepared") / "here"
            shutil.copytree(files, made[kind])
            for words in BEFORE[kind]:
                code, printed = typed(made[kind], f"train {words}")
                assert code == 0, printed
        return made[kind]

    return folder_for


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("command", "line", "kind"), guides())
def test_a_command_of_a_guide_does_what_it_says(command, line, kind, prepared, tmp_path):
    shutil.copytree(prepared(kind), folder := tmp_path / "here")
    trains = command == "train" and not re.match("tune|trainer.resume", line)
    if (trains or line.startswith("fork")) and not re.search(r"trainer\.(epochs|steps)=", line):
        line = f"{line} {FEW}"
    code, printed = typed(folder, f"{command} {line}")
    assert code == 0, printed
    assert "Traceback" not in printed
