"""Putting a token's file where it shall lie, whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Final

from decnet.decoys.canary.cowriefs import MAX_PICTURE, parts_of, with_file
from decnet.errors import CanaryError

_READABLE: Final = 0o644


def put_file(place: Path, content: bytes) -> None:
    """Writes a file that others may read; one that is there already is not touched. Raises CanaryError."""
    if place.exists() or place.is_symlink():
        raise CanaryError(f"{place} is there already")
    _write(place, content, _READABLE)


def put_in_cowrie(picture: Path, out: Path, path: str, content: bytes, contents: Path | None = None) -> None:
    """Writes ``out``, the picture with the file at ``path``; and the file below ``contents`` for older Cowries.

    ``out`` may be the picture itself. Raises CanaryError.
    """
    parts = parts_of(path)
    try:
        if picture.stat().st_size > MAX_PICTURE:
            raise CanaryError(f"{picture} is too large for a picture of a file system")
        made = with_file(picture.read_bytes(), path, content)
        mode = stat.S_IMODE(picture.stat().st_mode)
    except OSError as error:
        raise CanaryError(f"{picture} cannot be read: {error.strerror}") from error
    if contents is not None:
        _write(contents.joinpath(*parts), content, _READABLE)
    _write(out, made, mode)


def _write(place: Path, content: bytes, mode: int) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, scratch = tempfile.mkstemp(dir=place.parent, prefix=".part-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
            os.replace(scratch, place)
        except BaseException:
            with suppress(OSError):
                os.unlink(scratch)
            raise
    except OSError as error:
        raise CanaryError(f"{place} cannot be written: {error.strerror}") from error
