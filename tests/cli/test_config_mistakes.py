"""300 mistakes in real command lines: each refused in a few lines, before anything is done.

All are slow: some of every kind are in the fast suite with test_refusals.py.
"""

import functools
import random
import socket
import string

import pytest

from trainwright.config.compose import keys_of, register_schema

pytestmark = pytest.mark.slow
NUM_MISTAKES = 300
LINES = (
    "", "model=gan data=mnist", "model=cnn data=mnist optimizer.lr=3e-3", "model=mlp data=tabular",
    "model=resnet data=cifar10 trainer.epochs=2", "data=diabetes", "experiment=mnist_cnn",
    "optimizer=muon schedule=one_cycle data=kmnist", "model=mlp_gan data=fashion_mnist",
    "trainer=smoke model=cnn", "optimizer=sgd schedule=step schedule.warmup=5%",
)  # fmt: skip
# Keys and values that none of these lines could run with.
WRONG = (
    "optimizer.lr=-1", "optimizer.lr=nan", "optimizer.lr=1e400", "optimizer.lr=fast",
    "optimizer.lr=true", "optimizer.lr=[1]", "optimizer.lr={a: 1}", "optimizer.weight_decay=-0.1",
    "optimizer.l1=-1", "optimizer.l1=much", "optimizer.players=[1]", "optimizer.players={x: 5}",
    "schedule.warmup=200%", "schedule.warmup=soon", "schedule.warmup=-1", "schedule.warmup=[]",
    "trainer.epochs=0", "trainer.epochs=-3", "trainer.epochs=.inf", "trainer.epochs=many",
    "trainer.batch_size=0", "trainer.batch_size=1.5", "trainer.batch_size=-64",
    "trainer.batch_size=x", "trainer.batch_size=null", "trainer.accumulate=0",
    "trainer.accumulate=7", "trainer.precision=fp8", "trainer.precision=16",
    "trainer.device=gpu", "trainer.device=cuda:99", "trainer.device=7", "trainer.threads=0",
    "trainer.threads=two", "trainer.memory_format=rows", "trainer.deterministic=perhaps",
    "trainer.clip_norm=0", "trainer.clip_norm=-1", "trainer.ema=1", "trainer.ema=-0.5",
    "trainer.ema=yes", "trainer.log_every=often", "trainer.log_every=-5",
    "trainer.evaluate_every=1 eon", "trainer.save_every=[1]", "trainer.sample_every=nan",
    "trainer.evaluate_batch_size=0", "trainer.early_stopping=5",
    "trainer.early_stopping.patience=0", "trainer.early_stopping.mode=up",
    "trainer.early_stopping.min_delta=-1", "trainer.on_nonfinite=ignore", "trainer.max_skips=0",
    "trainer.rollback.factor=0", "trainer.rollback.factor=2", "trainer.rollback.limit=none",
    "trainer.steps=0", "trainer.steps=2.5", "trainer.steps=3 trainer.epochs=3",
    "trainer.early_stopping.patience=2 trainer.evaluate_every=0",
    "trainer.early_stopping.patience=2 trainer.early_stopping.metric=mape",
    "seed=x", "seed=1.5", "seed=null", "seed=true", "seed=[1]", "run=3", "run.name=",
    "run.root=null", "trust=mine.Net", "trust=[1]", "data=null", "model=null", "~optimizer",
    "~schedule", "~data", "~trainer", "~task", "data.validation=-1", "data.validation=1.5",
    "data.validation=half", "data.limit=0", "data.limit=-3", "data.limit=few", "data.limit=1.5",
    "data.split_seed=x", "data.split_seed=null", "model._target_=builtins.open",
    "model._target_=5", "model._target_=null", "model._target_=mine..Net",
    "optimizer._target_=torch.optim.Adamant", "schedule._target_=trainwright.engine.schedule",
)  # fmt: skip
CYCLES = (
    "optimizer.lr=${optimizer.lr}", "seed=${seed}", "trainer.epochs=${trainer.batch_size} "
    "trainer.batch_size=${trainer.epochs}", "optimizer.lr=${nope}", "optimizer.lr=${nope:1}",
    "optimizer.lr=${oc.env:TRAINWRIGHT_NOT_SET}", "model=${data}", "seed=${", "seed=${}",
    "run.name=${run.name}", "trainer=${trainer}", "optimizer.lr='${oc.decode:[}'",
)  # fmt: skip
OPTIONS = ("lion", "mlp2", "gam", "cosin", "adamm", "minst", "-", "..", "../secret", "a/b", "Adam")
FILES = {
    "tabs": "_target_: mine.Net\n\twidth: 3\n",
    "open bracket": "widths: [1, 2\n",
    "open quote": "_target_: 'mine.Net\n",
    "a list": "- 1\n- 2\n",
    "a word": "hello\n",
    "a number": "5\n",
    "empty": "",
    "bytes": b"\xff\xfe\x00\x01\x80",
    "a null byte": b"width: \x00\n",
    "two documents": "a: 1\n---\nb: 2\n",
    "a duplicate key": "_target_: mine.Net\nwidth: 1\nwidth: 2\n",
    "a tag": "!!python/object/apply:os.system ['touch canary']\n",
    "a tag within": "width: !!python/object/apply:os.system ['touch canary']\n",
    "an unknown anchor": "width: *nowhere\n",
    "deep": "a: " + "[" * 3000 + "]" * 3000,
    "a missing default": "defaults: [nowhere, _self_]\n",
    "itself as a default": "defaults: [mine, _self_]\n",
    "defaults that are a number": "defaults: 5\n",
    "a default of a missing group": "defaults: [/nowhere: x]\n",
    "a cycle": "width: ${model.height}\nheight: ${model.width}\n_target_: mine.Net\n",
    "no target": "width: 3\n",
    "a module that is missing": "_target_: nowhere.Net\n",
    "an alias": "_target_: logging.os.system\ncommand: touch canary\n",
    "a class that is none": "_target_: collections.Counter\n",
}


def typo(random_, name):
    """The name with one letter dropped, doubled, swapped or replaced."""
    at = random_.randrange(len(name))
    kind = random_.randrange(4)
    if kind == 0 and len(name) > 1:
        return name[:at] + name[at + 1 :]
    if kind == 1:
        return name[: at + 1] + name[at:]
    if kind == 2 and at + 1 < len(name):
        return name[:at] + name[at + 1] + name[at] + name[at + 2 :]
    return name[:at] + random_.choice(string.ascii_lowercase) + name[at + 1 :]


@functools.cache
def mistakes():
    """(what kind, the command line, the name that must be in the message or None)."""
    register_schema()
    draw = random.Random(0)
    found, every_key = [], {}
    for line in LINES:
        sections = keys_of(line.split())
        every_key[line] = [f"{s}.{k}" if s else k for s, keys in sections.items() for k in keys]
    known = set()

    def add(kind, line, named):
        if line not in known:
            known.add(line)
            found.append((kind, line, named))

    while len(found) < 90:
        line = draw.choice(LINES)
        key = draw.choice([k for k in every_key[line] if not k.startswith("optimizer.players")])
        parent, _, name = key.rpartition(".")
        wrong = typo(draw, name)
        key_there = f"{parent}.{wrong}" if parent else wrong
        if wrong and key_there not in every_key[line] and wrong[0].isalpha():
            add("key", f"{line} {key_there}=1", name if len(name) > 4 else None)
    groups = ("data", "model", "task", "optimizer", "schedule", "trainer", "experiment")
    while len(found) < 120:
        group = draw.choice(groups)
        wrong = typo(draw, group)
        if wrong not in groups:
            add("group", f"{wrong}={draw.choice(OPTIONS)}", group)
    while len(found) < 160:
        group, option = draw.choice(groups), draw.choice(OPTIONS)
        add("option", f"{draw.choice(LINES)} {group}={option}", group)
    for kind, wrongs in (("value", WRONG), ("cycle", CYCLES)):
        for wrong in wrongs:
            add(kind, f"{draw.choice(LINES)} {wrong}", None)
    for name in FILES:
        add("file", f"model=mine#{name}", None)
    while len(found) < NUM_MISTAKES:
        line, flag = draw.choice(LINES), draw.choice(("--cfg", "--lr", "-x", "mlp", "lr 3", "=5"))
        add("shell", f"{line} {flag} {draw.randrange(99)}", None)
    return found


def test_there_are_as_many_mistakes_as_we_say_and_all_differ():
    assert len({line for _, line, _ in mistakes()}) == len(mistakes()) == NUM_MISTAKES


def split(line):
    """As a shell would, with every mistake's own blanks kept: they come last."""
    return [word for word in line.split(" ") if word]


@pytest.mark.parametrize("number", range(NUM_MISTAKES))
def test_a_mistake_is_refused_before_anything_is_made_or_fetched(
    run_main, empty, monkeypatch, number
):
    def refuse(*address):
        raise AssertionError(f"something was to be fetched: {address}")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setenv("TRAINWRIGHT_DATA", str(empty / "data"))
    _, line, named = mistakes()[number]
    line, _, file = line.partition("#")
    if file:
        path = empty / "configs" / "model" / "mine.yaml"
        path.parent.mkdir(parents=True)
        text = FILES[file]
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    result = run_main(*split(line))
    assert result.code == 2, (result.code, result.err)
    assert "Traceback" not in result.err
    lines = result.err.strip().splitlines()
    assert lines[0].startswith("error")
    assert len(lines) <= 5
    assert sorted(p.name for p in empty.iterdir()) == (["configs"] if file else [])
    if named is not None:
        assert named in result.err


def test_the_check_fails_for_a_line_that_has_no_mistake(run_main, empty):
    """The negative control: what is right is not refused, and leaves a folder."""
    result = run_main("trainer=smoke", "model.widths=[8]", "trainer.plots=false")
    assert result.code == 0
    assert [p.name for p in empty.iterdir()] == ["outputs"]
