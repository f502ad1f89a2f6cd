"""Where data files live, and how a missing one is downloaded and verified."""

import contextlib
import glob
import hashlib
import http.client
import os
import ssl
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from trainwright.errors import DataError, DiskError
from trainwright.files import typed_path
from trainwright.progress import progress_bar

TIMEOUT_SECONDS = 30.0  # without a single byte
CHUNK_BYTES = 256 * 1024
STALE_SECONDS = 3600.0  # without a byte written: nobody is at it any more


def data_root(root: str | None) -> Path:
    """The folder that holds all datasets, one folder each.

    `root` where given, else $TRAINWRIGHT_DATA, else the user's cache folder.
    """
    chosen = root or os.environ.get("TRAINWRIGHT_DATA")
    if chosen:
        return typed_path(chosen).absolute()
    from platformdirs import user_cache_path

    return user_cache_path("trainwright")


def fetch(
    urls: Sequence[str],
    path: Path,
    *,
    sha256: str,
    size: int,
    context: ssl.SSLContext | None = None,
) -> Path:
    """Make sure that `path` holds the file of `size` bytes with the hash `sha256`; returns `path`.

    A file that is there is checked and never overwritten. A missing one is downloaded from the
    first of `urls` that delivers it, over https only, into a temporary file beside it, and gets
    its name once its hash is right. `context` replaces the system's certificates.

    Raises DataError for a damaged file or when no mirror delivers, DiskError where the file
    cannot be written.
    """
    if path.exists():
        _verify(path, sha256=sha256, size=size)
        return path
    failures = []
    part = _make_part(path)
    try:
        for url in urls:
            try:
                _download(url, part, label=path.name, sha256=sha256, size=size, context=context)
            except _MirrorError as error:
                failures.append(f"{urllib.parse.urlsplit(url).hostname}: {error}")
            else:
                part.replace(path)
                return path
    except OSError as error:
        raise _disk_error(path, error) from error
    finally:
        part.unlink(missing_ok=True)
    raise DataError(
        f"{path.name} is missing and no mirror delivered it ({'; '.join(failures)})\n"
        f"  put it by hand at {path}\n"
        f"  from {urls[0]}\n"
        f"  SHA-256 {sha256}\n"
        "  or name the folder that has it with data.root=... or $TRAINWRIGHT_DATA"
    )


class _MirrorError(Exception):
    """This mirror failed; the next may do."""


def _verify(path: Path, *, sha256: str, size: int) -> None:
    try:
        found_size = path.stat().st_size
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest() if found_size == size else None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if found != sha256:
        what = f"{found_size:,} bytes" if found is None else f"SHA-256 {found}"
        right = f"{size:,} bytes" if found is None else f"SHA-256 {sha256}"
        raise DataError(
            f"{path} is damaged or another file\n"
            f"  found    {what}\n"
            f"  expected {right}\n"
            "  delete it and run again to download it afresh"
        )


def _make_part(path: Path) -> Path:
    """An empty file beside `path`, of its own name: several jobs may download at once."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(path)
        handle, part = tempfile.mkstemp(prefix=f"{path.name}.", suffix=".part", dir=path.parent)
        os.fchmod(handle, 0o644)  # mkstemp's files are for their owner only
        os.close(handle)
    except OSError as error:
        raise _disk_error(path, error) from error
    return Path(part)


def _remove_leftovers(path: Path) -> None:
    """Remove what killed downloads left, long enough ago that none is still at it."""
    for part in path.parent.glob(f"{glob.escape(path.name)}.*.part"):
        with contextlib.suppress(OSError):  # another job may be doing the same
            if time.time() - part.stat().st_mtime > STALE_SECONDS:
                part.unlink()


def _download(
    url: str,
    part: Path,
    *,
    label: str,
    sha256: str,
    size: int,
    context: ssl.SSLContext | None,
) -> None:
    """Fill `part` from `url`; raises _MirrorError unless it gets the size and hash asked for."""
    with _open(url, context) as response, part.open("wb") as file:
        announced = response.headers.get("Content-Length")
        if announced is not None and announced != str(size):
            raise _MirrorError(f"offers {announced} bytes instead of {size}")
        digest = hashlib.sha256()
        received = 0
        with progress_bar(f"downloading {label}", size, "B") as advance:
            while chunk := _read(response, received):
                received += len(chunk)
                if received > size:
                    raise _MirrorError(f"sends more than the {size} bytes of the file")
                digest.update(chunk)
                file.write(chunk)
                advance(len(chunk))
        if received < size:
            raise _MirrorError(f"broke off after {received} of {size} bytes")
        if digest.hexdigest() != sha256:
            raise _MirrorError("sends a file with another SHA-256")
        file.flush()
        os.fsync(file.fileno())


def _read(response: http.client.HTTPResponse, received: int) -> bytes:
    try:
        return response.read(CHUNK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _MirrorError(f"broke off after {received} bytes: {error}") from error


def _open(url: str, context: ssl.SSLContext | None) -> http.client.HTTPResponse:
    _refuse_unless_https(url)
    opener = urllib.request.build_opener(
        urllib.request.HTTPSHandler(context=context), _HttpsRedirects()
    )
    request = urllib.request.Request(url, headers={"User-Agent": "trainwright"})  # noqa: S310
    try:
        response: http.client.HTTPResponse = opener.open(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        error.close()
        raise _MirrorError(f"answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise _MirrorError(str(error.reason)) from error
    except (OSError, http.client.HTTPException) as error:
        raise _MirrorError(str(error) or type(error).__name__) from error
    return response


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _refuse_unless_https(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _refuse_unless_https(url: str) -> None:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme != "https":
        raise _MirrorError(f"is reached by {scheme or 'no scheme'}, not https")


def _disk_error(path: Path, error: OSError) -> DiskError:
    return DiskError(
        f"{path} cannot be written: {error.strerror}\n"
        "  name a folder with room that you may write to: data.root=... or $TRAINWRIGHT_DATA"
    )
