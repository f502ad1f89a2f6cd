"""Everything wrong is refused before work starts: a short message, the right code, nothing left."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from trainwright.config.compose import similar_key
from trainwright.wording import choices

# What is typed; the exit code; what the message must name.
WRONG = [
    # Names
    (
        "model=mpl",
        2,
        "model=mpl; did you mean mlp?; model accepts: mlp, mlp_gan; airbench",
    ),
    ("data=minst", 2, "data=minst; did you mean mnist?; data accepts"),
    ("optimizer=lion", 2, "optimizer=lion; adagrad, adam"),
    ("schedule=cosin", 2, "did you mean cosine?"),
    ("task=classify", 2, "task=classify; task accepts: auto, classifier, diffusion, flow, gan, l"),
    ("trainer=smok", 2, "did you mean smoke?"),
    ("experiment=foo", 2, "experiment accepts: ;     mnist_"),
    ("experiment=null", 2, "a group takes the name of an option; ~experiment"),
    ("~model", 2, "a run needs a model; model accepts: airbench, cnn"),
    ("modle=mlp", 2, "modle; did you mean model?; accepted are: data"),
    ("optimzer.lr=1", 2, "optimzer.lr; did you mean optimizer.lr?"),
    ("optimizer.learning_rate=1", 2, "did you mean optimizer.lr?; optimizer accepts"),
    ("lr=1e-3", 2, "lr; did you mean optimizer.lr?"),
    ("epochs=3", 2, "did you mean trainer.epochs?"),
    ("trainer.epoch=3", 2, "mean trainer.epochs?; trainer accepts: epochs; steps; tokens\n"),
    ("trainer.callbacks=3", 2, "trainer.callbacks: there is no such key\n"),
    ("experiment=mnist_lr_search", 2, "sweep.params of optimizer.lr, model.widths, seed; add -m"),
    ("model.activation=a;b", 2, "twice: 'model.activation=\"a"),
    ("trainer.early_stoping.patience=3", 2, "did you mean trainer.early_stopping.patience?"),
    ("model.width=[3]", 2, "did you mean model.widths?; model accepts"),
    ("data=folder data.path=here model.width=[3]", 2, "did you mean model.widths?; model accepts"),
    ("data.augment.flp=true", 2, "did you mean data.augment.flip?"),
    ("run.nmae=x", 2, "did you mean run.name?"),
    ("+foo=1", 2, "foo: there is no such key; accepted are: data, hooks, logger"),
    ("+optimizer.foo=1", 2, "optimizer.foo; optimizer accepts"),
    ("model=gan optimizer.players.generater.lr=1", 2, "did you mean generator?"),
    ("model=gan optimizer.players.generator.lrr=1", 2, "generator.lrr; did you mean lr?"),
    # The shell
    ("mlp", 2, "'mlp' is not an override; did you mean model=mlp?"),
    ("model", 2, "model=...; model accepts: airbench, cnn"),
    ("model.widths=[512, 256]", 2, "'model.widths=[512,' is not an override; quotes"),
    ("--epochs 10", 2, "--epochs; did you mean trainer.epochs=...?; without dashes"),
    ("-m --cfg job seed=0,1", 2, "--multirun and --cfg exclude each other"),
    ("--resolve", 2, "--resolve has no effect without --cfg"),
    ("-p model", 2, "--package has no effect without --cfg"),
    ("--experimental-rerun config.pickle", 2, "reads a pickle; trainer.resume"),
    ("--cfg jobs", 2, "--cfg; jobs; job"),
    ("data=mnist,cifar10", 2, "data=mnist,cifar10; train -m data=mnist,cifar10"),
    ("-m model=mlp,cn", 2, "model=cn; did you mean cnn?"),
    # Types and values
    ("optimizer.lr=fast", 2, "optimizer.lr='fast': it must be a number"),
    ("optimizer.lr=-1", 2, "optimizer; learning rate"),
    ("optimizer.lr=nan", 2, "optimizer.lr=nan: it must be a finite number"),
    ("trainer.eval_every=5", 2, "did you mean trainer.evaluate_every?"),
    ("optimizer.betas=[0.9]", 2, "optimizer.betas=[0.9]; more values"),
    ("optimizer.betas=[0.9,0.9,0.9]", 2, "optimizer.betas; at most 2"),
    ("optimizer.players=5", 2, "optimizer.players=5: it must be a section"),
    ("optimizer.players.model=5", 2, "optimizer.players.model=5: it must be a section"),
    ("optimizer.l1=-1", 2, "optimizer.l1=-1; at least 0"),
    ("trainer.epochs=ten", 2, "trainer.epochs='ten': it must be a number"),
    ("trainer.epochs=0", 2, "trainer.epochs=0: it must be greater than 0"),
    ("trainer.batch_size=64.5", 2, "trainer.batch_size=64.5: it must be a whole number"),
    ("trainer.deterministic=maybe", 2, "it must be true or false"),
    ("trainer.precision=fp8", 2, "trainer.precision='fp8'; 'fp32', 'bf16'"),
    ("trainer.device=gpu", 2, "trainer.device=gpu; auto, cpu, cuda"),
    ("trainer.early_stopping=5", 2, "trainer.early_stopping=5: it must be a section"),
    ("trainer.evaluate_every=foo", 2, "trainer.evaluate_every; '2 epochs'"),
    ("trainer.epochs=null", 2, "trainer.epochs; trainer.steps; how long"),
    ("trainer.epochs=1 trainer.steps=3", 2, "one length"),
    ("schedule.warmup=500x", 2, "500x; '2 epochs'"),
    ("model.widths=512", 2, "model.widths=512: it must be a list"),
    ("model.widths=[512,abc]", 2, "model.widths[1]='abc': it must be a whole number"),
    ("model.activation=rleu", 2, "model.activation='rleu'; 'relu'"),
    ("model.dropout=1.5", 2, "dropout=1.5"),
    ("data.augment=5", 2, "data.augment=5: it must be a section"),
    ("data.augment.shift=-1", 2, "data.augment.shift; pixels"),
    ("data.validation=2.0", 2, "data.validation; between 0 and 1"),
    ("data.limit=0", 2, "data.limit"),
    ("data=folder", 2, "data.path; data.path=..."),
    ("seed=abc", 2, "seed='abc': it must be a whole number"),
    ("run=5", 2, "run=5: it must be a section"),
    ("trust=abc", 2, "trust='abc'; 'trust=[mine.Net]'"),
    ("model._target_=os.system", 2, "os.system; torch.nn.Module"),
    ("model._target_=mine.Net", 2, "cannot import 'mine'; working directory"),
    ("optimizer._target_=torch.optim.Adamm", 2, "did you mean Adam?"),
    # Combinations
    ("trainer.batch_size=100000", 2, "trainer.batch_size=100000; 1437"),
    ("data.limit=10", 2, "trainer.batch_size=64; 10 training examples; take trainer.batch_size=10"),
    ("trainer.accumulate=3", 2, "trainer.accumulate=3; trainer.batch_size=64"),
    ("model=gan data=tabular", 2, "model; images; mlp"),
    ("model=cnn data=diabetes", 2, "model; images; mlp"),
    ("task=regression", 2, "task=regression; use task=classifier"),
    ("task=classifier data=diabetes", 2, "task=classifier; use task=regression"),
    ("model=mlp task=gan", 2, "model=gan"),
    ("model=gan task=regression", 2, "task=regression cannot train GAN; task=gan"),
    ("model=gan task=multilabel", 2, "task=multilabel cannot train GAN; task=gan"),
    ("model=flow task=classifier", 2, "task=classifier cannot train UNet; task=flow"),
    ("model=flow task.steps=0", 2, "task; steps=0 is below 1"),
    ("model=flow data=tabular", 2, "model; images; use model=mlp_flow"),
    ("model=flow model.conditional=false task.guidance=2", 2, "guidance=2; not told of classes"),
    # Files
    ("data=folder data.path=missing", 3, "missing does not exist"),
    ("data=mnist data.root=/proc/nope", 6, "data.root"),
    ("run.dir=/proc/nope/run trainer=smoke", 6, "/proc/nope/run"),
    ("run.root=/dev/null trainer=smoke", 6, "/dev/null"),
    ("trainer.resume=missing", 4, "trainer.resume=missing; no run folder or checkpoint"),
    # Memory: 256 TB of weights
    ("model.widths=[1000000000000]", 7, "out of memory; model"),
    # What would do nothing
    ("trust=[mine.Net]", 2, "trust=[mine.Net] has no effect; trainer.resume"),
    ("-m seed=0,1 trust=[mine.Net]", 2, "trust=[mine.Net] has no effect"),
    ("-m seed=0,1 sweep.prune=halving sweep.prune_after=soon", 2, "sweep.prune_after; '2 epochs'"),
    (
        "-m model=mlp,cnn model.widths=[8]",
        2,
        "model.widths; no such key; the job model=cnn; channels",
    ),
    ("-m trainer.threads=1,2", 2, "trainer.threads=1 and trainer.threads=2 make the same run"),
    ("-m sweep=optuna seed=0,1", 2, "sweep=optuna has nothing to draw"),
    ("-m sweep=optuna seed=int(interval(0,9)) optimizer.lr=1,2", 2, "seed is an interval; seed=1"),
]


def words(line):
    """Split like a shell, but for blanks within brackets: those are the mistake."""
    return line.split(" ")


def assert_refused(result, code, named, folder):
    assert result.code == code, result.err
    assert "Traceback" not in result.err
    # Without a terminal, that images are being decoded is a line of its own.
    lines = [line for line in result.err.strip().splitlines() if not line.startswith("decoding")]
    assert lines[0].startswith("error")
    assert len(lines) <= 5
    for part in named.split("; "):
        assert part.rstrip("?") in result.err
    assert list(folder.iterdir()) == []


# A fifth of them in the fast suite, of every kind.
MARKED = [
    pytest.param(*wrong, id=wrong[0], marks=() if number % 5 == 1 else pytest.mark.slow)
    for number, wrong in enumerate(WRONG)
]


@pytest.mark.parametrize(("line", "code", "named"), MARKED)
def test_is_refused_with_a_short_message_and_nothing_left(line, code, named, run_main, empty):
    assert_refused(run_main(*words(line)), code, named, empty)


def picture(path, *, size=(9, 9), form="PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (10, 200, 30)).save(path, format=form)


@pytest.mark.slow
def test_image_folders_that_make_no_dataset_are_refused(run_main, empty, tmp_path):
    folder = tmp_path / "images"

    def refusal(code, named):
        arguments = ["data=folder", f"data.path={folder}", f"data.root={tmp_path / 'cache'}"]
        assert_refused(run_main(*arguments, "trainer.batch_size=1"), code, named, empty)

    folder.mkdir()
    refusal(3, "holds no images")
    for number in range(4):
        picture(folder / "cat" / f"{number}.png")
    refusal(2, "task=classifier; images has only one: cat")
    picture(folder / "loose.png")
    refusal(3, "is mixed; loose.png")
    (folder / "loose.png").unlink()
    (folder / "dog").mkdir()
    refusal(3, "dog; holds no images")
    (folder / "dog" / "lie.png").write_text("<html>not an image</html>")
    refusal(3, "lie.png")
    picture(folder / "dog" / "lie.png", form="GIF")
    refusal(3, "lie.png; PNG, JPEG or WebP")
    picture(folder / "dog" / "lie.png")
    (folder / "dog" / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0torn")
    refusal(3, "torn.jpg")


def test_a_file_whose_hash_is_wrong_is_refused_and_not_touched(run_main, empty, tmp_path):
    damaged = tmp_path / "mnist" / "train-images-idx3-ubyte.gz"
    damaged.parent.mkdir()
    damaged.write_bytes(b"something else")
    result = run_main("data=mnist", f"data.root={tmp_path}")
    assert_refused(result, 3, "train-images-idx3-ubyte.gz", empty)
    assert damaged.read_bytes() == b"something else"


OWN = """
import torch
from torch import nn
from trainwright.data.dataset import Dataset
from trainwright.data.splits import split_arrays

def oblong(*, height: int = 7, width: int = 5) -> Dataset:
    images = torch.randint(0, 256, (40, 1, height, width), dtype=torch.uint8)
    return split_arrays("oblong", images, torch.arange(40) % 2)

class Needs(nn.Module):
    def __init__(self, *, input_shape, depth: int):
        super().__init__()

class Hungry(nn.Module):
    def __init__(self, *, num_outputs: int):
        super().__init__()
        self.head = nn.Linear(1, num_outputs)

    def forward(self, inputs):
        num_rows = 10**13 if self.training else len(inputs)
        return self.head(torch.empty(num_rows, 1)[: len(inputs)])

class Broken(nn.Module):
    def __init__(self):
        raise RuntimeError("oh no")

def untyped(*, num_outputs):
    return nn.Linear(1, num_outputs)
"""


def write_own(folder):
    (folder / "own.py").write_text(OWN)
    for group, name, target in (("model", "own", "own.Needs"), ("data", "oblong", "own.oblong")):
        path = folder / "configs" / group / f"{name}.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(f"_target_: {target}\n")


def test_own_code_that_does_not_fit_is_refused(run_main, empty):
    write_own(empty)
    before = set(empty.iterdir())

    def refusal(named, *arguments):
        result = run_main(*arguments)
        left = set(empty.iterdir()) - before - {empty / "__pycache__"}
        assert (result.code, left) == (2, set()), result.err
        assert len(result.err.strip().splitlines()) <= 5
        for part in named.split("; "):
            assert part in result.err

    refusal("7x5", "model=gan", "data=oblong", "trainer.batch_size=8")
    refusal("model.depth; own.Needs; input_shape", "model=own")
    refusal("own.Net; there is no", "model=own", "model._target_=own.Net")
    refusal("own.untyped; annotated", "model=own", "model._target_=own.untyped")
    refusal("model.widths; no such key", "model._target_=own.Needs")


def test_memory_that_runs_out_in_training_ends_with_7_and_says_what_to_lower(run_main, empty):
    write_own(empty)
    result = run_main("model=own", "model._target_=own.Hungry", "trainer=smoke", "run.dir=run")
    assert result.code == 7
    assert "trainer.batch_size=16" in result.err
    assert '"status": "failed"' in (empty / "run" / "summary.json").read_text()


def test_numbers_that_explode_end_with_5_and_keep_the_last_good_checkpoint(run_main, empty):
    result = run_main("optimizer=sgd", "optimizer.lr=1e30", "trainer=smoke", "run.dir=run")
    assert result.code == 5
    assert "player 'model'" in result.err
    assert "checkpoint" in result.err
    assert len(result.err.strip().splitlines()) <= 5


def test_a_run_folder_that_exists_is_never_written_over(run_main, empty):
    (empty / "run").mkdir()
    (empty / "run" / "precious").write_text("mine")
    result = run_main("run.dir=run", "trainer=smoke")
    assert result.code == 2
    assert "name one that does not exist yet" in result.err
    assert [path.name for path in (empty / "run").iterdir()] == ["precious"]
    (empty / "run" / "config.yaml").write_text("seed: 0\n")  # then it is a run
    result = run_main("run.dir=run", "trainer=smoke")
    assert result.code == 2
    assert "train trainer.resume=run" in result.err


@pytest.mark.parametrize("typed", ["run.dir=file", "run.dir=file/run", "run.root=file"])
def test_a_file_where_a_folder_is_to_be_is_named(typed, run_main, empty):
    (empty / "file").write_text("mine")
    result = run_main(typed, "trainer=smoke")
    assert result.code in (2, 6)
    assert "file" in result.err
    assert "trainer.resume" not in result.err
    assert (empty / "file").read_text() == "mine"


def test_debug_shows_the_traceback(run_main):
    result = run_main("--debug", "trainer.epochs=ten")
    assert result.code == 2
    assert "Traceback" in result.err
    assert "error: trainer.epochs='ten'" in result.err


def test_a_bug_in_own_code_shows_where(run_main, empty):
    write_own(empty)
    result = run_main("model=own", "model._target_=own.Broken")
    assert result.code == 2
    assert "own.py:" in result.err
    assert "model: own.Broken fails when it is made" in result.err
    assert "Traceback" not in result.err
    assert "Traceback" in run_main("--debug", "model=own", "model._target_=own.Broken").err


def test_a_config_of_ones_own_that_is_no_yaml_is_refused(run_main, empty):
    (empty / "configs" / "model").mkdir(parents=True)
    (empty / "configs" / "model" / "torn.yaml").write_text("_target_: [mine.Net\n")
    result = run_main("model=torn")
    assert result.code == 2
    assert "YAML" in result.err
    assert len(result.err.strip().splitlines()) <= 5


@given(
    st.text(max_size=30),
    st.lists(st.text("abcdefgh_", min_size=1, max_size=25), unique=True, max_size=40),
)
@settings(max_examples=20, deadline=None, derandomize=True, database=None)
def test_all_that_there_is_stands_in_four_lines_the_nearest_first(name, options):
    text = choices("model accepts", name, options)
    listed = " ".join(text.split()).removeprefix("model accepts: ").split(", ")
    assert sorted(listed) == (sorted(options) or ["nothing"])
    assert len(text.splitlines()) <= 4
    if "\n" in text and name in options:
        assert listed[0] == name


def test_a_similar_key_is_found_by_its_last_name_and_by_initials():
    sections = {"": ["seed", "optimizer"], "optimizer": ["lr", "betas"], "trainer": ["steps"]}
    assert similar_key("lr", sections) == "optimizer.lr"
    assert similar_key("optimizer.learning_rate", sections) == "optimizer.lr"
    assert similar_key("optimiser.betas", sections) == "optimizer.betas"
    assert similar_key("trainer.step", sections) == "trainer.steps"
    assert similar_key("zebra", sections) is None
    sections["trainer"] = ["steps", "rollback", "max_skips", "early_stopping"]
    assert similar_key("trainer.callbacks", sections) is None, "rollback is another word"
    assert similar_key("trainer.skips", sections) is None
    assert similar_key("trainer.max_steps", sections) == "trainer.steps"
    assert similar_key("trainer.erly_stoping", sections) == "trainer.early_stopping"
