"""Every shipped model, exported: the files' outputs against the run's own, and the example runs."""

import json
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from rounding import rounding
from safetensors.torch import load_file

from trainwright.config_folder import group_options
from trainwright.data.images.decode import decode_image
from trainwright.errors import ConfigError
from trainwright.inference.export.folder import export
from trainwright.inference.predict import predict
from trainwright.inference.trained import load_trained

pytestmark = pytest.mark.numeric
SMOKE = ("trainer=smoke", "trainer.precision=fp32")
RUNS = {
    "cnn": ("model=cnn", "model.channels=[4]", "model.dense=[8]", "model.norm=batch"),
    "gan": ("model=gan", "model.width=4"),
    "regression": ("model=mlp", "data=diabetes", "task=regression", "model.widths=[8]"),
    "mlp": ("model=mlp", "model.widths=[16]", "model.norm=batch", "model.dropout=0.3"),
    "airbench": ("model=airbench", "model.widths=[8,8]", "task.tta=mirror"),
    "resnet": ("model=resnet", "model.blocks_per_stage=1", "model.width=4"),
    "mlp_gan": ("model=mlp_gan", "model.conditional=false"),
    "table": ("model=mlp", "data=tabular", "model.widths=[8]"),
    "cnn1d": ("model=cnn1d", "data=arrays", "model.channels=[8,8]"),
    "resnet_mlp": ("model=resnet_mlp", "data=tabular", "model.numbers=periodic", "model.width=8"),
    "ft_transformer": ("model=ft_transformer", "data=tabular", "model.numbers=piecewise",
                       "model.width=8", "model.blocks=2"),
    "layer_norm": ("model=cnn", "model.channels=[4]", "model.norm=layer", "model.activation=gelu"),
    "preactivation": (
        "model=resnet", "model.blocks_per_stage=1", "model.width=4", "model.preactivation=true"),
    "rich_gan": ("model=gan", "model.width=4", "model.conditional_norm=all", "task.score=none",
                 "model.upsampling=nearest", "model.generator_norm=layer"),
    "classes_mlp_gan": ("model=mlp_gan", "model.conditional_norm=all", "model.spectral_norm=true"),
}  # fmt: skip
FORMS = ("onnx", "pt2", "safetensors")
# Tracing takes seconds, so at every turn each form is tried with one kind of input.
AT_EVERY_TURN = {("regression", "onnx"), ("cnn", "pt2"), ("gan", "safetensors")}


def pairs(kinds=RUNS, forms=FORMS, often=AT_EVERY_TURN):
    """Every kind of run in every form; all but a few of them are slow."""
    return [
        pytest.param(kind, form, marks=() if (kind, form) in often else pytest.mark.slow)
        for kind in kinds
        for form in forms
    ]


DRAWING = [kind for kind in RUNS if "gan" in kind]
TELLING = [kind for kind in RUNS if "gan" not in kind]


@pytest.fixture(scope="module")
def exported(train, tmp_path_factory):
    """The run and the folder of an export in one form, made when it is first asked for."""
    runs, made = {}, {}

    def of(kind, form):
        if kind not in runs:
            folder = tmp_path_factory.mktemp(kind) / "run"
            words = [*SMOKE, *RUNS[kind]]
            if "data=arrays" in words:
                series = tmp_path_factory.mktemp("arrays") / "series.npz"
                noise = np.random.default_rng(0).normal(size=(60, 16, 2))
                np.savez(series, x=noise, y=np.arange(60) % 3)
                words.append(f"data.path={series}")
            runs[kind] = train(folder, *words).folder
        if (kind, form) not in made:
            best = runs[kind] / "checkpoints" / "best.safetensors"
            trained = load_trained(best, device="cpu")
            out = tmp_path_factory.mktemp(f"{kind}-{form}") / "out"
            export(trained, "run", [form], out)
            made[kind, form] = trained, out
        return made[kind, form]

    return of


def test_every_model_is_exported():
    tried = {word.partition("=")[2] for words in RUNS.values() for word in words[:1]}
    others = {"gpt", "hf", "text_encoder", "timm", "hf_image"}  # these have tests of their own
    others |= {"flow", "mlp_flow", "diffusion", "vae", "mlp_vae"}  # these are not portable
    assert tried == set(group_options("model")) - others


@torch.no_grad()
def own_outputs(trained, inputs):
    """What the task of the run makes of raw inputs, by its own evaluation."""
    task, info = trained.task, trained.info
    if "latents" in inputs:
        images = task.model.generator(inputs["latents"], inputs.get("classes"))
        return (images + 1) / 2
    raw = inputs["inputs"].float()
    is_series = len(info.input_shape) == 2  # whose channels come last
    shape = (1, 1, -1) if is_series else (1, -1, *(1 for _ in info.input_shape[1:]))
    unit = 255 if info.is_image else 1
    mean, std = (torch.tensor(n).view(shape) for n in (info.input.mean, info.input.std))
    batch = {
        "inputs": (raw / unit - mean) / std,
        "targets": torch.zeros(len(raw), dtype=torch.int64),
    }
    if info.target == "values":
        batch = {**batch, "targets": batch["targets"].float()}
        return task.evaluate(batch)["predictions"]
    return task.evaluate(batch)["logits"]


def drawn(trained, kind, num):
    """Raw inputs by name, not those that the export tried."""
    generator = torch.Generator().manual_seed(99)
    info = trained.info
    if "gan" in kind:
        model = trained.task.model
        latents = torch.randn(num, model.latent_dim, generator=generator)
        classes = torch.arange(num).flip(0) % max(model.num_classes, 1)
        return {"latents": latents} | ({"classes": classes} if model.num_classes else {})
    if info.is_image:
        shape = (num, *info.input_shape)
        return {"inputs": torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)}
    noise = torch.randn(num, *info.input_shape, generator=generator)
    return {"inputs": noise * torch.tensor(info.input.std) + torch.tensor(info.input.mean)}


@pytest.mark.parametrize(("kind", "form"), pairs(forms=("onnx", "pt2")))
def test_the_graphs_give_what_the_run_gives_for_batches_of_any_size(exported, kind, form):
    trained, folder = exported(kind, form)
    answer = answer_of(folder, form)
    for num in (1, 7):
        inputs = drawn(trained, kind, num)
        expected = own_outputs(trained, inputs)
        outputs = answer(inputs)
        assert outputs.shape == expected.shape
        difference = float((outputs - expected).abs().max())
        # float32 on either side, in sums of up to 3 x 3 x 64 products
        tolerance = rounding(torch.float32, 9 * 64, size=float(expected.abs().max()))
        assert difference < tolerance, num


def answer_of(folder, form):
    """The file in a form, as another program calls it."""
    if form == "pt2":
        program = torch.export.load(folder / "model.pt2").module()
        return torch.no_grad()(lambda inputs: program(*inputs.values()))
    session = onnxruntime.InferenceSession(folder / "model.onnx")

    def ask(inputs):
        given = {name: value.numpy() for name, value in inputs.items()}
        return torch.from_numpy(session.run(None, given)[0])

    return ask


@pytest.mark.parametrize(("kind", "form"), pairs(forms=("safetensors",)))
def test_the_weights_are_those_of_the_run(exported, kind, form):
    trained, folder = exported(kind, form)
    weights = load_file(folder / "model.safetensors")
    model = trained.task.model
    own = (model.generator if "gan" in kind else model).state_dict()
    assert weights.keys() == own.keys()
    assert all(torch.equal(weights[name], own[name]) for name in own)


def run_example(folder, *arguments):
    """What it prints, in a process in which nothing of trainwright can be imported."""
    assert len((folder / "example.py").read_text().splitlines()) <= 20
    alone = (
        "import runpy, sys; sys.modules['trainwright'] = None; sys.argv = sys.argv[1:]; "
        "sys.path[0] = '.'; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", alone, "example.py", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_example_input(trained, folder):
    """What the example is called with: an image of another size and shape, numbers, or a series."""
    if len(trained.info.input_shape) == 2:
        (series,) = drawn(trained, "series", 1)["inputs"]
        np.save(folder / "series.npy", series.double().numpy())
        return folder / "series.npy", ["series.npy"]
    if not trained.info.is_image:
        (row,) = drawn(trained, "table", 1)["inputs"]
        (folder / "row.csv").write_text(",".join(repr(float(value)) for value in row) + "\n")
        return folder / "row.csv", (folder / "row.csv").read_text().strip().split(",")
    pixels = torch.randint(0, 256, (13, 21, 4), dtype=torch.uint8)  # the last is transparency
    Image.fromarray(pixels.numpy()).save(folder / "image.png")
    return folder / "image.png", ["image.png"]


@pytest.mark.parametrize(("kind", "form"), pairs(TELLING, often={("regression", "onnx")}))
def test_the_example_says_what_the_run_says_in_twenty_lines(exported, kind, form):
    trained, folder = exported(kind, form)
    file, arguments = write_example_input(trained, folder)
    printed = run_example(folder, *arguments)
    (prediction,) = predict(trained, [file])
    if trained.info.target == "values":
        assert float(printed) == pytest.approx(float(prediction.answers["targets"]), rel=1e-4)
        return
    shares, indices = prediction.answers["targets"].topk(2)
    for line, share, index in zip(printed.splitlines(), shares, indices, strict=False):
        told, name = line.split()
        assert name == trained.info.class_names[index]
        assert float(told.strip("%")) == pytest.approx(100 * float(share), abs=0.011)


@pytest.fixture(scope="module")
def sure(exported, tmp_path_factory):
    """A run with views that is sure of its classes, and an export of its bare weights."""
    trained = load_trained(exported("airbench", "safetensors")[0].path, device="cpu")
    torch.manual_seed(0)
    with torch.no_grad():  # as it begins it looks at both sides alike, and is sure of nothing
        for parameter in trained.task.model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    folder = tmp_path_factory.mktemp("sure") / "out"
    export(trained, "run", ["safetensors"], folder)
    return trained, folder


def odd_image(kind, folder):
    """Brighter to the right and below, so that its mirror image is another one."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (40, 64, 4), dtype=torch.uint8, generator=generator).numpy()
    pixels[:, :32, :3] //= 8
    pixels[:20, :, :3] //= 4
    pixels[..., 3] |= 128
    if kind == "transparent":
        Image.fromarray(pixels).save(folder / "image.png")
    elif kind == "16 bits":
        Image.fromarray(pixels[..., 0].astype("uint16") * 257).save(folder / "image.png")
    else:
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.fromarray(pixels[..., :3]).save(folder / "image.jpg", exif=exif, quality=95)
    (path,) = folder.glob("image.[pj]*")
    return path


@pytest.mark.parametrize(
    "kind",
    ["transparent", *(pytest.param(k, marks=pytest.mark.slow) for k in ("16 bits", "on its side"))],
)
def test_the_example_prepares_an_image_and_takes_its_views_as_the_run_does(kind, sure, tmp_path):
    trained, folder = sure
    file = odd_image(kind, tmp_path)
    (prediction,) = predict(trained, [file])
    images = torch.from_numpy(decode_image(file, size=8, channels=1, fit="crop"))[None]
    assert trained.task.tta == "mirror"
    (mean,), (std,) = trained.info.input.mean, trained.info.input.std
    one_view = trained.task.model((images - 255 * mean) / 255 / std)
    assert not torch.allclose(one_view.softmax(1)[0], prediction.answers["targets"], atol=1e-3)
    told = dict(line.split()[::-1] for line in run_example(folder, file).splitlines())
    assert len(told) == 3
    for name, share in told.items():
        expected = float(prediction.answers["targets"][trained.info.class_names.index(name)])
        assert float(share.strip("%")) == pytest.approx(100 * expected, abs=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", DRAWING)
def test_the_example_of_a_gan_draws_images_in_twenty_lines(exported, kind, form):
    _, folder = exported(kind, form)
    assert run_example(folder) == "samples.png\n"
    with Image.open(folder / "samples.png") as image:
        assert image.size == (32, 32)


def test_model_json_says_what_goes_in_and_comes_out(exported):
    _, folder = exported("cnn", "pt2")
    facts = json.loads((folder / "model.json").read_text())
    assert facts["inputs"] == [
        {
            "name": "inputs",
            "shape": ["batch", 1, 8, 8],
            "dtype": "uint8",
            "meaning": "pixels, 0 to 255",
        }
    ]
    assert facts["class_names"] == [str(digit) for digit in range(10)]
    assert facts["image"] == {"mode": "L", "height": 8, "width": 8, "fit": "crop"}
    assert facts["output"]["name"] == "logits"


def test_an_export_never_overwrites(exported, tmp_path):
    trained, folder = exported("cnn", "pt2")
    with pytest.raises(ConfigError, match="exists already"):
        export(trained, "run", ["safetensors"], folder)


@pytest.fixture(scope="module")
def text_run(train, tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    (folder / "a.txt").write_text("the cat sat on the mat\n" * 90)
    words = ("model=gpt", "data=text", f"data.path={folder / 'a.txt'}", "data.context=8")
    run = train(folder / "run", *SMOKE, *words, "model.depth=1", "model.width=16")
    return load_trained(run.folder / "checkpoints" / "best.safetensors", device="cpu")


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_it_gives_the_logits_that_the_run_gives(text_run, form, tmp_path):
    export(text_run, "run", [form], tmp_path / "out")
    facts = json.loads((tmp_path / "out" / "model.json").read_text())
    assert facts["inputs"][0]["shape"] == ["batch", 8]
    if form == "safetensors":
        return
    answer = answer_of(tmp_path / "out", form)
    for num in (1, 3):
        tokens = torch.randint(0, 256, (num, 8), generator=torch.Generator().manual_seed(num))
        with torch.no_grad():
            expected = text_run.task.model(tokens)
        torch.testing.assert_close(answer({"text": tokens}), expected, rtol=1e-4, atol=1e-4)
