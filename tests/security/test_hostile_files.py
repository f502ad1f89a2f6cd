"""Files that someone made to do harm. Each is refused, and its canary lives.

The canaries: a file that the attack would make, read or replace; and Python's own audit events,
which tell of every pickle, process, connection and eval while the file is being read.
"""

import contextlib
import gzip
import io
import json
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image, PngImagePlugin

from trainwright.config.plan import Plan
from trainwright.data.images.decode import BadImageError, decode_image
from trainwright.data.sources import cifar, idx
from trainwright.data.sources.folder import load_folder
from trainwright.engine.checkpoint import checkpoint
from trainwright.errors import TrainwrightError
from trainwright.inference.trained import load_trained
from trainwright.runs.folder import RunFolder

FORBIDDEN = {
    "os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect",
    "socket.getaddrinfo", "urllib.Request", "pickle.find_class", "webbrowser.open",
    "os.symlink", "os.link", "ftplib.connect", "os.putenv",
}  # fmt: skip
RUN = (
    "model=mlp", "model.widths=[8]", "trainer.steps=2", "trainer.batch_size=8", "data.limit=40",
    "trainer.evaluate_every=1", "trainer.save_every=1", "trainer.sample_every=0",
    "schedule=constant",
)  # fmt: skip
OUR_DECODER = ["-P", "-m", "trainwright.data.images.decoder"]  # what images are decoded in
SECRET = "canary-of-the-environment"
seen: list[str] = []
watching = False


def watch(event, arguments):
    if not watching or event not in FORBIDDEN:
        return
    if event != "subprocess.Popen" or list(arguments[1])[1:] != OUR_DECODER:
        seen.append(f"{event} {arguments!r}"[:200])


sys.addaudithook(watch)  # cannot be removed again, so it is switched on and off


@pytest.fixture(scope="module")
def whole(train, tmp_path_factory):
    folder = train(tmp_path_factory.mktemp("whole") / "run", *RUN).folder
    return checkpoint.load(folder / "checkpoints" / "last.safetensors")


class Attack:
    """A place for one hostile file, what to read it with, and the canaries around it."""

    def __init__(self, folder, whole, resume):
        self.folder, self.whole, self.resume = folder, whole, resume
        self.canary = folder / "canary"
        self.precious = folder / "precious"
        self.precious.write_text("untouched")
        self.run = folder / "run"
        self.last = self.run / "checkpoints" / "last.safetensors"
        for part in ("checkpoints", "samples", "plots"):
            (self.run / part).mkdir(parents=True)
        self.images = folder / "images"
        self.images.mkdir()
        for number in range(6):
            Image.new("L", (8, 8), number * 40).save(self.images / f"{number}.png")

    def signed(self, change):
        """A checkpoint that is whole and signed: its digest proves nothing about its maker."""
        tensors, metadata = self.whole
        metadata = json.loads(json.dumps(metadata))
        metadata.pop("format")
        change(metadata)
        checkpoint.save([self.last], tensors, metadata)
        return self.go_on

    def with_target(self, section, target, **keys):
        def change(metadata):
            place = metadata["config"]
            for key in section.split("."):
                place = place.setdefault(key, {})
            place.clear()
            place.update({"_target_": target, **keys})

        return self.signed(change)

    def go_on(self):
        failures = []
        for read in (
            lambda: self.resume(self.run, "trainer.steps=4"),
            lambda: load_trained(self.last),
        ):
            try:
                read()
            except TrainwrightError as error:
                failures.append(error)
        if len(failures) == 2:
            raise failures[0]

    def read_images(self):
        """As a run does, in processes of its own; but first in this one, which is watched."""
        for path in sorted(self.images.iterdir()):
            if path.is_file() and not path.is_symlink():
                with contextlib.suppress(BadImageError):
                    decode_image(path, size=8, channels=1, fit="crop")
        return load_folder(
            path=str(self.images), size=8, channels=1, root=str(self.folder / "cache"),
            validation=1, test=1,
        )  # fmt: skip


class Harm:
    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


def pickled(attack):
    attack.last.write_bytes(pickle.dumps(Harm(attack.canary)))
    return attack.go_on


def torch_saved(attack):
    torch.save({"weights": Harm(attack.canary)}, attack.last)
    return attack.go_on


def pickled_after_a_header(attack):
    body = pickle.dumps(Harm(attack.canary))
    head = json.dumps({"__metadata__": {"trainwright": "{}", "sha256": "0"}}).encode()
    attack.last.write_bytes(struct.pack("<Q", len(head)) + head + body)
    return attack.go_on


def target(section, name, **keys):
    def made(attack):
        filled = {key: value.format(canary=attack.canary) for key, value in keys.items()}
        return attack.with_target(section, name, **filled)

    return made


def trusting_itself(attack):
    def change(metadata):
        metadata["config"]["trust"] = ["os.system", "subprocess.Popen"]
        metadata["config"]["model"] = {"_target_": "os.system", "command": f"touch {attack.canary}"}

    return attack.signed(change)


def reading_the_environment(attack):
    def change(metadata):
        metadata["config"]["data"]["root"] = "${oc.env:TRAINWRIGHT_TEST_SECRET}"

    return attack.signed(change)


def a_network_beyond_all_memory(attack):
    return attack.signed(lambda m: m["config"]["model"].update(widths=[2**40, 2**40]))


def a_network_of_another_size(attack):
    return attack.signed(lambda m: m["config"]["model"].update(widths=[20_000, 20_000]))


def an_image_shape_beyond_all_memory(attack):
    def enlarge(metadata):
        metadata["data"]["columns"]["inputs"]["size"] = [2**20, 2**20, 2**10]

    return attack.signed(enlarge)


def endless_steps(attack):
    return attack.signed(lambda m: m["progress"].update(step=2**60))


def a_bomb_in_the_metadata(attack):
    tensors, metadata = attack.whole
    nested = []
    for _ in range(500):
        nested = [nested]
    checkpoint.save([attack.last], tensors, {**metadata, "config": nested})
    return attack.go_on


def a_hook_that_is_a_class(attack):
    return attack.signed(lambda m: m.update(hooks={"EarlyStop": "os.system"}))


def header_of(lie):
    def made(attack):
        text = json.dumps(lie).encode()
        attack.last.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 8)
        return attack.go_on

    return made


def a_tensor_of_4_exabytes(attack):
    return header_of({"a": {"dtype": "F32", "shape": [2**60], "data_offsets": [0, 8]}})(attack)


def a_shape_that_nothing_can_hold(attack):
    """Of a tensor without bytes, so that the file is as long as it says."""
    shape = [0, 2**62, 2**62]
    tensor = {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}
    rest = {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]}
    return header_of({"a": tensor, "b": rest})(attack)


def half_a_pair_of_letters(attack):
    """What JSON can say, and no file or screen can show."""
    return header_of(
        {
            "__metadata__": {"trainwright": "{}", "sha256": "\ud800"},
            "\ud800": {"dtype": "U8", "shape": [8], "data_offsets": [0, 8]},
        }
    )(attack)


def half_a_pair_of_letters_in_a_name(attack):
    return attack.signed(lambda m: m.update(name="\ud800"))


def a_checkpoint_that_is_a_link(attack):
    attack.last.symlink_to("/etc/passwd")
    return attack.go_on


def a_checkpoint_that_is_a_device(attack):
    attack.last.symlink_to("/dev/zero")
    return attack.go_on


# Archives and compressed files


def archive(*members):
    """A CIFAR-10 archive with these members: (name, type, size or contents, link)."""

    def made(attack):
        path = attack.folder / "cifar.tar.gz"
        with tarfile.open(path, "w:gz") as made:
            for name, kind, content, link in members:
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, link.format(precious=attack.precious)
                member.size = len(content)
                made.addfile(member, io.BytesIO(content) if content else None)
        return lambda: cifar.read_archive(path)

    return made


def an_archive_of_many(attack):
    return archive(*((f"{n}", tarfile.REGTYPE, b"x", "") for n in range(50)))(attack)


def an_archive_that_is_endless(attack):
    path = attack.folder / "cifar.tar.gz"
    member = tarfile.TarInfo("a")
    member.size = 2**40
    with gzip.open(path, "wb") as file:
        file.write(member.tobuf() + b"\0" * 10**6)
    return lambda: cifar.read_archive(path)


def idx_file(data, *, packed=True):
    def made(attack):
        path = attack.folder / ("a.gz" if packed else "a")
        path.write_bytes(gzip.compress(data, 9) if packed else data)
        return lambda: idx.read_idx(path)

    return made


HEADER = bytes((0, 0, 8, 3))


# Images


def image(name, data):
    def made(attack):
        (attack.images / name).write_bytes(data)
        return attack.read_images

    return made


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, *chunks, packed=b""):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = b"".join(chunks) + chunk(b"IDAT", packed or zlib.compress(b"")) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + body


def thirteen_thousand_squared():
    """20 kB that become 169 million pixels: Pillow alone only warns, and takes half a gigabyte."""
    packer, rows = zlib.compressobj(9), []
    row = b"\0" + b"\0" * (13_000 // 8)
    for _ in range(13_000):
        rows.append(packer.compress(row))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 13_000, 13_000, 1, 0, 0, 0, 0))
    data = chunk(b"IDAT", b"".join(rows) + packer.flush())
    return b"\x89PNG\r\n\x1a\n" + head + data + chunk(b"IEND", b"")


def text_bomb():
    bomb = b"comment\0\0" + zlib.compress(b"\0" * 200_000_000, 9)
    return png(8, 8, chunk(b"zTXt", bomb), packed=zlib.compress(b"\0" * 72))


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(canary) (w) file closefile\n"
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'


def linked_image(attack):
    (attack.images / "9.png").symlink_to(attack.precious)
    return attack.read_images


def linked_folder(attack):
    outside = attack.folder / "outside"
    outside.mkdir()
    Image.new("L", (8, 8)).save(outside / "a.png")
    for name in ("cat", "dog"):
        (attack.images / name).mkdir()
    for number in range(6):
        (attack.images / f"{number}.png").rename(attack.images / "cat" / f"{number}.png")
    (attack.images / "dog").rmdir()
    (attack.images / "dog").symlink_to(outside)
    return attack.read_images


def a_pipe(attack):
    os.mkfifo(attack.images / "9.png")
    return attack.read_images


def a_cache_with_a_pickle(attack):
    attack.read_images()
    cache = next((attack.folder / "cache" / "folder-cache").iterdir())
    with (cache / "labels.npy").open("wb") as file:
        import numpy as np

        np.save(file, np.array([Harm(attack.canary)], dtype=object), allow_pickle=True)
    return attack.read_images


ATTACKS = {
    "a pickle": pickled,
    "what torch.save made": torch_saved,
    "a pickle behind a header": pickled_after_a_header,
    "model os.system": target("model", "os.system", command="touch {canary}"),
    "model builtins.open": target("model", "builtins.open", file="{canary}", mode="w"),
    "model builtins.exec": target("model", "builtins.exec", source="open('{canary}', 'w')"),
    "model logging.os.system": target("model", "logging.os.system", command="touch {canary}"),
    "model subprocess.Popen": target("model", "subprocess.Popen", args="touch {canary}"),
    "model torch.hub.load": target("model", "torch.hub.load", repo_or_dir="a/b", model="c"),
    "model torch.load": target("model", "torch.load", f="{canary}"),
    "model torch.jit.load": target("model", "torch.jit.load", f="{canary}"),
    "model urlretrieve": target(
        "model", "urllib.request.urlretrieve", url="http://127.0.0.1:9/", filename="{canary}"
    ),
    "task antigravity": target("task", "antigravity.geohash"),
    "optimizer os.system": target("optimizer", "os.system", command="touch {canary}"),
    "optimizer.others": target("optimizer.others", "os.system", command="touch {canary}"),
    "schedule shutil.rmtree": target("schedule", "shutil.rmtree", path="{canary}"),
    "data pickle.load": target("data", "pickle.load", file="{canary}"),
    "nested in the model": target("model.extra", "os.system", command="touch {canary}"),
    "a config that trusts itself": trusting_itself,
    "a config that reads the environment": reading_the_environment,
    "a network beyond all memory": a_network_beyond_all_memory,
    "a network larger than its checkpoint": a_network_of_another_size,
    "images beyond all memory": an_image_shape_beyond_all_memory,
    "endless steps": endless_steps,
    "a bomb in the metadata": a_bomb_in_the_metadata,
    "a hook that is a class": a_hook_that_is_a_class,
    "a tensor of 4 exabytes": a_tensor_of_4_exabytes,
    "a shape that nothing can hold": a_shape_that_nothing_can_hold,
    "half a pair of letters": half_a_pair_of_letters,
    "half a pair of letters in a name": half_a_pair_of_letters_in_a_name,
    "a checkpoint that is a link": a_checkpoint_that_is_a_link,
    "a checkpoint that is a device": a_checkpoint_that_is_a_device,
    "an archive that climbs": archive(("../canary", tarfile.REGTYPE, b"x", "")),
    "an absolute archive": archive(("/tmp/canary-of-trainwright", tarfile.REGTYPE, b"x", "")),
    "an archive with a symbolic link": archive(
        (cifar.TEST_MEMBER, tarfile.SYMTYPE, b"", "{precious}")
    ),
    "an archive with a hard link": archive((cifar.TEST_MEMBER, tarfile.LNKTYPE, b"", "{precious}")),
    "an archive with a device": archive((cifar.TEST_MEMBER, tarfile.CHRTYPE, b"", "")),
    "an archive of another size": archive((cifar.TEST_MEMBER, tarfile.REGTYPE, b"x" * 99, "")),
    "an archive of many": an_archive_of_many,
    "an archive that is endless": an_archive_that_is_endless,
    "a gzip bomb": idx_file(HEADER + struct.pack(">3I", 1, 1, 9) + b"\0" * 50_000_000),
    "an idx of 2^96 bytes": idx_file(HEADER + struct.pack(">3I", *[2**32 - 1] * 3) + b"\0" * 99),
    "an idx of nothing": idx_file(HEADER + struct.pack(">3I", 0, 0, 0), packed=False),
    "an idx of pickles": idx_file(bytes((0, 0, 0x0E, 1)) + struct.pack(">I", 9), packed=False),
    "a small png of 13,000² pixels": image("9.png", thirteen_thousand_squared()),
    "a png of 2^31 pixels a side": image("9.png", png(2**31 - 1, 2**31 - 1)),
    "a png with a bomb of text": image("9.png", text_bomb()),
    "postscript named png": image("9.png", POSTSCRIPT),
    "svg named png": image("9.png", SVG),
    "a link to a file outside": linked_image,
    "a link to a folder outside": linked_folder,
    "a pipe named png": a_pipe,
    "a cache with a pickle": a_cache_with_a_pickle,
}


def test_the_corpus_is_as_large_as_we_say():
    assert len(ATTACKS) >= 30


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", ATTACKS)
def test_a_hostile_file_is_refused_and_its_canary_lives(
    name, whole, resume, tmp_path, monkeypatch, capfd
):
    global watching
    monkeypatch.setenv("TRAINWRIGHT_TEST_SECRET", SECRET)
    attack = Attack(tmp_path, whole, resume)
    read = ATTACKS[name](attack)
    seen.clear()
    watching = True
    try:
        with pytest.raises(TrainwrightError) as caught:
            read()
    finally:
        watching = False
    text = str(caught.value)
    assert seen == []
    assert not attack.canary.exists()
    assert attack.precious.read_text() == "untouched"
    assert len(text.splitlines()) <= 5
    assert SECRET not in text + capfd.readouterr().out
    assert "\x1b" not in text


def test_a_checkpoint_that_nobody_has_touched_is_read(tmp_path, whole, resume):
    """The negative control: it is the attack that is refused, not the way it is brought."""
    Attack(tmp_path, whole, resume).signed(lambda metadata: None)()
    assert (tmp_path / "run" / "summary.json").exists()


def test_the_canaries_die_where_nothing_protects_them(tmp_path, whole, resume):
    """The negative control: the same pickle, read as other tools do, leaves its mark."""
    global watching
    attack = Attack(tmp_path, whole, resume)
    pickled(attack)
    seen.clear()
    watching = True
    pickle.loads(attack.last.read_bytes())
    watching = False
    assert attack.canary.exists()
    assert {event.split()[0] for event in seen} >= {"pickle.find_class", "os.system"}


ALIASES = (
    "logging.os.system", "builtins.open", "torch.hub.load", "subprocess.Popen", "os.system",
    "urllib.request.urlretrieve", "torch.load", "pickle.loads",
)  # fmt: skip


@pytest.mark.slow
def test_an_alias_is_refused_in_a_config_of_ones_own_too(train, tmp_path):
    for name in ALIASES:
        for key in ("model", "optimizer", "schedule", "data", "task"):
            with pytest.raises(TrainwrightError, match=name.replace(".", r"\.")):
                train(tmp_path / "run", f"{key}._target_={name}")
    assert not (tmp_path / "run").exists()


def test_what_comes_from_the_environment_is_used_and_not_written_down(
    train, resume, tmp_path, monkeypatch
):
    monkeypatch.setenv("TRAINWRIGHT_TEST_PLACE", str(tmp_path / SECRET / f"photos-{SECRET}"))
    monkeypatch.chdir(tmp_path)
    images = tmp_path / SECRET / f"photos-{SECRET}"  # a dataset is named by its own folder
    images.mkdir(parents=True)
    for number in range(20):
        Image.new("L", (8, 8), number * 10).save(images / f"{number}.png")
    folder = train(
        tmp_path / "run", "data=folder", "data.path=${oc.env:TRAINWRIGHT_TEST_PLACE}",
        f"data.root={tmp_path / 'cache'}", "data.size=8", "data.channels=1", "model=mlp_gan",
        "trainer.steps=2", "trainer.batch_size=4", "data.validation=2", "data.test=2",
    ).folder  # fmt: skip
    assert holding_the_secret(folder) == []
    resume(
        folder, "++data.path=${oc.env:TRAINWRIGHT_TEST_PLACE}", "trainer.steps=4",
        "trainer.schedule_until=100%",
    )  # fmt: skip
    assert holding_the_secret(folder) == []
    assert "data.path=${oc.env:TRAINWRIGHT_TEST_PLACE}" in (folder / "overrides.txt").read_text()
    assert OmegaConf.load(folder / "config.yaml").data.path is None


def holding_the_secret(folder):
    """The files below a folder, there must be some, in which the secret stands."""
    written = [path for path in folder.rglob("*") if path.is_file()]
    assert len(written) > 4
    return [path for path in written if SECRET.encode() in path.read_bytes()]


@pytest.mark.slow
def test_nor_by_the_commands_themselves_nor_in_any_file_of_a_sweep(tmp_path):
    """Hydra resolves what was typed when it is asked for it, and a sweep freezes its configs."""
    images = tmp_path / f"photos-{SECRET}"
    images.mkdir()
    for number in range(20):
        Image.new("L", (8, 8), number * 10).save(images / f"{number}.png")
    (tmp_path / "work").mkdir()
    words = (
        "data=folder", "data.path=${oc.env:PLACE}", "data.root=${oc.env:ROOT}", "data.size=8",
        "data.channels=1", "data.validation=2", "data.test=2", "model=mlp_gan", "task.score=none",
        "trainer.steps=2", "trainer.batch_size=4", "trainer.plots=false",
    )  # fmt: skip
    environment = {**os.environ, "PLACE": str(images), "ROOT": str(tmp_path / SECRET)}
    train = Path(sys.executable).with_name("train")
    for more in ((), ("-m", "optimizer.lr=1e-3,1e-4")):
        done = subprocess.run(
            [train, *words, *more], cwd=tmp_path / "work", env=environment, capture_output=True,
            text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "work").rglob("summary.json"))) == 3
    assert holding_the_secret(tmp_path / "work") == []


def test_what_a_run_would_have_to_keep_must_not_come_from_the_environment(composed, monkeypatch):
    monkeypatch.setenv("TRAINWRIGHT_TEST_SECRET", "0.125")
    for typed in (
        ["optimizer.lr=${oc.env:TRAINWRIGHT_TEST_SECRET}"],
        ["data.root=${oc.env:TRAINWRIGHT_TEST_SECRET}", "optimizer.lr=${data.root}"],
        ["model.activation=${oc.env:TRAINWRIGHT_TEST_NONE,relu}"],
    ):
        config = composed("data=mnist", *typed)
        with pytest.raises(TrainwrightError, match="comes from the environment") as caught:
            Plan.of(config)
        assert "0.125" not in str(caught.value)


def test_the_name_of_a_run_cannot_leave_the_outputs_folder(tmp_path):
    root = tmp_path / "outputs"
    names = ("../../x", "/etc/x", "..", ".", "a\0b", "a\nb", "a\x1b[2Jb", "x" * 5000, "~/x", "")
    for name in names:
        folder = RunFolder.create(root, name).path
        assert folder.resolve().is_relative_to(root.resolve())
        assert folder.parent.parent == root
        assert folder.name.isprintable()
        assert len(folder.name) < 130
    assert [p.name for p in tmp_path.iterdir()] == ["outputs"]


def test_metadata_of_a_png_is_no_way_in(tmp_path, whole, resume):
    """Text chunks are read by nobody."""
    attack = Attack(tmp_path, whole, resume)
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "__import__('os').system('touch canary')")
    Image.new("L", (8, 8), 77).save(attack.images / "9.png", pnginfo=info)
    assert len(attack.read_images().train) == 5
