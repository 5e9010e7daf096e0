"""The bytes of a file as they were before it was packed, and the first ones of them that say something.

Which program packed a file is known by its first bytes, and by its name where it has no bytes of that kind.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import hashlib
import io
import lzma
import os
import zlib
from typing import Any, BinaryIO, cast

from decnet.sensors.files.rotation import HEAD_BYTES

FAULTS = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What a damaged or withheld file raises when it is read."""
MAX_LAYERS = 4
"""Packed streams within a packed one that are unpacked."""
_MARK_BYTES = 6
TAIL_BYTES = 256
"""Bytes before the place of a reader by which it knows its file again."""
_PADDING_CHUNK = 65_536
_PACKERS: tuple[tuple[str, bytes, Any], ...] = (
    (".gz", b"\x1f\x8b", gzip.open),
    (".bz2", b"BZh", bz2.open),
    (".xz", b"\xfd7zXZ\0", lzma.open),
    (".lzma", b"\x5d\0\0", lzma.open),
)
"""End of the name, or first bytes, of a compressed file (``x.1.gz.1`` is one as well), and what reads it."""
_UNREADABLE: tuple[tuple[bytes, str], ...] = (
    (b"\x28\xb5\x2f\xfd", "compressed by zstd, for which there is no reader here: unpack it"),
    (b"\x04\x22\x4d\x18", "compressed by lz4, for which there is no reader here: unpack it"),
    (b"\x1f\x9d", "compressed by compress, for which there is no reader here: unpack it"),
    (b"PK\x03\x04", "a zip archive: unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"\xff\xfe\0\0", "text in UTF-32: write it as UTF-8"),
)
"""First bytes of files that nothing here reads."""
_TAR_AT, _TAR = 257, b"ustar"


def opened(path: str) -> tuple[BinaryIO, bool]:
    """The uncompressed bytes of a file, and whether it is a compressed one.

    A rotation that takes its own archives for logs packs them again (``x.1.gz.1.gz``): all layers come off.
    """
    handle = open(path, "rb")
    try:
        start = handle.read(_MARK_BYTES)
        reader = _packer(start) or next((r for end, _, r in _PACKERS if path.endswith(end)), None)
        if reader is not None and not unreadable(start):
            handle.close()
            return _all_unpacked(reader(path, "rb")), True
        handle.seek(0)
    except BaseException:
        handle.close()
        raise
    return handle, False


def _packer(start: bytes) -> Any:
    """What reads a stream that begins so, when it is a packed one."""
    return next((reader for _, mark, reader in _PACKERS if start.startswith(mark)), None)


class _Layer(io.BufferedIOBase):
    """What is packed within a packed stream; both are closed together."""

    def __init__(self, inner: BinaryIO, outer: BinaryIO) -> None:
        self._inner, self._outer = inner, outer

    def read(self, size: int | None = -1, /) -> bytes:
        """Unpacked bytes, as many as asked for unless the stream ends."""
        return self._inner.read(-1 if size is None else size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Goes to a place among the unpacked bytes."""
        return self._inner.seek(offset, whence)

    def close(self) -> None:
        """Closes both streams."""
        self._inner.close()
        self._outer.close()
        super().close()


def _all_unpacked(handle: BinaryIO) -> BinaryIO:
    """A stream without the layers within it; what is damaged raises when it is read, as ever."""
    for _ in range(MAX_LAYERS):
        try:
            start = handle.read(_MARK_BYTES)
        except FAULTS:
            start = b""
        handle.seek(0)
        reader = _packer(start)
        if reader is None:
            break
        handle = cast("BinaryIO", _Layer(reader(handle, "rb"), handle))
    return handle


def unreadable(head: bytes) -> str:
    """Why the content of a file cannot be lines of a log, by its first bytes; empty when it can."""
    for mark, why in _UNREADABLE:
        if head.startswith(mark):
            return why
    return "a tar archive: unpack it" if head[_TAR_AT : _TAR_AT + len(_TAR)] == _TAR else ""


def after_padding(handle: BinaryIO) -> tuple[bytes, int]:
    """The first bytes that say something, and how many NUL bytes stand before them.

    A writer that does not append goes on at its old place after a ``copytruncate``: before it the file is empty.
    """
    padding, size = 0, HEAD_BYTES
    while chunk := handle.read(size):
        size = _PADDING_CHUNK
        head = chunk.lstrip(b"\0")
        padding += len(chunk) - len(head)
        if head:
            if padding and len(head) < HEAD_BYTES:
                head += handle.read(HEAD_BYTES - len(head))
            return head[:HEAD_BYTES], padding
        padding = _over_hole(handle, padding)
    return b"", padding


def _over_hole(handle: BinaryIO, padding: int) -> int:
    """Goes to where a sparse file has data again; a compressed one has no holes."""
    if not isinstance(handle, io.BufferedReader) or not hasattr(os, "SEEK_DATA"):
        return padding
    number = handle.fileno()
    here = os.lseek(number, 0, os.SEEK_CUR)  # behind the buffer's back: it has to be as it was
    try:
        after = max(os.lseek(number, padding, os.SEEK_DATA), padding)
    except OSError as error:
        # No data any more, or a file system that does not tell.
        after = os.fstat(number).st_size if error.errno == errno.ENXIO else padding
    os.lseek(number, here, os.SEEK_SET)
    return handle.seek(after)


def skip(handle: BinaryIO, offset: int) -> None:
    """Reads up to ``offset``; a shorter stream ends early and then gives nothing."""
    while offset > 0 and (part := handle.read(min(offset, 1 << 20))):
        offset -= len(part)


def tail_of(data: bytes) -> str:
    """Digest of the last bytes of some text, by which a place in a file is known again; empty for none."""
    return hashlib.blake2b(data[-TAIL_BYTES:], digest_size=8).hexdigest() if data else ""
