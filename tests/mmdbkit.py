"""Writes small files in MaxMind's format (maxmind.github.io/MaxMind-DB): tree, data section, metadata."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Any

MARKER = b"\xab\xcd\xefMaxMind.com"
EPOCH = 1_767_225_600
"""When the data of a file were made, unless a test says otherwise (2026-01-01)."""


class Typed(int):
    """A number of one of the format's types: 5 is 16 bits, 6 is 32, 9 is 64."""

    kind: int

    def __new__(cls, kind: int, value: int) -> Typed:
        made = super().__new__(cls, value)
        made.kind = kind
        return made


class Pointer(int):
    """A value that stands at this offset of the data section."""


def encoded(value: Any) -> bytes:
    """One value of a data section."""
    if isinstance(value, Pointer):
        return bytes((0x20 | 3 << 3, *value.to_bytes(4, "big")))
    if isinstance(value, str):
        raw = value.encode()
        return control(2, len(raw)) + raw
    if isinstance(value, bool):
        return control(14, int(value))
    if isinstance(value, float):
        return control(3, 8) + struct.pack(">d", value)
    if isinstance(value, int):
        raw = value.to_bytes((value.bit_length() + 7) // 8, "big")
        return control(value.kind if isinstance(value, Typed) else 6 if len(raw) <= 4 else 9, len(raw)) + raw
    if isinstance(value, Mapping):
        return control(7, len(value)) + b"".join(encoded(k) + encoded(v) for k, v in value.items())
    return control(11, len(value)) + b"".join(map(encoded, value))


def control(kind: int, size: int) -> bytes:
    """The byte or bytes in front of a value."""
    more = b""
    if size >= 285:
        size, more = 30, (size - 285).to_bytes(2, "big")
    elif size >= 29:
        size, more = 29, bytes((size - 29,))
    first = bytes((kind << 5 | size,)) if kind < 8 else bytes((size, kind - 7))
    return first + more


def mmdb(
    networks: Mapping[str, Any],
    *,
    kind: str = "Test-Country",
    epoch: int = EPOCH,
    ip_version: int = 6,
    data: bytes = b"",
) -> bytes:
    """A file that answers for some networks; narrower ones stand behind the ones around them.

    ``data`` begins the data section, for values that point into it.
    """
    tree: list[list[Any]] = [[None, None]]
    for text, value in networks.items():
        _plant(tree, _bits(ip_network(text), ip_version), value)
    offsets: dict[int, int] = {}
    for sides in tree:
        data = _put(sides, offsets, data)
    nodes = b"".join(_node(tree, sides, offsets) for sides in tree)
    facts = {
        "binary_format_major_version": Typed(5, 2), "binary_format_minor_version": Typed(5, 0),
        "build_epoch": Typed(9, epoch), "database_type": kind, "description": {"en": "made by a test"},
        "ip_version": Typed(5, ip_version), "languages": ["en"], "node_count": len(tree), "record_size": Typed(5, 32),
    }  # fmt: skip
    return nodes + bytes(16) + data + MARKER + encoded(facts)


def _bits(net: IPv4Network | IPv6Network, ip_version: int) -> str:
    width = 32 if net.version == 4 else 128
    bits = f"{int(net.network_address):0{width}b}"[: net.prefixlen]
    return "0" * 96 + bits if net.version == 4 and ip_version == 6 else bits


def _plant(tree: list[list[Any]], bits: str, value: Any) -> None:
    at = 0
    for bit in bits[:-1]:
        side = int(bit)
        if not isinstance(tree[at][side], _Node):
            tree.append([tree[at][side]] * 2)
            tree[at][side] = _Node(len(tree) - 1)
        at = tree[at][side]
    tree[at][int(bits[-1])] = (value,)


class _Node(int):
    """The number of a node, in place of a value."""


def _put(sides: list[Any], offsets: dict[int, int], data: bytes) -> bytes:
    for side in sides:
        if isinstance(side, tuple) and id(side) not in offsets:
            offsets[id(side)] = len(data)
            data += encoded(side[0])
    return data


def _node(tree: list[list[Any]], sides: list[Any], offsets: dict[int, int]) -> bytes:
    values = []
    for side in sides:
        if isinstance(side, _Node):
            values.append(int(side))
        else:
            values.append(len(tree) if side is None else len(tree) + 16 + offsets[id(side)])
    return struct.pack(">II", *values)
