"""Networks of others: they see images as they know them, and what is frozen stays as it was."""

import json
from importlib.util import find_spec

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

from trainwright.data.columns import Classes, Image
from trainwright.data.dataset import INPUTS
from trainwright.inference.trained import load_trained
from trainwright.nn.pretrained.hf_images import hf_images
from trainwright.nn.pretrained.timm_images import timm_images

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
    """A folder as transformers saves a network: tiny, with another number of classes than ours."""
    transformers = pytest.importorskip("transformers")
    config = transformers.ViTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        image_size=16, patch_size=8, num_labels=7,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    known = {"image_mean": list(MEAN), "image_std": list(STD)}
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps(known))
    return tmp_path / "vit"


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


@pytest.mark.slow
def test_frozen_features_stay_and_a_finished_run_needs_the_folder_for_its_form_alone(
    vit, train, tmp_path
):
    words = ("data=digits", "model=hf_image", f"model.path={vit}", "model.freeze=features")
    run = train(tmp_path / "run", *words, "trainer=smoke", "trainer.ema=null").folder
    kept, num_same = load_file(run / "checkpoints" / "last.safetensors"), 0
    for key, tensor in weights_of(vit).items():
        if not key.startswith("classifier."):
            (there,) = (
                v for k, v in kept.items() if k.endswith(f"network.{key}") and "averag" not in k
            )
            assert torch.equal(tensor, there)
            num_same += 1
    assert num_same > 10
    (vit / "model.safetensors").unlink()
    assert load_trained(run / "checkpoints" / "best.safetensors").info.num_classes == 10
