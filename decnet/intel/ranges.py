"""Ranges of addresses in flat arrays: 36 bytes a range, and a look-up is three bisections; pure.

An address is one number of 128 bits; IPv4 is kept as the block ``::ffff:0:0/96``, so that both spellings of an IPv4
address are one. A range that is written in IPv6 and goes beyond that block never holds an IPv4 address. What the ranges
mean is left to who keeps a value for each.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from socket import AF_INET, AF_INET6, inet_pton
from typing import Final

from decnet.addresses import fold

_MAPPED: Final = 0xFFFF << 32
_MAPPED_END: Final = _MAPPED | 0xFFFFFFFF
_ALL: Final = (1 << 128) - 1
_LOW: Final = (1 << 64) - 1
Piece = tuple[int, int, int]
"""First and last number, and the index of the value."""


def number_of(text: str) -> int:
    """The number of an address. Raises ValueError for text that is none."""
    try:
        if ":" in text:
            return int.from_bytes(inet_pton(AF_INET6, text), "big")
        return _MAPPED | int.from_bytes(inet_pton(AF_INET, text), "big")
    except (OSError, ValueError):  # a NUL or what is not ASCII is a ValueError
        folded = fold(text) if ":" not in text else None
        if folded is None or folded == text:
            raise ValueError("no address") from None
        return number_of(folded)


def bounds_of(text: str) -> tuple[int, int]:
    """First and last number of an address or a network; bits of the host are no fault. Raises ValueError."""
    address, slash, prefix = text.partition("/")
    number = number_of(address)
    if not slash:
        return number, number
    width = 128 if ":" in address else 32
    if not (prefix.isascii() and prefix.isdigit() and len(prefix) <= 3 and int(prefix) <= width):
        raise ValueError("no prefix length")
    if prefix.strip("0") == "":
        raise ValueError("covers every address")
    rest = (1 << (width - int(prefix))) - 1
    return number & ~rest, number | rest


def span_of(first: str, last: str) -> tuple[int, int]:
    """Two addresses as a range. Raises ValueError when it is reversed or goes from one family to the other."""
    start, end = number_of(first), number_of(last)
    if is_v4(start) != is_v4(end):
        raise ValueError("from one family to the other")
    if start > end:
        raise ValueError("reversed range")
    if (start, end) in ((_MAPPED, _MAPPED_END), (0, _ALL)):
        raise ValueError("covers every address")
    return start, end


def bounds_in(network: IPv4Network | IPv6Network) -> tuple[int, int]:
    """First and last number of a network that was read before; all of a family is one, too."""
    first, last = int(network.network_address), int(network.broadcast_address)
    return (_MAPPED | first, _MAPPED | last) if network.version == 4 else (first, last)


def is_v4(number: int) -> bool:
    """Whether a number is an IPv4 address."""
    return _MAPPED <= number <= _MAPPED_END


class Ranges:
    """Ranges that do not overlap, each with the index of its value; made by :class:`Builder`."""

    __slots__ = ("_ends_high", "_ends_low", "_starts_high", "_starts_low", "_values", "covered_v4")

    def __init__(self) -> None:
        self._starts_high, self._starts_low = array("Q"), array("Q")
        self._ends_high, self._ends_low = array("Q"), array("Q")
        self._values = array("I")
        self.covered_v4 = 0
        """IPv4 addresses in the ranges."""

    def __len__(self) -> int:
        """How many ranges there are after the overlaps were cut."""
        return len(self._values)

    @property
    def nbytes(self) -> int:
        """Bytes that the arrays take."""
        arrays = (self._starts_high, self._starts_low, self._ends_high, self._ends_low, self._values)
        return sum(len(one) * one.itemsize for one in arrays)

    def at(self, number: int) -> int:
        """The index of the value of the range that holds a number; -1 when none does."""
        high, low = number >> 64, number & _LOW
        place = bisect_right(self._starts_high, high)
        place = bisect_right(self._starts_low, low, bisect_left(self._starts_high, high, 0, place), place) - 1
        if place < 0:
            return -1
        end = self._ends_high[place]
        if high < end or (high == end and low <= self._ends_low[place]):
            return self._values[place]
        return -1

    def _add(self, piece: Piece) -> None:
        start, end, value = piece
        self._starts_high.append(start >> 64)
        self._starts_low.append(start & _LOW)
        self._ends_high.append(end >> 64)
        self._ends_low.append(end & _LOW)
        self._values.append(value)
        if is_v4(start):
            self.covered_v4 += end - start + 1

    @classmethod
    def of(cls, pieces: Iterator[Piece]) -> Ranges:
        """From pieces in rising order that do not overlap; neighbours with one value become one range."""
        made = cls()
        open_piece: Piece | None = None
        for piece in pieces:
            if open_piece is not None and _joins(open_piece, piece):
                open_piece = (open_piece[0], piece[1], piece[2])
                continue
            if open_piece is not None:
                made._add(open_piece)
            open_piece = piece
        if open_piece is not None:
            made._add(open_piece)
        return made


def _joins(one: Piece, two: Piece) -> bool:
    """Whether two pieces are one range; IPv4 stays for itself."""
    return one[1] + 1 == two[0] and one[2] == two[2] and is_v4(one[1]) == is_v4(two[0])


class Builder:
    """Takes ranges in any order, with overlaps; where several hold an address, the one that begins last counts.

    Of nested ranges that is the innermost. Of two values for one and the same range the smaller index counts: the value
    that was met first. 80 bytes a range until :meth:`made` has been called.
    """

    def __init__(self) -> None:
        self._records: list[bytes] = []
        self.doubled = 0
        """Ranges that were there already, with the same value."""
        self.contradicted = 0
        """Ranges that were there already, with another value."""
        self.overlapping = 0
        """Ranges that begin inside another one."""

    def __len__(self) -> int:
        """How many ranges were given."""
        return len(self._records)

    def add(self, start: int, end: int, value: int) -> None:
        """One range, both ends in it; in IPv6 without the block that stands for IPv4."""
        if is_v4(start) or end < _MAPPED or start > _MAPPED_END:
            self._records.append(_record(start, end, value))
            return
        if start < _MAPPED:
            self._records.append(_record(start, _MAPPED - 1, value))
        if end > _MAPPED_END:
            self._records.append(_record(_MAPPED_END + 1, end, value))

    def made(self) -> Ranges:
        """The ranges without overlaps; the builder is empty then."""
        self._records.sort(reverse=True)
        return Ranges.of(self._pieces())

    def _pieces(self) -> Iterator[Piece]:
        """Sweeps over the starts; what is open is a stack, the innermost on top."""
        around: list[tuple[int, int]] = []
        at, before = 0, (-1, -1)
        while self._records:
            start, end, value = _read(self._records.pop())
            if (start, end) == before:
                self._again(value == around[-1][1])
                continue
            before = (start, end)
            while around and around[-1][0] < start:
                if at <= around[-1][0]:
                    yield at, *around[-1]
                    at = around[-1][0] + 1
                around.pop()
            if around:
                self.overlapping += 1
                if at < start:
                    yield at, start - 1, around[-1][1]
            at = start
            around.append((end, value))
        while around:
            if at <= around[-1][0]:
                yield at, *around[-1]
                at = around[-1][0] + 1
            around.pop()

    def _again(self, same: bool) -> None:
        if same:
            self.doubled += 1
        else:
            self.contradicted += 1


def _record(start: int, end: int, value: int) -> bytes:
    """Sorts by start, of one start the widest first, of one range the smallest value first."""
    return start.to_bytes(16, "big") + (_ALL - end).to_bytes(16, "big") + value.to_bytes(4, "big")


def _read(record: bytes) -> Piece:
    start, end = int.from_bytes(record[:16], "big"), int.from_bytes(record[16:32], "big")
    return start, _ALL - end, int.from_bytes(record[32:], "big")
