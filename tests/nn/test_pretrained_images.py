"""Networks of others: they see images as they know them, and what is frozen stays as it was."""

import copy
import json
import shutil
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from trainwright.config.plan import Plan
from trainwright.data.columns import Classes, Image
from trainwright.data.dataset import INPUTS
from trainwright.engine.checkpoint import checkpoint
from trainwright.errors import ConfigError, TrainwrightError
from trainwright.inference.trained import load_trained
from trainwright.nn.pretrained.folder import IMAGE_NETWORKS
from trainwright.nn.pretrained.hf_images import hf_images
from trainwright.nn.pretrained.timm_images import timm_images
from trainwright.run.request import Request
from trainwright.run.resume.recover import read
from trainwright.run.run import run as run_through
from trainwright.runs.header import check_header
from trainwright.runs.summary import read_summary

pytestmark = pytest.mark.slow  # transformers takes seconds to import

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NAME = "test_resnet.r160_in1k"


@pytest.fixture(scope="module", autouse=True)
def operators():
    """The registry's torchvision lacks two operators beside torch for CPUs: declared here."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms") if find_spec("torchvision") else ():
        library.define(f"{name}(Tensor a, Tensor b, float c) -> Tensor")
    yield library
    library._destroy()


@pytest.fixture
def timm(operators):
    return pytest.importorskip("timm", exc_type=ImportError)


@pytest.fixture
def vit(tmp_path):
    return made_in(tmp_path)


def made_in(folder):
    """A folder as transformers saves a network: tiny, with another number of classes than ours."""
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        image_size=16, patch_size=8, num_labels=7,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.ViTForImageClassification(config).save_pretrained(folder / "vit")
    known = {"image_mean": list(MEAN), "image_std": list(STD)}
    (folder / "vit" / "preprocessor_config.json").write_text(json.dumps(known))
    return folder / "vit"


def weights_of(folder):
    from transformers import ViTForImageClassification

    return ViTForImageClassification.from_pretrained(folder).state_dict()


def facts(channels=3):
    column = Image((channels, 12, 12), (0.3,) * channels, (0.2,) * channels)
    return {
        "columns": {INPUTS: column, "targets": Classes(("a", "b", "c"))},
        "inputs": {INPUTS: column.described()},
        "num_outputs": 3,
        "train_inputs": lambda *_: None,
    }


def seen_and_wanted(network, channels, size, mean, std):
    """What a network is given of pixels, and what others' own pipelines would make of them."""
    pixels = torch.randint(0, 256, (2, channels, 12, 12), dtype=torch.uint8)
    given = []
    network.network.register_forward_pre_hook(lambda _, args: given.append(args[0]))
    scaled = (pixels.double() / 255 - 0.3) / 0.2
    network.double()(scaled)
    mean, std = (torch.tensor(v, dtype=torch.float64).view(1, 3, 1, 1) for v in (mean, std))
    wanted = (pixels.double().expand(-1, 3, -1, -1) / 255 - mean) / std
    return given[0], functional.interpolate(wanted, (size, size), mode="bicubic", antialias=True)


@pytest.mark.numeric
@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_of_transformers_sees_the_scaling_and_size_it_has_learned(vit, channels):
    network = hf_images(path=str(vit), **facts(channels)).eval()
    seen, wanted = seen_and_wanted(network, channels, 16, MEAN, STD)
    torch.testing.assert_close(seen, wanted, rtol=1e-6, atol=1e-6)  # factors are kept in float32
    saved = weights_of(vit)
    for key, tensor in network.float().network.state_dict().items():
        if not key.startswith("classifier."):
            assert torch.equal(tensor, saved[key])


@pytest.mark.numeric
def test_a_network_of_timm_sees_the_scaling_and_size_it_has_learned(timm):
    network = timm_images(name=NAME, pretrained=False, **facts()).eval()
    known = timm.create_model(NAME).pretrained_cfg
    assert network.size == known["input_size"][-1]
    seen, wanted = seen_and_wanted(network, 3, network.size, known["mean"], known["std"])
    torch.testing.assert_close(seen, wanted, rtol=1e-6, atol=1e-6)


def test_weights_of_timm_come_from_a_file_and_another_networks_are_refused(timm, tmp_path):
    other = timm.create_model(NAME, num_classes=9)
    save_file(other.state_dict(), tmp_path / "a.safetensors")
    network = timm_images(name=NAME, weights=str(tmp_path / "a.safetensors"), **facts())
    same = [
        torch.equal(v, other.state_dict()[k])
        for k, v in network.network.state_dict().items()
        if "fc" not in k
    ]
    assert all(same)
    save_file({"x": torch.zeros(1)}, tmp_path / "b.safetensors")
    for weights, message in (("b", "of another network"), ("c", "no safetensors file")):
        with pytest.raises(ValueError, match=message):
            timm_images(name=NAME, weights=str(tmp_path / f"{weights}.safetensors"), **facts())
    with pytest.raises(ValueError, match="did you mean resnet18"):
        timm_images(name="resnt18", **facts())


def test_a_folder_without_safetensors_is_refused(vit):
    (vit / "model.safetensors").rename(vit / "pytorch_model.bin")
    with pytest.raises(ValueError, match="safetensors"):
        hf_images(path=str(vit), **facts())


@pytest.fixture(scope="module")
def finished(train, tmp_path_factory):
    """A run whose folder to begin with is gone, and what that had held."""
    root = tmp_path_factory.mktemp("finished")
    vit = made_in(root)
    words = ("data=digits", "model=hf_image", f"model.path={vit}", "model.freeze=features")
    run = train(root / "run", *words, "trainer=smoke", "trainer.ema=null").folder
    before = weights_of(vit)
    shutil.rmtree(vit)
    return run, before


def test_frozen_features_stay(finished):
    run, before = finished
    kept, num_same = load_file(run / "checkpoints" / "last.safetensors"), 0
    for key, tensor in before.items():
        if not key.startswith("classifier."):
            (there,) = (
                v for k, v in kept.items() if k.endswith(f"network.{key}") and "averag" not in k
            )
            assert torch.equal(tensor, there)
            num_same += 1
    assert num_same > 10


def test_a_run_needs_its_folder_no_more_to_predict_go_on_and_be_forked(finished, resume, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished[0], run)
    trained = load_trained(run / "checkpoints" / "last.safetensors")
    network = trained.task.model
    assert network.architecture["scaling"] == {"image_mean": list(MEAN), "image_std": list(STD)}
    assert network.size == 16
    (answer,) = trained.task.predict({INPUTS: torch.zeros(2, 1, 8, 8)}).values()
    assert answer.shape == (2, 10)
    resume(run, f"trainer.steps={trained.step + 2}", "trainer.schedule_until=100%")
    file = run / "checkpoints" / "last.safetensors"
    found = read(file)
    assert found.step == trained.step + 2
    begin = {"checkpoint": str(file), "sha256": check_header(file).labels["sha256"]}
    config = copy.deepcopy(found.metadata["config"])
    config["fork"] = {**begin, "freeze": [], "old_lr": 1.0}
    config["model"]["freeze"] = "none"
    config["run"]["dir"] = str(tmp_path / "fork")
    fork = run_through(Request(Plan.of(config, name="fork"))).folder
    assert read_summary(fork)["lineage"]["step"] == found.step
    config["model"]["path"] = str(tmp_path / "other")  # which is typed: it is looked for
    with pytest.raises(ConfigError, match="other is not the folder of a model"):
        run_through(Request(Plan.of(config, name="fork")))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"model_type": "timm_wrapper"}, "timm_wrapper is not a network for images that is known"),
        ({"model_type": ["vit"]}, "is not a network for images that is known"),
        ({"num_attention_heads": "evil"}, "transformers cannot build it: Validation error"),
        ({"scaling": {"image_std": [0, 0, 0]}}, "image_std is not three numbers"),
        (
            {"model_type": "dinov2", "num_hidden_layers": 10**11},
            "num_hidden_layers: more than 1,000",
        ),
        (None, "model_type=None is not a network for images"),
    ],
)
def test_what_a_checkpoint_says_of_another_architecture_is_refused(finished, change, why, tmp_path):
    found = read(finished[0] / "checkpoints" / "last.safetensors")
    told = {} if change is None else {**found.metadata["architecture"], **change}
    file = tmp_path / "last.safetensors"
    checkpoint.save([file], found.tensors, {**found.metadata, "architecture": told})
    with pytest.raises(TrainwrightError, match=why):
        load_trained(file)


def test_every_kind_that_is_known_can_be_built_and_looked_at():
    for kind in sorted(IMAGE_NETWORKS):
        with torch.device("meta"):
            made = hf_images(path="", architecture={"model_type": kind}, **facts())
        head = [n for n, _ in made.network.named_parameters() if n.startswith("classifier.")]
        assert head, kind


def test_a_network_may_have_a_name_and_come_from_the_cache_of_the_hub(vit, tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    kept = tmp_path / "models--someone--vit"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("0" * 40)
    shutil.copytree(vit, kept / "snapshots" / ("0" * 40))
    monkeypatch.setattr(hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    network = hf_images(path="someone/vit", **facts())
    assert network.architecture["scaling"]["image_mean"] == list(MEAN)
    with pytest.raises(ValueError, match="no network of that name can be fetched"):
        hf_images(path="someone/else", **facts())
