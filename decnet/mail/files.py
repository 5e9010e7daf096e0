"""What a file in an e-mail is: its extension, macros, a password, a page that makes a file; pure.

Archives are listed and never unpacked. Where a list cannot be read, or is longer than anybody's, the bytes are searched
for the same signs: a broken or padded archive hides nothing.
"""

from __future__ import annotations

import re
import struct
import zipfile
from io import BytesIO
from typing import Final, NamedTuple

from decnet.bounds import bit

MAX_LIST: Final = 262_144
"""Bytes of the list of one archive that are read."""
LISTS: Final = "mail_archive_lists_capped"
_EXTENSION: Final = re.compile(r"[a-z0-9]{1,10}")
_MACROS: Final = re.compile(
    rb"vbaproject\.bin|vbadata\.xml|xl/macrosheets/|/?basic/[^/]{1,64}/[^/]{1,64}\.xml", re.IGNORECASE
)
_OLE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_VBA: Final = "_VBA_PROJECT".encode("utf-16-le")
_ENCRYPTED_PACKAGE: Final = "EncryptedPackage".encode("utf-16-le")
_END_OF_LIST: Final = b"PK\x05\x06"
_FAULTS: Final = (
    zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, struct.error, OverflowError, LookupError,
)  # fmt: skip
_LOCAL: Final = re.compile(rb"PK\x03\x04..(.)", re.DOTALL)
_MAKES: Final = re.compile(
    rb"new\s{1,9}(?:Blob|File)\s{0,9}\(|createObjectURL|msSave(?:OrOpen)?Blob", re.IGNORECASE
)
_CARRIES: Final = re.compile(rb"\batob\s{0,9}\(|Uint8Array|charCodeAt|fromCharCode|;base64,", re.IGNORECASE)
_DELIVERS: Final = re.compile(
    rb"\.download\b|\bdownload\s{0,9}=|createObjectURL|msSave(?:OrOpen)?Blob|location\.(?:href|assign)",
    re.IGNORECASE,
)


class Look(NamedTuple):
    """What was found in the bytes of a file."""

    macros: bool = False
    locked: bool = False
    """Whether a password is needed."""


def extension(name: str) -> str:
    """The last extension of a file name in lower case, as the systems see it that open it; empty without one."""
    last = re.split(r"[\\/]", name)[-1].rstrip(". \t\r\n").lower()
    stem, dot, end = last.rpartition(".")
    return end if dot and stem and _EXTENSION.fullmatch(end) else ""


def look(data: bytes) -> Look:
    """Macros and passwords of an office file, an archive or a PDF. Never raises."""
    if data.startswith(b"PK") or (b"PK\x03\x04" in data[:4096]):
        return _archive(data)
    if data.startswith(_OLE):
        return Look(_VBA in data, _ENCRYPTED_PACKAGE in data)
    if data.startswith(b"Rar!\x1a\x07"):
        return Look(False, _rar_locked(data))
    return Look(False, data.startswith(b"%PDF") and b"/Encrypt" in data)


def smuggles(page: bytes) -> bool:
    """Whether a page makes a file out of what it carries in itself and hands it over."""
    return all(sign.search(page) for sign in (_MAKES, _CARRIES, _DELIVERS))


def _archive(data: bytes) -> Look:
    if _list_size(data) > MAX_LIST:
        bit(LISTS)
        return _searched(data)
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            entries = archive.infolist()
    except _FAULTS:
        return _searched(data)
    names = "\n".join(entry.filename for entry in entries).encode("utf-8", "replace")
    return Look(_MACROS.search(names) is not None, any(entry.flag_bits & 1 for entry in entries))


def _list_size(data: bytes) -> int:
    """Bytes of an archive's list as its end says it; 0 without an end."""
    place = data.rfind(_END_OF_LIST, max(len(data) - 65_557, 0))
    field = data[place + 12 : place + 16]
    return int.from_bytes(field, "little") if place >= 0 and len(field) == 4 else 0


def _searched(data: bytes) -> Look:
    locked = any(found[1][0] & 1 for found in _LOCAL.finditer(data))
    return Look(_MACROS.search(data) is not None, locked)


def _rar_locked(data: bytes) -> bool:
    """Whether the headers of a RAR archive say that it is encrypted: of version 5, and before."""
    if data.startswith(b"Rar!\x1a\x07\x01\x00"):
        return len(data) > 13 and data[13] == 4
    return len(data) > 25 and bool(data[10] & 0x80 or (data[22] == 0x74 and data[23] & 0x04))
