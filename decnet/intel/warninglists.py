"""MISP's warninglists: JSON with a name, a type and a list of texts, of which addresses and networks are used.

Lists of host names, patterns and the like are no use here: what they hold is counted, and none of it is taken.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from decnet.errors import IntelError, SourcePosition
from decnet.hostile import visible
from decnet.intel.answers import LISTED, name_of
from decnet.intel.ranges import bounds_of
from decnet.intel.reading import Limits, OfNoUse, Tally, whole
from decnet.intel.tables import Filling, Table

USED: Final = frozenset({"cidr", "string"})
"""Types of lists that may hold addresses."""
MAX_BYTES: Final = 64 * 2**20
"""Bytes of a file, unpacked: it is in memory as a whole while it is read."""
_ITEM: Final = re.compile(
    r'\s*(?:("[^"\\]{0,4096}(?:\\.[^"\\]{0,4096}){0,64}")|([^\s,"\[\]{}]+))\s*([,\]])', re.DOTALL
)
"""A text of bounded length, or a number or word; JSON was checked before."""
_BYTE: Final = re.compile(r"\(byte (\d+)\)")


class _File(msgspec.Struct):
    list: msgspec.Raw
    name: str = ""
    type: str = "string"
    description: str = ""


def read_warninglist(handle: BinaryIO, limits: Limits, tally: Tally) -> Table:
    """A list of addresses by the name that it has inside. Raises IntelError for what is no such file."""
    data = whole(handle, Path(tally.file), min(MAX_BYTES, limits.max_bytes)).removeprefix(b"\xef\xbb\xbf")
    try:
        found = msgspec.json.decode(data, type=_File)
        entries = bytes(found.list)
        text = entries.decode("utf-8")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise IntelError(f"{_place(data, error, tally.file)}: no warninglist: {error}") from error
    first = 1 + data.count(b"\n", 0, data.find(entries))
    if found.type not in USED:
        count = sum(1 for _ in _items(text, first, tally.file))
        kind = visible(found.type, 20)
        raise OfNoUse(f"{tally.file}: entries of type {kind}, which are no addresses: {count}")
    filling = Filling(limits, tally)
    try:
        for line, quoted, other in _items(text, first, tally.file):
            _take(filling, quoted, other, line, tally)
        return filling.table(listing=True, name=name_of(found.name))
    except IntelError as error:
        if found.type == "string" and not tally.good and tally.wrong["no address"]:
            raise OfNoUse(f"{tally.file}: entries of type string, of which none is an address") from error
        raise


def _items(text: str, line: int, file: str) -> Iterator[tuple[int, str | None, str | None]]:
    """Each item of an array of valid JSON with its line: a text in its quotes, or another scalar.

    Raises IntelError for an array or an object among them.
    """
    if text[:1] != "[":
        raise IntelError(f"{SourcePosition(file, line)}: no warninglist: `list` is no array")
    at, more = 1, bool(text[1:-1].strip())
    while more:
        item = _ITEM.match(text, at)
        if item is None:
            raise IntelError(
                f"{SourcePosition(file, line)}: no warninglist: `list` holds more than short texts"
            )
        start = item.start(1) if item[1] is not None else item.start(2)
        line += text.count("\n", at, start)
        yield line, item[1], item[2]
        line += text.count("\n", start, item.end())
        at, more = item.end(), item[3] == ","


def _take(filling: Filling, quoted: str | None, other: str | None, line: int, tally: Tally) -> None:
    if quoted is None:
        tally.left_out("no text", line, other)
        return
    text = msgspec.json.decode(quoted, type=str).strip()
    try:
        bounds = bounds_of(text)
    except ValueError as error:
        tally.left_out(str(error), line, text)
    else:
        filling.put(line, (bounds, LISTED))


def _place(data: bytes, error: Exception, file: str) -> SourcePosition:
    """Where JSON stops being some."""
    found = _BYTE.search(str(error))
    return SourcePosition(file, 1 + data.count(b"\n", 0, int(found[1]))) if found else SourcePosition(file)
