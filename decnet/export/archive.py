"""A data directory as one file, and back: a tar with a manifest of what is in it, each file with its SHA-256.

The database is copied while an engine may be writing it, as one moment of it. The engine's stream cannot be: of a running
engine it is left out, and the copy forgets how far sensors had read. They read their logs again then, under the same ids, so
that nothing is lost and nothing is counted twice. Of a stopped one everything is there and reading goes on where it stood.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import sqlite3
import stat
import tarfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, Final, NamedTuple

from decnet import __version__
from decnet.bus.connection import FILE_NAME as CONNECTION
from decnet.errors import ExportError

MANIFEST: Final = "manifest.json"
FORMAT: Final = 1
DATABASE: Final = "decnet.sqlite"
MAX_MANIFEST: Final = 16 * 2**20
MAX_FILES: Final = 100_000
_MADE_AGAIN: Final = frozenset({"cache", "opencanary-env"})
"""Folders with what can be made again, or installed."""
_BUS: Final = "bus"
_LOCK: Final = "bus/lock"
_BLOCK: Final = 2**20
Progress = Callable[[int, int], None]
"""Files done, and of how many."""


class Saved(NamedTuple):
    """What became of it."""

    files: int
    size: int
    """Bytes of the files."""
    whole: bool
    """Whether the stream is in it: no engine ran."""


def save(data_dir: Path, output: Path, *, running: bool, progress: Progress = lambda *_: None) -> Saved:
    """Writes a data directory into one private file, there as a whole or not at all. Raises ExportError."""
    if not (data_dir / DATABASE).exists():
        raise ExportError(f"{data_dir}: no {DATABASE} there, nothing to back up")
    draft, copy = (output.with_name(f".{output.name}.{os.getpid()}.{end}") for end in ("tar", "sqlite"))
    try:
        _copy_database(data_dir / DATABASE, copy, forget=running)
        names = [DATABASE, *_names(data_dir, output, running=running)]
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            size = _pack(file, data_dir, {DATABASE: copy}, names, running, progress)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(output)
    except (OSError, sqlite3.Error) as error:
        raise ExportError(f"{output}: backup failed: {getattr(error, 'strerror', None) or error}") from error
    finally:
        for left in (draft, copy):
            left.unlink(missing_ok=True)
    return Saved(len(names), size, not running)


def _copy_database(source: Path, target: Path, *, forget: bool) -> None:
    """One moment of a database that may be written meanwhile; ``forget`` takes out how far sensors had read."""
    os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with (
        closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as live,
        closing(sqlite3.connect(target)) as copy,
    ):
        live.backup(copy)
        if forget:
            with copy:
                copy.execute("DELETE FROM sensor_checkpoint")
        copy.execute("PRAGMA journal_mode=DELETE")


def _names(data_dir: Path, output: Path, *, running: bool) -> Iterator[str]:
    """Plain files below the directory that are to be kept, but for the database."""
    left = {*_MADE_AGAIN, *({_BUS} if running else ())}
    for folder, folders, files in os.walk(data_dir):
        folders[:] = sorted(name for name in folders if Path(folder) != data_dir or name not in left)
        for name in sorted(files):
            path = Path(folder) / name
            told = path.relative_to(data_dir).as_posix()
            own = (
                told in (CONNECTION, _LOCK)
                or told.startswith(DATABASE)
                or path.absolute() == output.absolute()
            )
            if not own and stat.S_ISREG(path.lstat().st_mode):
                yield told


def _pack(
    file: BinaryIO,
    data_dir: Path,
    instead: dict[str, Path],
    names: list[str],
    running: bool,
    progress: Progress,
) -> int:
    """The members, then the manifest, which is made of what was really read."""
    listed: list[dict[str, Any]] = []
    with (
        gzip.GzipFile(fileobj=file, mode="wb", compresslevel=6) as packed,
        tarfile.open(fileobj=packed, mode="w|") as tar,
    ):
        for number, name in enumerate(names):
            with (instead.get(name) or data_dir / name).open("rb") as member:
                listed.append(_add(tar, name, member))
            progress(number + 1, len(names))
        manifest = {
            "format": FORMAT,
            "version": __version__,
            "made_at": time.time(),
            "running": running,
            "files": listed,
        }
        body = json.dumps(manifest, ensure_ascii=True).encode("ascii")
        _add(tar, MANIFEST, io.BytesIO(body))
    return sum(int(one["size"]) for one in listed)


def _add(tar: tarfile.TarFile, name: str, member: BinaryIO) -> dict[str, Any]:
    """A file of the length that it has now: a log that grows is cut there."""
    size = member.seek(0, os.SEEK_END)
    member.seek(0)
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, int(time.time())
    read = _Hashed(member, size)
    tar.addfile(info, read)
    return {"name": name, "size": size, "sha256": read.digest.hexdigest()}


class _Hashed:
    """A file as it is read, to a length; what was cut off meanwhile is filled up, and the digest is that of what was given."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._left = file, size
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        wanted = self._left if size < 0 else min(size, self._left)
        block = self._file.read(wanted).ljust(wanted, b"\0")
        self._left -= len(block)
        self.digest.update(block)
        return block


def restore(source: Path, data_dir: Path, progress: Progress = lambda *_: None) -> Saved:
    """Makes a data directory of a backup; it must not be there, or be empty. Raises ExportError; nothing is left then."""
    if data_dir.exists() and any(data_dir.iterdir()):
        raise ExportError(f"{data_dir} is not empty: move it away, or name another one with --data-dir")
    draft = data_dir.with_name(f".{data_dir.name}.{os.getpid()}.restored")
    try:
        draft.mkdir(mode=0o700, parents=True)
        manifest, found = _unpack(source, draft, progress)
        _check(source, manifest, found)
        _check_database(source, draft / DATABASE)
        with suppress(FileNotFoundError):
            data_dir.rmdir()
        draft.replace(data_dir)
    except (OSError, EOFError, tarfile.TarError, gzip.BadGzipFile, ValueError, sqlite3.Error) as error:
        raise ExportError(
            f"{source}: cannot be restored: {getattr(error, 'strerror', None) or error}"
        ) from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Saved(len(found), sum(size for size, _ in found.values()), not manifest["running"])


Found = dict[str, tuple[int, str]]
"""Size and SHA-256 by name."""


def _unpack(source: Path, draft: Path, progress: Progress) -> tuple[dict[str, Any], Found]:
    """Plain files alone, below the draft alone. Raises ValueError for anything else."""
    found: Found = {}
    with (
        source.open("rb") as file,
        gzip.GzipFile(fileobj=file) as packed,
        tarfile.open(fileobj=packed, mode="r|") as tar,
    ):
        for info in tar:
            member = tar.extractfile(info) if info.isreg() else None
            if member is None or not _plain(info.name) or info.name in found:
                raise ValueError(f"a member that no backup has: {info.name[:100]!r}")
            if info.name == MANIFEST:
                return _manifest(member.read(MAX_MANIFEST + 1)), found
            if len(found) >= MAX_FILES:
                raise ValueError(f"more than {MAX_FILES} files")
            found[info.name] = _put(member, draft / info.name)  # type: ignore[arg-type]  # a stream is read from the start
            progress(len(found), 0)
    raise ValueError("no manifest at its end: it was cut off, or is no backup")


def _plain(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return (
        bool(parts)
        and not name.startswith("/")
        and ".." not in parts
        and "/".join(parts) == name
        and "\0" not in name
    )


def _put(member: BinaryIO, path: Path) -> tuple[int, str]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
        while block := member.read(_BLOCK):
            file.write(block)
            digest.update(block)
            size += len(block)
        file.flush()
        os.fsync(file.fileno())
    return size, digest.hexdigest()


def _manifest(body: bytes) -> dict[str, Any]:
    if len(body) > MAX_MANIFEST:
        raise ValueError("its manifest is too large")
    read = json.loads(body)
    if (
        not isinstance(read, dict)
        or not isinstance(read.get("files"), list)
        or not isinstance(read.get("running"), bool)
    ):
        raise ValueError("its manifest is none")  # noqa: TRY004  wrong in the file, not in the call
    if read.get("format") != FORMAT:
        raise ValueError(f"a backup of format {str(read.get('format'))[:20]}; this version reads {FORMAT}")
    return read


def _check(source: Path, manifest: dict[str, Any], found: Found) -> None:
    listed = {one["name"]: (one["size"], one["sha256"]) for one in manifest["files"] if isinstance(one, dict)}
    if wrong := sorted(name for name in listed.keys() | found.keys() if listed.get(name) != found.get(name)):
        raise ValueError(f"not what was saved: {', '.join(wrong[:3])}")
    if DATABASE not in found:
        raise ValueError(f"no {DATABASE} in it")


def _check_database(source: Path, path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        (said,) = database.execute("PRAGMA integrity_check(1)").fetchone()
    if said != "ok":
        raise ValueError(f"its database is damaged: {said}")
