"""A folder with every kind of file that is no image, and with kinds of images that are."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from trainwright.data.images import decode
from trainwright.data.images.decode import decode_image
from trainwright.data.sources.folder import load_folder
from trainwright.errors import DataError


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def thirteen_thousand_squared():
    packer, row = zlib.compressobj(9), b"\0" * (1 + 13_000 // 8)
    rows = b"".join(packer.compress(row) for _ in range(13_000)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 13_000, 13_000, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def picture(seed=0, size=(20, 20)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def fill_with_bad(folder):
    """Files that are no images to be used, and what is said of each."""
    picture().save(folder / "whole.jpg")
    whole = (folder / "whole.jpg").read_bytes()
    (folder / "whole.jpg").unlink()
    (folder / "empty.png").write_bytes(b"")
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "renamed.png").write_text("dear diary, these are no pixels at all")
    (folder / "huge.png").write_bytes(thirteen_thousand_squared())
    picture().save(folder / "moving.gif")
    picture().save(folder / "layers.tiff")
    (folder / "notes.txt").write_text("not an image, and not named like one")
    (folder / "gone.png").symlink_to(folder / "nowhere")
    return {
        "empty.png": "not a PNG", "truncated.jpg": "damaged", "renamed.png": "not a PNG",
        "huge.png": "too many pixels (13000 x 13000", "moving.gif": "not a PNG",
        "layers.tiff": "not a PNG", "notes.txt": "not a PNG", "gone.png": "No such file",
    }  # fmt: skip


def fill_with_good(folder):
    """Unusual images that can be used."""
    picture(1).convert("CMYK").save(folder / "cmyk.jpg")
    grey = np.linspace(0, 65535, 400).astype(np.uint16).reshape(20, 20)
    Image.fromarray(grey).save(folder / "sixteen.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    picture(2).save(folder / "turned.jpg", exif=exif)
    frames = [picture(seed) for seed in (3, 4, 5)]
    frames[0].save(folder / "moving.webp", save_all=True, append_images=frames[1:], lossless=True)
    frames[0].save(folder / "moving.png", save_all=True, append_images=frames[1:])
    picture(6).convert("P").save(folder / "palette.png")
    picture(7).convert("LA").save(folder / "transparent.png")
    return 7


def load(tmp_path, **settings):
    settings = {"size": 8, "validation": 1, "test": 1, **settings}
    return load_folder(path=str(tmp_path / "images"), root=str(tmp_path / "root"), **settings)


def test_every_bad_file_is_listed_with_its_reason_before_anything_is_trained(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    reasons = fill_with_bad(folder)
    fill_with_good(folder)
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    text = str(caught.value)
    assert caught.value.exit_code == 3
    assert text.startswith(f"{len(reasons)} of {len(reasons) + 7} files in {folder} cannot be used")
    assert len(text.splitlines()) <= 5
    assert "data.on_bad=skip" in text
    (listed,) = (tmp_path / "root" / "folder-cache").iterdir()
    assert str(listed) in text
    lines = dict(line.split(": ", 1) for line in listed.read_text().splitlines())
    assert lines.keys() == reasons.keys()
    assert [n for n, reason in reasons.items() if reason not in lines[n]] == []


def test_bad_files_are_left_out_and_counted_when_asked(tmp_path, caplog):
    folder = tmp_path / "images"
    folder.mkdir()
    num_bad, num_good = len(fill_with_bad(folder)), fill_with_good(folder) + 30
    for seed in range(30):
        picture(seed).save(folder / f"more{seed}.png")
    dataset = load(tmp_path, on_bad="skip", validation=9, test=9)
    splits = (dataset.train, dataset.validation, dataset.test)
    assert sum(len(split) for split in splits) == num_good
    assert f"skipped {num_bad} unreadable files" in caplog.text


def test_unusual_images_come_out_as_what_they_show(tmp_path):
    fill_with_good(tmp_path)

    def decoded(name, channels=3):
        return decode_image(tmp_path / name, size=20, channels=channels, fit="stretch")

    sixteen = np.linspace(0, 65535, 400).reshape(20, 20) / 257
    assert np.abs(decoded("sixteen.png", 1)[0] - sixteen).max() <= 1
    upright = np.asarray(Image.open(tmp_path / "turned.jpg").rotate(-90)).transpose(2, 0, 1)
    assert np.array_equal(decoded("turned.jpg"), upright)
    for moving in ("moving.webp", "moving.png"):  # its first frame
        assert np.array_equal(decoded(moving), np.asarray(picture(3)).transpose(2, 0, 1))
    shown = np.asarray(Image.open(tmp_path / "cmyk.jpg").convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(decoded("cmyk.jpg"), shown)


def test_without_the_limit_the_huge_image_would_be_decoded(tmp_path, monkeypatch):
    """The negative control; with a small stand-in, for the real one takes half a gigabyte."""
    path = tmp_path / "large.png"
    picture(size=(200, 200)).save(path)
    assert decode_image(path, size=8, channels=3, fit="crop").shape == (3, 8, 8)
    monkeypatch.setattr(decode, "MOST_PIXELS", 200 * 200 - 1)
    with pytest.raises(decode.BadImageError, match="too many pixels"):
        decode_image(path, size=8, channels=3, fit="crop")
