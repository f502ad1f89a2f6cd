"""A job's identity: the same wherever it is computed, and another for all that matters."""

import copy
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from trainwright.sweep import identity
from trainwright.sweep.identity import IRRELEVANT, job_id, without


@pytest.fixture
def config(composed):
    return OmegaConf.to_container(composed("trainer=smoke"), resolve=True)


def changed(config, path, value):
    config = copy.deepcopy(config)
    *parents, key = path
    node = config
    for parent in parents:
        node = node[parent]
    node[key] = value
    return config


def leaves(node, path=()):
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def test_it_is_a_sha256_over_sorted_json():
    config = {"seed": 1, "model": {"b": 1e-3, "a": [1, None, True, "é"]}, "run": {"root": "x"}}
    text = '{"model":{"a":[1,null,true,"\\u00e9"],"b":0.001},"seed":1}'
    assert job_id(config) == hashlib.sha256(text.encode()).hexdigest()[:12]


def test_every_process_finds_the_same(config):
    code = "import json, sys; from trainwright.sweep.identity import job_id; "
    code += "print(job_id(json.load(sys.stdin)))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(config),
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {job_id(config)}


@pytest.mark.parametrize("version", ["3.10", "3.12", "3.13", "3.14"])
def test_other_versions_of_python_find_the_same(version, config):
    """Where one is installed: the module needs nothing but the standard library."""
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "-c", ""], capture_output=True).returncode:
        pytest.skip(f"there is no Python {version} here")
    code = "import json, runpy, sys; module = runpy.run_path(sys.argv[1]); "
    code += "print(module['job_id'](json.load(sys.stdin)))"
    odd = {**config, "odd": [1e-7, 0.1 + 0.2, 1e22, -0.0, 2**70, "ü€", None, True]}
    done = subprocess.run(
        [python, "-c", code, identity.__file__],
        input=json.dumps(odd),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == job_id(odd)


def test_every_key_counts_but_those_that_cannot_change_results(config):
    before = job_id(config)
    for path in leaves(config):
        name = ".".join(path)
        ignored = any(name == key or name.startswith(f"{key}.") for key in IRRELEVANT)
        assert (job_id(changed(config, path, "another")) == before) == ignored, name


def test_what_a_trainer_and_a_task_were_not_asked_in_0_1_makes_no_other_job(composed):
    stored = Path(__file__).parents[1] / "compatibility/0.1/outputs/cnn/config.yaml"
    before = OmegaConf.to_container(OmegaConf.load(stored))
    config = OmegaConf.to_container(composed("data=digits", "model=cnn"))
    sections = ("trainer", "task", "model")
    new = [
        f"{name}.{key}" for name in sections for key in config[name].keys() - before[name].keys()
    ]
    assert "trainer.devices" in new
    assert job_id(without(config, new)) == job_id(config)


def test_one_gpu_is_as_good_as_the_other_but_no_cpu(config):
    on = {name: job_id(changed(config, ("trainer", "device"), name)) for name in
          ("cuda:0", "cuda:1", "cpu")}  # fmt: skip
    assert on["cuda:0"] == on["cuda:1"] != on["cpu"]


def test_another_way_to_write_a_number_is_the_same_job_and_another_type_is_not(composed):
    ids = [
        job_id(OmegaConf.to_container(composed(typed), resolve=True))
        for typed in ("optimizer.lr=1e-3", "optimizer.lr=0.001", "optimizer.lr=1e-4")
    ]
    assert ids[0] == ids[1] != ids[2]
    # A share of the data is not a number of examples.
    assert job_id({"data": {"validation": 1}}) != job_id({"data": {"validation": 1.0}})
