"""A folder of images becomes lists of files, one a split, without opening an image."""

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from trainwright.errors import DataError
from trainwright.wording import printable

SPLIT_FOLDERS = {"train": "train", "validation": "validation", "val": "validation", "test": "test"}
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
BACKUPS = ("~", ".bak", ".backup", ".old", ".orig", ".swp", ".tmp")  # how names of copies end
JUNK = {"thumbs.db", "desktop.ini", "ehthumbs.db", "__macosx"}


class ImageFile(NamedTuple):
    """A file that should be an image: where, how big, how old, and the number of its class."""

    name: str  # relative to the folder, with forward slashes
    num_bytes: int
    mtime_ns: int
    label: int


@dataclass
class Listing:
    """The files of each split that the folder names (`train` always), and the files that aren't.

    `class_names` is empty for loose images. `bad` maps a file's name to what is wrong with it;
    `backups` are the names of copies that editors and people leave beside a file.
    """

    class_names: tuple[str, ...] = ()
    splits: dict[str, list[ImageFile]] = field(default_factory=dict)
    bad: dict[str, str] = field(default_factory=dict)
    backups: list[str] = field(default_factory=list)


def list_images(root: Path) -> Listing:
    """List a folder of class folders, of split folders with those in them, or of loose images.

    Hidden files and the junk of file managers are ignored; links out of the folder are listed as
    bad. Raises DataError for a folder that is missing or empty or of any other form.
    """
    if not root.is_dir():
        state = "is not a folder" if root.exists() else "does not exist"
        raise DataError(f"the image folder {root} {state}")
    listing = Listing()
    folders = set(_folders(root, root))
    if folders and folders <= SPLIT_FOLDERS.keys() - {"train"}:
        raise DataError(
            f"{root} holds {'/, '.join(sorted(folders))}/ and no train/\n"
            "  the folder of the training images is called train; test/ may lie beside it"
        )
    # `train` beside `bus` and `car` is a class; only among split folders is it a split.
    if "train" in folders and folders <= SPLIT_FOLDERS.keys():
        if {"val", "validation"} <= folders:
            raise DataError(f"{root} has both val/ and validation/; keep one")
        _list_loose(root, root, listing, expected="folders")
        # Training comes first: it says which classes there are.
        for folder in sorted(folders, key=lambda name: name != "train"):
            files = _list_split(root, root / folder, listing, is_first=folder == "train")
            listing.splits[SPLIT_FOLDERS[folder]] = files
    else:
        listing.splits["train"] = _list_split(root, root, listing, is_first=True)
    return listing


def why_no_image(file: os.PathLike[str]) -> str:
    """Why a file is no image; nothing where it seems to be one. The one rule for all commands.

    Content decides, when it is decoded; a name that says image is believed until then.
    """
    is_image = file.__fspath__().lower().endswith(SUFFIXES) or _starts_like_an_image(file)
    return "" if is_image else "not a PNG, JPEG or WebP image"


def find_files(
    root: Path, why_not: Callable[[os.PathLike[str]], str] = why_no_image
) -> tuple[list[Path], dict[str, str]]:
    """The images in a folder and those in it, sorted, and why each other file is left out.

    Or other files, for which `why_not` says nothing. What no listing for training takes, such as
    hidden files and links that lead out, is left out here too. Raises DataError for a folder that
    cannot be read.
    """
    listing, found, folders = Listing(), [], [root]
    for folder in folders:  # which grows meanwhile
        found += _list_files(root, folder, listing, label=0, why_not=why_not)
        for name in (entry.name for entry in _entries(folder) if _is_folder(entry)):
            if (folder / name).is_symlink():
                listing.bad[(folder / name).relative_to(root).as_posix()] = "a link to a folder"
            else:
                folders.append(folder / name)
    left = listing.bad | dict.fromkeys(listing.backups, "a backup copy")
    return sorted(root / file.name for file in found), left


def _list_split(root: Path, folder: Path, listing: Listing, *, is_first: bool) -> list[ImageFile]:
    classes = _folders(root, folder)
    if not classes:
        files = _list_files(root, folder, listing, label=0)
        if not files:
            raise DataError(f"{folder} holds no images\n  it may hold images or class folders")
        if listing.class_names:
            raise DataError(f"{folder} holds loose images, but train/ holds class folders")
        return files
    _list_loose(root, folder, listing, expected="class folders")
    _require_text(folder, classes)
    if is_first:
        listing.class_names = tuple(classes)
    unknown = [name for name in classes if name not in listing.class_names]
    if unknown:
        known = ", ".join(listing.class_names[:10]) or "none: it holds loose images"
        raise DataError(
            f"{folder} has the class {printable(unknown[0])}, which train/ lacks ({known})"
        )
    found = []
    for name in classes:
        nested = _folders(root, folder / name)
        if nested:
            raise DataError(
                f"{folder / name} holds the folder {printable(nested[0])}; "
                "a class folder holds images only\n"
                "  split folders are named train, validation (or val) and test, and nothing else"
            )
        files = _list_files(root, folder / name, listing, label=listing.class_names.index(name))
        if not files:
            raise DataError(f"the class folder {folder / name} holds no images")
        found += files
    return found


def _require_text(folder: Path, classes: list[str]) -> None:
    """Raise DataError for a class whose name no checkpoint could hold: it is UTF-8 there."""
    for name in classes:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"the name of the class folder {printable(str(folder / name))} is not UTF-8 text\n"
                "  rename it: the class gets its name"
            ) from error


def _list_loose(root: Path, folder: Path, listing: Listing, *, expected: str) -> None:
    """Files where only folders should be: images make the folder ambiguous, others are bad."""
    for file in _list_files(root, folder, listing, label=0):
        raise DataError(
            f"{folder} is mixed: the image {printable(file.name)} lies beside {expected}\n"
            "  move the loose images into a folder of their own, or the folders away"
        )


def _list_files(
    root: Path,
    folder: Path,
    listing: Listing,
    *,
    label: int,
    why_not: Callable[[os.PathLike[str]], str] = why_no_image,
) -> list[ImageFile]:
    prefix = "" if folder == root else f"{folder.relative_to(root).as_posix()}/"
    found = []
    for entry in _entries(folder):
        name = prefix + entry.name
        try:
            if entry.is_dir():
                continue
            if entry.is_symlink() and not _stays_inside(root, Path(entry.path)):
                listing.bad[name] = "a link that leads out of the folder"
                continue
            status = entry.stat()
            if name.lower().endswith(BACKUPS):
                listing.backups.append(name)
            elif not stat.S_ISREG(status.st_mode):
                listing.bad[name] = "not a regular file"
            elif problem := why_not(entry):
                listing.bad[name] = problem
            else:
                found.append(ImageFile(name, status.st_size, status.st_mtime_ns, label))
        except (OSError, RuntimeError) as error:  # a loop of links is a RuntimeError
            listing.bad[name] = getattr(error, "strerror", None) or "a link that leads nowhere"
    return found


def _stays_inside(root: Path, link: Path) -> bool:
    return link.resolve(strict=True).is_relative_to(root.resolve())


def _starts_like_an_image(path: os.PathLike[str]) -> bool:
    with Path(path).open("rb") as file:
        start = file.read(12)
    is_webp = start[:4] == b"RIFF" and start[8:] == b"WEBP"
    return is_webp or start.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    """What a folder holds, sorted, less hidden files and junk.

    Directory entries rather than paths: they know their type, which is ten times faster here.
    """
    try:
        with os.scandir(folder) as entries:
            kept = [e for e in entries if e.name[0] != "." and e.name.lower() not in JUNK]
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from error
    return sorted(kept, key=lambda entry: entry.name)


def _folders(root: Path, folder: Path) -> list[str]:
    """The names of the folders in `folder`, sorted; a link to one outside `root` is an error."""
    names = []
    for entry in _entries(folder):
        if _is_folder(entry):
            if entry.is_symlink() and not _stays_inside(root, Path(entry.path)):
                raise DataError(f"{entry.path} is a link to a folder outside {root}")
            names.append(entry.name)
    return names


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """A link that leads round in a circle is none: it will be among the bad files."""
    try:
        return entry.is_dir()
    except OSError:
        return False
