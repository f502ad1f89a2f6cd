import json
import os
import runpy
import shutil
import struct
import subprocess
import sys
import time
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from trainwright.data.images.decode import BadImageError, decode_image
from trainwright.data.sources.folder import load_folder
from trainwright.errors import ConfigError, DataError, DiskError
from trainwright.inference.export.source import IMAGE, write_module


def noise(seed, size=(12, 10), mode="RGB"):
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def fill_class(folder, count, *, seed=0, suffix="png", size=(12, 10)):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        noise(seed + number, size).save(folder / f"{number:03}.{suffix}")


def load(tmp_path, **settings):
    return load_folder(
        path=str(tmp_path / "images"), root=str(tmp_path / "root"), **{"size": 8, **settings}
    )


def sizes(dataset):
    return [len(part) for part in (dataset.train, dataset.validation, dataset.test)]


def decode(path, **settings):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return decode_image(path, **{"size": 8, "channels": 3, "fit": "stretch", **settings})


# Layouts


def test_class_folders_become_sorted_classes_in_stratified_splits(tmp_path):
    fill_class(tmp_path / "images" / "zebra", 20)
    fill_class(tmp_path / "images" / "ant", 10, seed=100, suffix="jpg")
    fill_class(tmp_path / "images" / "fly", 10, seed=200, suffix="webp")
    dataset = load(tmp_path, validation=0.1, test=0.2)
    assert dataset.info.class_names == ("ant", "fly", "zebra")
    assert sizes(dataset) == [28, 4, 8]
    assert torch.bincount(dataset.train.columns["targets"]).tolist() == [7, 7, 14]
    assert torch.bincount(dataset.test.columns["targets"]).tolist() == [2, 2, 4]
    assert dataset.info.input_shape == (3, 8, 8)
    assert dataset.train.columns["inputs"].dtype == torch.uint8


def test_each_image_keeps_its_own_class_and_pixels(tmp_path):
    for label, name in enumerate(("a", "b", "c")):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(8):
            grey = 80 * label + 5 * number
            Image.new("L", (8, 8), grey).save(tmp_path / "images" / name / f"{number}.png")
    dataset = load(tmp_path, channels=1, validation=3, test=3)
    found = []
    for part in (dataset.train, dataset.validation, dataset.test):
        assert torch.equal(
            part.columns["inputs"].amin((1, 2, 3)), part.columns["inputs"].amax((1, 2, 3))
        )
        assert torch.equal(part.columns["inputs"][:, 0, 0, 0] // 80, part.columns["targets"])
        found += part.columns["inputs"][:, 0, 0, 0].tolist()
    assert sorted(found) == [80 * label + 5 * n for label in range(3) for n in range(8)]


def test_split_folders_are_kept_and_only_what_is_missing_is_carved(tmp_path):
    for name in ("a", "b"):
        fill_class(tmp_path / "images" / "train" / name, 10)
        fill_class(tmp_path / "images" / "test" / name, 3, seed=50)
    assert sizes(load(tmp_path, validation=4)) == [16, 4, 6]
    for name in ("a", "b"):
        fill_class(tmp_path / "images" / "val" / name, 1, seed=90)
    assert sizes(load(tmp_path, validation=4)) == [20, 2, 6]


def test_train_beside_other_words_is_a_class(tmp_path):
    for name in ("bus", "car", "train"):
        fill_class(tmp_path / "images" / name, 4)
    assert load(tmp_path).info.class_names == ("bus", "car", "train")


def test_loose_images_have_no_targets(tmp_path):
    fill_class(tmp_path / "images", 10)
    dataset = load(tmp_path, validation=1, test=1, limit=5)
    assert sizes(dataset) == [5, 1, 1]
    assert dataset.info.target == "none"
    assert "targets" not in dataset.train.columns
    assert dataset.info.class_names == ()


def test_hidden_files_and_junk_are_ignored(tmp_path):
    fill_class(tmp_path / "images" / "a", 4)
    for name in (".DS_Store", "Thumbs.db", "a/.hidden.png", "a/desktop.ini"):
        (tmp_path / "images" / name).write_text("junk")
    (tmp_path / "images" / ".git").mkdir()
    (tmp_path / "images" / "__MACOSX").mkdir()
    assert sum(sizes(load(tmp_path))) == 4


def test_backup_copies_are_left_out_and_counted(tmp_path, caplog):
    fill_class(tmp_path / "images" / "a", 4)
    for name in ("1.png~", "2.png.bak", "3.orig", "4.PNG.OLD"):
        noise(0).save(tmp_path / "images" / "a" / name, format="png")
    (tmp_path / "images" / "notes.txt~").write_text("beside class folders")
    for _ in range(2):
        caplog.clear()
        assert sum(sizes(load(tmp_path))) == 4
        assert f"left out 5 backup copies in {tmp_path / 'images'}, such as" in caplog.text


def test_copies_in_several_splits_are_warned_of_now_and_later(tmp_path, caplog):
    """Of ten test images two are training images too, one by another name, one in another form."""
    for number, split in enumerate(("train", "val", "test")):
        fill_class(tmp_path / "images" / split / "a", 10, seed=100 * number)
    load(tmp_path)
    assert "copies" not in caplog.text
    train, test = (tmp_path / "images" / split / "a" for split in ("train", "test"))
    shutil.copy(train / "004.png", test / "003.png")
    with Image.open(train / "007.png") as image:
        image.save(test / "008.webp", lossless=True)
    (test / "008.png").unlink()
    shutil.copy(train / "000.png", train / "001.png")  # within a split: no matter
    for _ in range(2):
        caplog.clear()
        load(tmp_path)
        assert "2 of the 10 test images are pixel for pixel in a split before" in caplog.text
        assert "such as train/a/004.png and test/a/003.png" in caplog.text
        assert "validation images" not in caplog.text


def test_folders_of_another_form_are_refused_by_name(tmp_path):
    images = tmp_path / "images"
    with pytest.raises(DataError, match="does not exist"):
        load(tmp_path)
    images.write_text("x")
    with pytest.raises(DataError, match="is not a folder"):
        load(tmp_path)
    images.unlink()
    images.mkdir()
    with pytest.raises(DataError, match="holds no images"):
        load(tmp_path)
    (images / "empty").mkdir()
    fill_class(images / "full", 3)
    with pytest.raises(DataError, match=r"class folder .*empty holds no images"):
        load(tmp_path)
    (images / "empty").rmdir()
    noise(0).save(images / "loose.png")
    with pytest.raises(DataError, match=r"mixed: the image loose\.png"):
        load(tmp_path)
    (images / "loose.png").unlink()
    (images / "full" / "nested").mkdir()
    with pytest.raises(DataError, match="holds the folder nested"):
        load(tmp_path)


def test_a_class_of_the_test_folder_that_training_lacks_is_refused(tmp_path):
    fill_class(tmp_path / "images" / "train" / "a", 4)
    fill_class(tmp_path / "images" / "test" / "b", 4)
    with pytest.raises(DataError, match=r"class b, which train/ lacks"):
        load(tmp_path)


# Bad files


def make_bad(folder):
    (folder / "notes.txt").write_text("not an image")
    (folder / "page.png").write_text("<html>")
    good = (folder / "000.png").read_bytes()
    (folder / "cut.png").write_bytes(good[: len(good) // 2])
    Image.new("RGB", (8, 8)).save(folder / "anim.gif")
    os.mkfifo(folder / "pipe.png")
    (folder / "broken.png").symlink_to(folder / "nowhere.png")


def test_bad_files_are_counted_and_the_first_named_in_five_lines(tmp_path):
    fill_class(tmp_path / "images" / "a", 6)
    make_bad(tmp_path / "images" / "a")
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("6 of 12 files in ")
    assert lines[1:3] == [
        "  a/anim.gif: not a PNG, JPEG or WebP image",
        "  a/broken.png: No such file or directory",
    ]
    shown, every = lines[3].split(", all in ")
    assert shown == "  and 4 more"
    assert len(Path(every).read_text().splitlines()) == 6
    assert "data.on_bad=skip" in lines[4]
    assert len(lines) == 5
    assert list((tmp_path / "root" / "folder-cache").iterdir()) == [Path(every)]


def test_bad_files_can_be_skipped_with_a_count_now_and_later(tmp_path, caplog):
    fill_class(tmp_path / "images" / "a", 9)
    make_bad(tmp_path / "images" / "a")
    for _ in range(2):
        caplog.clear()
        assert sum(sizes(load(tmp_path, on_bad="skip", validation=2, test=2))) == 9
        assert "skipped 6 unreadable files" in caplog.text


def test_skipping_may_not_lose_a_class_or_a_split(tmp_path):
    fill_class(tmp_path / "images" / "a", 6)
    (tmp_path / "images" / "b").mkdir()
    (tmp_path / "images" / "b" / "x.png").write_text("no image")
    with pytest.raises(DataError, match="no readable image is left for 1 of its classes"):
        load(tmp_path, on_bad="skip")


def test_links_out_of_the_folder_are_not_followed(tmp_path):
    fill_class(tmp_path / "images" / "a", 4)
    fill_class(tmp_path / "elsewhere", 2)
    link = tmp_path / "images" / "a" / "link.png"
    link.symlink_to(tmp_path / "elsewhere" / "000.png")
    with pytest.raises(DataError, match=r"link\.png: a link that leads out of the folder"):
        load(tmp_path)
    link.unlink()
    link.symlink_to(tmp_path / "images" / "a" / "000.png")
    assert sum(sizes(load(tmp_path))) == 5
    (tmp_path / "images" / "b").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="link to a folder outside"):
        load(tmp_path)


def test_a_link_to_itself_is_a_bad_file(tmp_path):
    fill_class(tmp_path / "images" / "a", 4)
    (tmp_path / "images" / "a" / "round").symlink_to("round")
    with pytest.raises(DataError, match=r"a/round: Too many levels of symbolic links"):
        load(tmp_path)
    assert sum(sizes(load(tmp_path, on_bad="skip"))) == 4


def test_a_class_that_no_checkpoint_could_name_is_refused_before_any_training(tmp_path):
    fill_class(tmp_path / "images" / "a", 4)
    fill_class(tmp_path / "images" / "größe 日本", 4)
    assert load(tmp_path).info.class_names == ("a", "größe 日本")
    (tmp_path / "images" / "a").rename(os.fsdecode(os.fsencode(tmp_path / "images") + b"/caf\xe9"))
    with pytest.raises(DataError, match=r"caf\\udce9 is not UTF-8 text") as caught:
        load(tmp_path)
    str(caught.value).encode()


def test_names_of_any_bytes_are_read_and_shown_on_one_line(tmp_path):
    fill_class(tmp_path / "images" / "a", 4)
    folder = os.fsencode(tmp_path / "images" / "a")
    good = (tmp_path / "images" / "a" / "000.png").read_bytes()
    for name in (b"\xff\xfe.png", "größe 日本.png".encode()):
        with open(folder + b"/" + name, "wb") as file:  # noqa: PTH123
            file.write(good)
    assert sum(sizes(load(tmp_path))) == 6
    with open(folder + b"/new\nline\xff.png", "wb") as file:  # noqa: PTH123
        file.write(b"bad")
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    assert len(str(caught.value).splitlines()) == 3
    str(caught.value).encode()


# The cache


def test_a_second_run_opens_the_cache_without_decoding(tmp_path, capsys):
    fill_class(tmp_path / "images" / "a", 6)
    first = load(tmp_path)
    assert "decoding" in capsys.readouterr().err
    second = load(tmp_path)
    assert capsys.readouterr().err == ""
    assert torch.equal(first.train.columns["inputs"], second.train.columns["inputs"])
    assert first.info == second.info
    second.train.columns["inputs"][0] = 0  # private to this process
    assert torch.equal(first.train.columns["inputs"], load(tmp_path).train.columns["inputs"])


def test_splits_of_the_cache_are_windows_of_one_mapped_file(tmp_path):
    fill_class(tmp_path / "images" / "a", 10)
    dataset = load(tmp_path, validation=2, test=3)
    start = dataset.train.columns["inputs"].data_ptr()
    assert dataset.validation.columns["inputs"].data_ptr() == start + 5 * 3 * 8 * 8
    assert dataset.test.columns["inputs"].data_ptr() == start + 7 * 3 * 8 * 8
    assert "images.bin" in Path("/proc/self/maps").read_text()


def test_a_changed_file_or_setting_is_decoded_anew_and_limit_is_not(tmp_path):
    fill_class(tmp_path / "images" / "a", 10)
    cache = tmp_path / "root" / "folder-cache"
    before = load(tmp_path)
    load(tmp_path, limit=2)
    assert len(list(cache.iterdir())) == 1
    load(tmp_path, fit="pad")
    load(tmp_path, split_seed=1)
    assert len(list(cache.iterdir())) == 3
    Image.new("RGB", (12, 10), (255, 0, 0)).save(tmp_path / "images" / "a" / "000.png")
    after = load(tmp_path)
    assert len(list(cache.iterdir())) == 4
    assert not torch.equal(
        before.train.columns["inputs"], after.train.columns["inputs"]
    ) or not torch.equal(before.test.columns["inputs"], after.test.columns["inputs"])


@pytest.mark.parametrize("name", ["images.bin", "labels.npy", "index.json"])
def test_a_damaged_cache_is_a_data_error_with_the_remedy(tmp_path, name):
    fill_class(tmp_path / "images" / "a", 6)
    load(tmp_path)
    (cache,) = (tmp_path / "root" / "folder-cache").iterdir()
    whole = (cache / name).read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", None):
        (cache / name).unlink(missing_ok=True)
        if damaged is not None:
            (cache / name).write_bytes(damaged)
        with pytest.raises(DataError, match="delete that folder"):
            load(tmp_path)


def test_a_cache_that_cannot_be_written_is_a_disk_error(tmp_path):
    fill_class(tmp_path / "images" / "a", 6)
    (tmp_path / "root").write_text("a file")
    with pytest.raises(DiskError, match=r"data\.root"):
        load(tmp_path)


def test_what_a_killed_run_left_is_no_cache_and_is_removed_in_time(tmp_path):
    fill_class(tmp_path / "images" / "a", 6)
    load(tmp_path)
    (cache,) = (tmp_path / "root" / "folder-cache").iterdir()
    left = cache.rename(cache.with_name(f".{cache.name}.abc"))
    (left / "index.json").unlink()
    load(tmp_path)
    assert left.exists()  # it may belong to a job that is still at work
    os.utime(left, (0, 0))
    cache.rename(tmp_path / "aside")
    load(tmp_path)
    assert not left.exists()
    assert json.loads((cache / "index.json").read_text())["counts"]["train"] == 4


def start_loading(tmp_path, before=""):
    code = f"""
from trainwright.data.sources.folder import load_folder
{before}
load_folder(path={str(tmp_path / "images")!r}, root={str(tmp_path / "root")!r}, size=8)
"""
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_process_killed_while_decoding_leaves_no_cache_and_the_next_run_is_whole(tmp_path):
    fill_class(tmp_path / "images" / "a", 40, size=(600, 600))
    process = start_loading(
        tmp_path, before="import trainwright.data.images.image_cache as c; c.BATCH = 1"
    )
    cache = tmp_path / "root" / "folder-cache"
    while process.poll() is None and not list(cache.glob(".*/images.bin")):
        time.sleep(0.002)
    process.kill()
    process.communicate()
    assert process.returncode == -9
    assert [path.name[0] for path in cache.iterdir()] == ["."]
    assert sum(sizes(load(tmp_path))) == 40


def test_a_full_disk_is_a_disk_error_and_leaves_nothing(tmp_path, no_file_beyond):
    fill_class(tmp_path / "images" / "a", 40)
    disk_error = pytest.raises(DiskError, match="the cache of decoded images")
    with disk_error, no_file_beyond(5000):  # of 40 x 192 bytes
        load(tmp_path)
    assert list((tmp_path / "root" / "folder-cache").iterdir()) == []


def test_wrong_settings_are_config_errors_before_anything_is_written(tmp_path):
    fill_class(tmp_path / "images" / "a", 6)
    for wrong in ({"size": 0}, {"size": 5000}, {"validation": 1.5}, {"limit": 0}, {"test": 6}):
        with pytest.raises(ConfigError):
            load(tmp_path, **wrong)
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_split_of_nothing_is_refused_before_anything_is_decoded(tmp_path, capsys, split):
    fill_class(tmp_path / "images" / "a", 6)
    with pytest.raises(ConfigError, match=rf"data\.{split}: the {split} split of images is empty"):
        load(tmp_path, **{split: 0})
    assert not (tmp_path / "root").exists()
    shutil.rmtree(tmp_path / "images" / "a")
    for folder in ("train", split):  # a folder says what is in it, whatever its share
        fill_class(tmp_path / "images" / folder / "a", 6)
    assert sum(sizes(load(tmp_path, **{split: 0}))) == 12


# Pixels


def test_an_image_of_the_right_size_keeps_its_pixels(tmp_path):
    image = noise(0, (8, 8))
    image.save(tmp_path / "a.png")
    image.save(tmp_path / "a.webp", lossless=True)
    for fit in ("crop", "pad", "stretch"):
        for name in ("a.png", "a.webp"):
            array = decode(tmp_path / name, fit=fit)
            assert np.array_equal(array, np.asarray(image).transpose(2, 0, 1))


def test_content_counts_not_the_name(tmp_path):
    noise(0, (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert decode(tmp_path / "a.jpg").shape == (3, 8, 8)


def test_crop_takes_the_middle_pad_adds_black_stretch_keeps_all(tmp_path):
    image = Image.new("L", (24, 8), 50)
    image.paste(200, (8, 0, 16, 8))  # the middle third is bright
    image.save(tmp_path / "a.png")
    crop, pad, stretch = (
        decode(tmp_path / "a.png", channels=1, fit=fit)[0] for fit in ("crop", "pad", "stretch")
    )
    assert (crop == 200).all()
    assert (pad[[0, 1, 6, 7]] == 0).all()
    assert (pad[3] > 40).all()
    assert stretch[0, 0] < 60
    assert stretch[0, 4] > 180


def test_the_camera_s_orientation_is_applied(tmp_path):
    image = Image.new("L", (8, 8), 0)
    image.paste(255, (0, 0, 8, 4))  # the top is bright
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to show
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    array = decode(tmp_path / "a.jpg", channels=1)[0]
    assert array[:, 5:].min() > 200
    assert array[:, :3].max() < 50


def test_a_large_jpeg_is_the_same_picture_as_decoded_whole(tmp_path):
    gradient = np.linspace(0, 255, 600)[None, :].repeat(400, 0).astype(np.uint8)
    Image.fromarray(gradient).convert("RGB").save(tmp_path / "a.jpg", quality=95)
    reference = np.asarray(Image.fromarray(gradient).resize((8, 8), Image.Resampling.BICUBIC))
    array = decode(tmp_path / "a.jpg")
    assert np.abs(array.astype(int) - reference.astype(int)).max() <= 4


def test_kinds_of_pixels_come_out_as_what_they_show(tmp_path):
    def saved(image, name, **options):
        image.save(tmp_path / name, **options)
        return decode(tmp_path / name)[:, 4, 4].tolist()

    assert saved(Image.new("1", (8, 8), 1), "bit.png") == [255] * 3
    assert saved(Image.new("L", (8, 8), 77), "grey.png") == [77] * 3
    sixteen = Image.fromarray(np.full((8, 8), 257 * 99, dtype=np.uint16))
    assert saved(sixteen, "sixteen.png") == [99] * 3
    palette = Image.new("RGB", (8, 8), (10, 200, 30)).convert("P", palette=Image.Palette.ADAPTIVE)
    assert saved(palette, "palette.png") == [10, 200, 30]
    assert saved(Image.new("RGBA", (8, 8), (200, 100, 50, 0)), "clear.png") == [0, 0, 0]
    half = saved(Image.new("RGBA", (8, 8), (200, 100, 50, 128)), "half.png")
    assert half == pytest.approx([100, 50, 25], abs=1)
    assert saved(Image.new("LA", (8, 8), (200, 0)), "grey_alpha.png") == [0, 0, 0]
    cmyk = saved(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "cmyk.jpg", quality=95)
    assert cmyk == pytest.approx([255, 0, 0], abs=6)
    frames = [Image.new("RGB", (8, 8), color) for color in ((0, 0, 255), (255, 0, 0))]
    moving = {"save_all": True, "append_images": frames[1:]}
    assert saved(frames[0], "moving.png", **moving) == [0, 0, 255]
    assert saved(frames[0], "moving.webp", **moving, lossless=True) == [0, 0, 255]


def png(width, height, scanlines, *, depth=8, colour=2, **chunks):
    """A PNG file: scanlines without their filter bytes; chunks by name, before the pixels."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    return b"".join((
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)),
        *(chunk(name.encode(), data) for name, data in chunks.items()),
        chunk(b"IDAT", zlib.compress(b"".join(b"\0" + line for line in scanlines))),
        chunk(b"IEND", b""),
    ))  # fmt: skip


def packed(values, depth):
    """Numbers of `depth` bits each, one after another, to whole bytes."""
    bits = "".join(f"{value:0{depth}b}" for value in values)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")


GREY, COLOUR, PALETTE = 0, 2, 3
TRANSPARENT = [(GREY, depth) for depth in (1, 2, 4, 8, 16)]
TRANSPARENT += [(COLOUR, 8), (COLOUR, 16)]
TRANSPARENT += [(PALETTE, depth) for depth in (1, 2, 4, 8)]


def module_of_exports(folder):
    """The decoder as an exported folder has it."""
    write_module(IMAGE, folder)
    return runpy.run_path(str(folder / "image.py"))["decode_image"]


@pytest.mark.parametrize("fit", ["stretch", "crop", "pad"])
@pytest.mark.parametrize(("colour", "depth"), TRANSPARENT)
def test_a_transparent_value_of_a_png_is_as_its_rgba_twin(tmp_path, colour, depth, fit):
    """Eight pixels a line, the first of them transparent, others as near to it as depth allows.

    Alone in it are depths below 8 bits, whose value Pillow takes for one of 8, and 16 bits, where
    another has the same first byte.
    """
    largest = 2**depth - 1
    clear = 2 * largest // 3 if depth < 16 else 170 * 257
    near = [clear, min(clear + 1, largest), clear - 1 if depth > 1 else 0, 0, largest]
    line = [near[x % len(near)] for x in range(8)]
    twin = np.zeros((4, 8, 4), np.uint8)
    chunks = {}
    if colour == PALETTE:
        table = np.random.default_rng(0).integers(60, 256, (2**depth, 3), dtype=np.uint8)
        alpha = [255] * clear + [0]  # those beyond it are opaque
        chunks = {"PLTE": table.tobytes(), "tRNS": bytes(alpha)}
        twin[..., :3] = table[line]
        values = line
    elif colour == GREY:
        chunks = {"tRNS": struct.pack(">H", clear)}
        twin[..., :3] = np.round(np.array(line) * 255 / largest)[:, None]
        values = line
    else:
        chunks = {"tRNS": struct.pack(">HHH", clear, clear, largest)}
        colours = [(value, clear, largest) for value in line]
        twin[..., :3] = [[v >> max(0, depth - 8) for v in c] for c in colours]
        values = [v for c in colours for v in c]
    twin[..., 3] = np.where(np.array(line) == clear, 0, 255)
    scanlines = [packed(values, depth)] * 4
    (tmp_path / "a.png").write_bytes(png(8, 4, scanlines, depth=depth, colour=colour, **chunks))
    Image.fromarray(twin).save(tmp_path / "twin.png")
    exported = module_of_exports(tmp_path)
    for channels in (1, 3):
        settings = {"size": (4, 8), "channels": channels, "fit": fit}
        expected = decode(tmp_path / "twin.png", **settings)
        assert expected.min() == 0
        assert expected.max() > 50
        assert np.array_equal(decode(tmp_path / "a.png", **settings), expected)
        assert np.array_equal(exported(tmp_path / "a.png", **settings), expected)


def test_a_transparent_grey_that_lies_on_its_side_is_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to show
    rows = [packed([2] * 8, 2)] * 4 + [packed([1] * 8, 2)] * 4
    chunks = {"tRNS": struct.pack(">H", 2), "eXIf": exif.tobytes()[6:]}
    (tmp_path / "a.png").write_bytes(png(8, 8, rows, depth=2, colour=GREY, **chunks))
    array = decode(tmp_path / "a.png", channels=1)[0]
    assert (array[:, :4] == 85).all()
    assert (array[:, 4:] == 0).all()


def bomb(width, height):
    """A PNG header that promises width x height pixels, and no pixels."""
    return png(width, height, [])


@pytest.mark.parametrize("size", [(8100, 8000), (13_000, 13_000), (60_000, 60_000)])
def test_an_image_of_too_many_pixels_is_an_error_before_it_is_decoded(tmp_path, size):
    (tmp_path / "bomb.png").write_bytes(bomb(*size))
    with pytest.raises(BadImageError, match="too many pixels"):
        decode(tmp_path / "bomb.png")
    fill_class(tmp_path / "images" / "a", 4)
    (tmp_path / "images" / "a" / "bomb.png").write_bytes(bomb(*size))
    with pytest.raises(DataError, match=r"bomb\.png: too many pixels"):
        load(tmp_path)


def test_every_way_of_cutting_or_flipping_a_file_is_refused_or_read(tmp_path):
    """Whatever a decoder raises for a damaged file, only BadImageError comes out."""
    for name in ("a.png", "a.jpg", "a.webp"):
        noise(1, (9, 9)).save(tmp_path / name)
        content = (tmp_path / name).read_bytes()
        for place in range(0, len(content), 3):
            flipped = content[:place] + bytes((content[place] ^ 0x55,)) + content[place + 1 :]
            for damaged in (content[:place], flipped):
                (tmp_path / "damaged").write_bytes(damaged)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    try:
                        array = decode_image(tmp_path / "damaged", size=8, channels=3, fit="crop")
                    except BadImageError as error:
                        message = str(error)
                    else:
                        message = f"read as {array.shape}"
                assert len(message.splitlines()) == 1


def test_a_file_that_cannot_be_read_is_not_called_damaged(tmp_path):
    for path, why in [(tmp_path, "Is a directory"), (tmp_path / "x.png", "No such file or dir")]:
        with pytest.raises(BadImageError, match=f"^cannot be read: {why}"):
            decode(path)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_extreme_shapes_are_fitted(tmp_path, size):
    Image.new("RGB", size, (9, 9, 9)).save(tmp_path / "a.png")
    for fit in ("crop", "pad", "stretch"):
        assert decode(tmp_path / "a.png", fit=fit).max() == 9
