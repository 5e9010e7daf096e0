"""A zip with one file under the password that everybody uses for malware, so that nothing opens or scans it by accident.

The password keeps nobody out, and the old encryption of PKWARE (appnote 6.1) is what every unzip reads:
https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT. The file is stored as it is and never looked into.
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import Final

PASSWORD: Final = "infected"
MAX_BYTES: Final = 16 * 2**20
"""Largest file: each byte goes through the cipher on its own."""
_HEAD_BYTES: Final = 12
_KEYS: Final = (0x12345678, 0x23456789, 0x34567890)
_ENCRYPTED: Final = 1
_VERSION: Final = 20
_DOS_EPOCH: Final = (1 << 5) | 1
"""1980-01-01, the first day that a zip knows: when a sample was packed says nothing of it."""
_OWNER_READS: Final = 0o100400 << 16
_CRC: Final = tuple(zlib.crc32(bytes([n]), 0xFFFFFFFF) ^ 0xFFFFFFFF for n in range(256))


def locked_zip(name: str, content: bytes) -> bytes:
    """The archive; ``name`` is ours, ASCII and without a path. Raises ValueError for any other, and for too much."""
    if not name.isascii() or not name.isprintable() or set(name) & set("/\\:"):
        raise ValueError(f"{name!r} is no plain name of a file")
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes")
    crc, raw = zlib.crc32(content), name.encode("ascii")
    head = os.urandom(_HEAD_BYTES - 1) + bytes([crc >> 24])
    locked = _encrypted(head + content)
    common = struct.pack(
        "<HHHHHIIIHH", _VERSION, _ENCRYPTED, 0, 0, _DOS_EPOCH, crc, len(locked), len(content), len(raw), 0
    )
    local = b"PK\3\4" + common + raw + locked
    central = (
        b"PK\1\2"
        + struct.pack("<H", (3 << 8) | _VERSION)
        + common
        + struct.pack("<HHHII", 0, 0, 0, _OWNER_READS, 0)
        + raw
    )
    end = b"PK\5\6" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local), 0)
    return local + central + end


def _crc32(crc: int, byte: int) -> int:
    return (crc >> 8) ^ _CRC[(crc ^ byte) & 0xFF]


def _encrypted(plain: bytes) -> bytes:
    one, two, three = _KEYS

    def mix(byte: int) -> None:
        nonlocal one, two, three
        one = _crc32(one, byte)
        two = ((two + (one & 0xFF)) * 134_775_813 + 1) & 0xFFFFFFFF
        three = _crc32(three, two >> 24)

    for byte in PASSWORD.encode():
        mix(byte)
    out = bytearray(len(plain))
    for place, byte in enumerate(plain):
        word = (three | 2) & 0xFFFF
        out[place] = byte ^ (((word * (word ^ 1)) >> 8) & 0xFF)
        mix(byte)
    return bytes(out)
