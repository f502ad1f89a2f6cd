"""A checkpoint from elsewhere is opened within bounds, whatever is written in its metadata."""

import contextlib
import json
import random
import resource
import signal
from functools import partial

import pytest
import torch
from omegaconf import OmegaConf

from trainwright.config.plan import Plan
from trainwright.data.columns import Numbers, Series, Tokens
from trainwright.engine.checkpoint import checkpoint
from trainwright.engine.checkpoint.fitting import Room
from trainwright.engine.checkpoint.metadata import data_info
from trainwright.errors import CheckpointError, TrainwrightError
from trainwright.inference.trained import load_trained
from trainwright.run.assemble.assemble import build_task
from trainwright.run.assemble.rehearsal import check_parent

SMALL = {
    "mlp": ("model.widths=[8]",),
    "cnn": ("model.channels=[4]", "model.dense=[4]"),
    "resnet": ("model.blocks_per_stage=1", "model.width=2"),
    "airbench": ("model.widths=[4]",),
    "gan": ("model.width=2", "model.spectral_norm=true"),
    "mlp_gan": ("model.generator_widths=[4]", "model.discriminator_widths=[4]"),
    "resnet_mlp": ("model.width=8", "model.blocks=1", "model.numbers=periodic"),
    "ft_transformer": ("model.width=8", "model.heads=2", "model.numbers=piecewise"),
    "cnn1d": ("model.channels=[4]",),
    "gpt": ("model.depth=1", "model.width=8", "model.heads=2"),
    "text_encoder": ("model.depth=1", "model.width=8", "model.heads=2"),
}
# Keys that these make nothing of.
WITHOUT_EFFECT = {"mlp": {"embedding", "resolution"}}
SECONDS, MEGABYTES = 20, 500  # of processor time and memory: what SECURITY.md promises
FACTS = {
    "name": "digits", "inputs": ["inputs"], "targets": ["targets"],
    "columns": {
        "inputs": {
            "kind": "image", "size": [1, 8, 8], "mean": [0.5], "std": [0.25],
            "scaling": "standard", "fit": "crop",
        },
        "targets": {"kind": "classes", "names": ["0", "1"]},
    },
}  # fmt: skip
OTHER_INPUTS = {
    "resnet_mlp": Numbers(mean=(0.5,) * 3, std=(1.0,) * 3),
    "ft_transformer": Numbers(mean=(0.5,) * 3, std=(1.0,) * 3),
    "cnn1d": Series(length=16, mean=(0.5,) * 2, std=(1.0,) * 2),
    "gpt": Tokens(length=16, tokenizer="bytes"),
    "text_encoder": Tokens(length=16, tokenizer="bytes"),
}
PROGRESS = {
    "step": 2, "to_be_done": None, "learning_rates": {"model": 0.1}, "schedule": {},
    "scale": {"value": 1.0, "num_good": 0}, "last": {"step": 2, "metrics": {"loss": 1.0}},
    "recovery": {"num_skipped": 0, "skipped_in_a_row": 0, "num_rollbacks": 0, "lr_scale": 1.0},
    "best": {"step": 1, "metrics": {"loss": 1.0}},
}  # fmt: skip


def facts_for(model):
    facts = json.loads(json.dumps(FACTS))
    if model in OTHER_INPUTS:
        facts["columns"]["inputs"] = json.loads(json.dumps(OTHER_INPUTS[model].plain()))
    if model == "gpt":  # it writes on, and there is no target
        facts["targets"] = []
    return facts


@pytest.fixture(scope="module")
def untouched(composed):
    """Tensors and metadata of a checkpoint of a model, as a run writes them."""

    def make(model, *overrides):
        config = composed(f"model={model}", "data=digits", *(overrides or SMALL[model]))
        metadata = {
            "name": "run", "config": OmegaConf.to_container(config, resolve=True),
            "data": facts_for(model),
            "progress": PROGRESS, "hooks": {}, "total_steps": 2, "versions": {"torch": "2"},
            "environment": {"device": "cpu"}, "placement": "cpu", "resumed": None,
        }  # fmt: skip
        task = build_task(Plan.of(config), data_info(metadata))
        return {f"task.{k}": v for k, v in task.state_dict().items()}, metadata

    return make


def changed(metadata, place, value):
    metadata = json.loads(json.dumps(metadata))
    *path, last = place
    node = metadata
    for key in path:
        node = node[key]
    node[last] = value
    return metadata


def places(node, place=()):
    """Every key of nested objects and lists, as a path to it."""
    inner = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in inner:
        yield (*place, key)
        if isinstance(value, dict | list):
            yield from places(value, (*place, key))


@contextlib.contextmanager
def counted():
    """How many parameters are made while it is open; only so many can be."""
    made = []

    def note(module, name, parameter):
        made.append(name)
        assert len(made) < 100_000, "there is no end to what is built"

    handle = torch.nn.modules.module.register_module_parameter_registration_hook(note)
    try:
        yield made
    finally:
        handle.remove()


def numbers_of(section):
    for key, value in section.items():
        if isinstance(value, list):
            yield key, [1] * 1500
            yield key, [2**40]
        elif isinstance(value, int) and not isinstance(value, bool):
            yield key, 10**9


@pytest.mark.parametrize(
    "model", [pytest.param(m, marks=() if m in ("mlp", "cnn") else pytest.mark.slow) for m in SMALL]
)
@pytest.mark.timeout(120)
def test_no_number_of_a_config_builds_more_than_the_file_has_tensors_for(
    model, untouched, tmp_path
):
    tensors, metadata = untouched(model)
    path, tried = tmp_path / "last.safetensors", 0
    for key, number in numbers_of(metadata["config"]["model"]):
        checkpoint.save([path], tensors, changed(metadata, ("config", "model", key), number))
        unused = key in WITHOUT_EFFECT.get(model, ())
        with (
            counted() as made,
            contextlib.nullcontext() if unused else pytest.raises(TrainwrightError),
        ):
            load_trained(path)
        assert len(made) <= 1000 + 64 * len(tensors)
        tried += 1
    assert tried
    checkpoint.save([path], tensors, metadata)  # the control: as it was, it is opened
    assert load_trained(path).step == 2


@pytest.mark.timeout(60)
def test_nor_does_one_in_the_config_of_a_run_that_is_forked(untouched, composed, tmp_path):
    tensors, metadata = untouched("cnn")
    path = tmp_path / "last.safetensors"
    endless = changed(metadata, ("config", "model", "convs_per_stage"), 10**9)
    for stored in (endless, metadata):
        checkpoint.save([path], tensors, stored)
        config = composed("model=cnn", "data=digits", *SMALL["cnn"])
        config.model = stored["config"]["model"]
        sha256 = checkpoint.check_header(path).labels["sha256"]
        config["fork"] = {"checkpoint": str(path), "sha256": sha256, "freeze": [], "old_lr": 1.0}
        if stored is metadata:
            check_parent(Plan.of(config))
        else:
            with counted(), pytest.raises(CheckpointError, match="more than its tensors could"):
                check_parent(Plan.of(config))


@pytest.mark.parametrize(
    "made", [torch.arange, partial(torch.arange, 0), partial(torch.linspace, 0, 1)]
)
def test_nor_does_what_a_network_makes_on_the_cpu_wherever_it_is_built(made):
    with torch.device("meta"), Room({}):
        assert len(made(9, device="cpu")) == 9
        with pytest.raises(CheckpointError, match="more than its tensors could fill"):
            made(10**12, device="cpu")


JUNK = (
    None, True, -1, 0, 1, 10**5, 10**9, 2**40, 2**62, 10**30, 10**400, -(10**400), 1e-300, 1e300,
    -0.5, "", "auto", "10**9 epochs", "9" * 99 + " epochs", "\x1b[2J", [], [1] * 3000, [10**9] * 50,
    ["x"], [[[]]], {}, {"a": 1}, {"_target_": "os.system"}, "a" * 100_000, ["a"] * 20_000,
    {"_target_": "trainwright.nn.cnn.CNN", "convs_per_stage": 10**9},
)  # fmt: skip
INPUTS, TARGETS = (("data", "columns", name) for name in ("inputs", "targets"))
FACT_JUNK = {
    (*INPUTS, "std"): ([0.0], [-1.0], [1e-300], [True], ["1"], [], [1.0, 1.0]),
    (*INPUTS, "mean"): ([10**400], [1e301], [None], [[0.5]], 0.5),
    (*INPUTS, "size"): ([], [0, 8, 8], [1, 2**26, 2], [1.0, 8, 8], [1] * 9, [-1, 8, 8]),
    (*INPUTS, "fit"): ("standard", None, [], ["crop"]),
    (*INPUTS, "scaling"): ("crop", None, {}),
    (*TARGETS, "kind"): ("labels of mine", None, "os.system", ["classes"]),
    (*TARGETS, "names"): ([], [1, 2], "01", None),
    ("data", "columns"): ([], {}, {"inputs": FACTS["columns"]["inputs"]}),
    ("data", "inputs"): ([], ["x"], "inputs", [["inputs"]]),
    ("data", "targets"): (["x"], None, [3]),
    ("progress", "step"): (-1, 2**60, True, 2.0),
    ("progress", "scale", "value"): (0.0, -1.0, 10**400),
    ("progress", "recovery", "lr_scale"): (2.0, -1, None),
    ("progress", "learning_rates", "model"): (-0.1, 1e301, None),
    ("progress", "best"): ({}, {"step": -1, "metrics": {}}, {"step": 1, "metrics": {"a": "b"}}),
    ("hooks",): ({"EarlyStop": {"best": "x", "num_bad": 1}}, {"HealthCheck": {"history": [[]]}}),
    ("resumed",): ({"step": -1, "anew": []}, {"step": 1, "anew": "all"}, 3),
    ("total_steps",): (0, 2**60, "2"),
    ("environment",): ({"threads": 1}, []),
}


@pytest.mark.parametrize("place", FACT_JUNK, ids=".".join)
def test_every_field_of_the_metadata_has_a_kind_and_a_range(place, untouched, tmp_path):
    tensors, metadata = untouched("mlp")
    path = tmp_path / "last.safetensors"
    for junk in FACT_JUNK[place]:
        checkpoint.save([path], tensors, changed(metadata, place, junk))
        with pytest.raises(CheckpointError, match=r"not what a run writes|not JSON"):
            checkpoint.load(path)


def test_a_value_that_only_a_network_refuses_is_the_checkpoints_mistake(untouched, tmp_path):
    """Its exit code was that of what is typed wrongly, and nothing named the file."""
    tensors, metadata = untouched("mlp")
    path = tmp_path / "last.safetensors"
    checkpoint.save([path], tensors, changed(metadata, ("config", "model", "dropout"), 1e308))
    with pytest.raises(CheckpointError, match=r"last\.safetensors holds a config .*\n.*dropout"):
        load_trained(path)


def test_there_is_no_number_in_json_that_is_none(untouched, tmp_path):
    """NaN and Infinity are not JSON, and Python reads them all the same."""
    tensors, metadata = untouched("mlp")
    path = tmp_path / "last.safetensors"
    with pytest.raises(ValueError, match="not JSON compliant"):
        checkpoint.save([path], tensors, changed(metadata, ("progress", "x"), float("nan")))
    for number in ("NaN", "-Infinity", "1e999"):
        checkpoint.save([path], tensors, changed(metadata, ("config", "seed"), 123456789))
        text = path.read_bytes().replace(b"123456789", number.rjust(9).encode())
        path.write_bytes(text)
        with pytest.raises(CheckpointError, match="not JSON"):
            checkpoint.read_metadata(path, checkpoint.check_header(path).labels["trainwright"])


def open_within_bounds(path):
    """Open a file, and fail where that takes longer, or more memory, than SECURITY.md says."""

    def too_long(number, frame):
        raise AssertionError(f"{path} took more than {SECONDS} s of processor time")

    before = signal.signal(signal.SIGPROF, too_long)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        with contextlib.suppress(TrainwrightError):
            load_trained(path)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - most
    assert grown < MEGABYTES * 1024


@pytest.mark.parametrize(
    ("model", "tries"),
    [("mlp", 20), ("mlp_gan", 20), *(pytest.param(m, 300, marks=pytest.mark.slow) for m in SMALL)],
)
def test_whatever_the_metadata_say_a_file_is_opened_or_refused_within_bounds(
    model, tries, untouched, tmp_path
):
    tensors, metadata = untouched(model)
    path, draw = tmp_path / "last.safetensors", random.Random(tries)
    everywhere = list(places(metadata))
    for _ in range(tries):
        checkpoint.save(
            [path], tensors, changed(metadata, draw.choice(everywhere), draw.choice(JUNK))
        )
        assert path.stat().st_size < 2**20
        open_within_bounds(path)


@pytest.mark.slow
def test_so_is_one_that_is_full_of_tensors(untouched, tmp_path):
    tensors, metadata = untouched("mlp", "model.norm=layer", f"model.widths={[1] * 3000}")
    path = tmp_path / "last.safetensors"
    checkpoint.save([path], tensors, metadata)
    assert 2**19 < path.stat().st_size < 2**20
    open_within_bounds(path)
    assert load_trained(path).step == 2
