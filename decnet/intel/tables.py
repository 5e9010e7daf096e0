"""Files of text as tables of ranges: iptoasn's TSV, lists of networks, CSV.

A table says where addresses are (country, network), or is a list that only says that it holds them. Bounds, comments and
counting are :mod:`decnet.intel.reading`'s.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from typing import BinaryIO, Final, NamedTuple

from decnet.errors import IntelError, SourcePosition
from decnet.intel.answers import LISTED, Said, asn_of, country_of, said
from decnet.intel.ranges import Builder, Ranges, bounds_of, span_of
from decnet.intel.reading import Limits, Tally, lines_of

MAX_ANSWERS: Final = 250_000
"""Different answers in one file: each network of the world in two countries."""
MOST_OF_V4: Final = 2**31
"""IPv4 addresses that a list may hold; one of more would call everybody a member."""
_BLANK: Final = frozenset({"", "0", "-", "??", "none", "null", "n/a", "unknown", "zz", "xx"})
"""What stands in a cell of which nothing is known."""
_NETWORKS: Final = ("network", "cidr", "prefix", "subnet", "range", "ip_range", "ip_cidr")
_ADDRESSES: Final = ("ip", "ip_address", "ipaddress", "address", "addr", "dst_ip", "dstip", "src_ip", "srcip")
_STARTS: Final = ("start_ip", "ip_start", "range_start", "start", "first_ip", "start_address")
_ENDS: Final = ("end_ip", "ip_end", "range_end", "end", "last_ip", "end_address")
_COUNTRIES: Final = ("country_code", "country_iso_code", "countrycode", "cc", "country")
_ASNS: Final = ("asn", "as_number", "autonomous_system_number", "asnumber", "as")
_AS_NAMES: Final = (
    "as_name",
    "as_organization",
    "autonomous_system_organization",
    "as_description",
    "as_org",
    "asname",
)
_ONE_RANGE: Final = re.compile(r"(\S+?)(?:\s*-\s*(\S+))?\Z")
Row = tuple[tuple[int, int], Said | None]
Parse = Callable[[str], Row]


class _Reading(NamedTuple):
    """How the lines of a file are read."""

    parse: Parse
    listing: bool
    header: bool = False
    """Whether the first line is none of them."""
    guessed: bool = False
    """Whether nothing but the rows can show that it is right."""


class Table:
    """The ranges of one file with their answers."""

    __slots__ = ("_ranges", "_values", "dated", "entries", "listing", "name", "unit")

    def __init__(
        self,
        ranges: Ranges,
        values: Sequence[Said | None],
        entries: int,
        *,
        listing: bool,
        name: str | None = None,
    ) -> None:
        self._ranges, self._values = ranges, tuple(values)
        self.entries, self.unit = entries, "ranges"
        self.listing = listing
        """Whether it is a list, and no table of places."""
        self.name = name
        """What the file calls itself."""
        self.dated: float | None = None
        """When its data were made (epoch seconds), if the file says so."""

    def said_of(self, address: str, number: int) -> Said | None:
        """What the file says of an address, given as canonical text and as number; never raises."""
        index = self._ranges.at(number)
        return None if index < 0 else self._values[index]


class Filling:
    """A table while it is read: :meth:`put` for each range, then :meth:`table`."""

    def __init__(self, limits: Limits, tally: Tally) -> None:
        self._limits, self._tally = limits, tally
        self._builder = Builder()
        self._index: dict[Said | None, int] = {}

    def put(self, line: int, row: Row) -> None:
        """One range with its answer. Raises IntelError when the file has too many."""
        (start, end), answer = row
        if self._tally.good >= self._limits.max_entries:
            raise self._too_many(line, f"{self._limits.max_entries} ranges (intel.max_entries)")
        index = self._index.setdefault(answer, len(self._index))
        if index >= MAX_ANSWERS:
            raise self._too_many(line, f"{MAX_ANSWERS} different answers")
        self._tally.good += 1
        if answer is None:
            self._tally.notes["ranges without an answer"] += 1
        self._builder.add(start, end, index)

    def _too_many(self, line: int, bound: str) -> IntelError:
        return IntelError(f"{SourcePosition(self._tally.file, line)}: over {bound}")

    def table(self, *, listing: bool, name: str | None = None) -> Table:
        """The table. Raises IntelError for one that cannot be what it says."""
        tally, notes = self._tally, self._tally.notes
        tally.judge()
        ranges = self._builder.made()
        if not listing and not any(self._index):
            raise IntelError(f"{tally.file}: none of its {tally.good} ranges has a country or a network")
        if listing and ranges.covered_v4 > MOST_OF_V4:
            raise IntelError(f"{tally.file}: a list of more than half of all IPv4 addresses is none")
        notes["ranges given twice"] += self._builder.doubled
        notes["ranges given twice with different answers"] += self._builder.contradicted
        notes["ranges that begin inside another one"] += self._builder.overlapping
        tally.notes = +notes
        return Table(ranges, list(self._index), tally.good, listing=listing, name=name)


def read_iptoasn(handle: BinaryIO, limits: Limits, tally: Tally) -> Table:
    """iptoasn.com's TSV: first and last address, number, country and name of the network; or three columns with a country."""

    told = _Answers(tally)

    def parse(text: str) -> Row:
        cells = text.split("\t")
        if len(cells) == 3:
            return span_of(cells[0], cells[1]), told.of(cells[2], None, None)
        if len(cells) < 4:
            raise ValueError("not the columns of iptoasn")
        return span_of(cells[0], cells[1]), told.of(cells[3], cells[2], cells[4] if len(cells) > 4 else None)

    return _filled(handle, limits, tally, _Reading(parse, listing=False))


def read_cidr(handle: BinaryIO, limits: Limits, tally: Tally) -> Table:
    """A list of networks, addresses or ``first-last`` ranges, one a line; what stands behind ``#`` or ``;`` is a comment."""

    def parse(text: str) -> Row:
        found = _ONE_RANGE.match(text.partition("#")[0].partition(";")[0].strip())
        if found is None:
            raise ValueError("not one network")
        return bounds_of(found[1]) if found[2] is None else span_of(found[1], found[2]), LISTED

    return _filled(handle, limits, tally, _Reading(parse, listing=True))


def read_csv(handle: BinaryIO, limits: Limits, tally: Tally) -> Table:
    """CSV whose header names the columns; without a header the first column of addresses is taken.

    Networks or ranges with a country or a network's number are a table of places, everything else is a list.
    """
    return _filled(handle, limits, tally, None)


def _filled(handle: BinaryIO, limits: Limits, tally: Tally, reading: _Reading | None) -> Table:
    """The table of all lines; without ``reading`` the first line shows how they are read."""
    filling = Filling(limits, tally)
    for line, text in lines_of(handle, limits, tally):
        if reading is None:
            reading = _reading_of(line, text, tally)
            if reading.header:
                continue
        try:
            row = reading.parse(text)
        except ValueError as error:
            tally.left_out(str(error), line, text)
        else:
            filling.put(line, row)
    if reading is not None and reading.guessed and not tally.good:
        raise IntelError(f"{tally.file}: no column of addresses")
    return filling.table(listing=reading is None or reading.listing)


class _Answers:
    """Answers from cells, each made once; a cell that says something else than it should is noted."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._known: dict[tuple[str | None, ...], Said | None] = {}

    def of(self, country: str | None, asn: str | None, name: str | None) -> Said | None:
        """The answer of one row."""
        cells = (country, asn, name)
        if cells in self._known:
            return self._known[cells]
        odd = [
            why
            for cell, value, why in (
                (country, country_of(country), "countries that are no code"),
                (asn, asn_of(asn), "networks whose number is none"),
            )
            if cell is not None and value is None and cell.lower() not in _BLANK
        ]
        self._tally.notes.update(odd)
        answer = said(country, asn, name)
        if not odd and len(self._known) < MAX_ANSWERS:
            self._known[cells] = answer
        return answer


class _Columns(NamedTuple):
    """Which cells of a row mean what; -1 for a column that is not there, of addresses the first one then."""

    told: _Answers
    delimiter: str
    start: int
    end: int = -1
    country: int = -1
    asn: int = -1
    as_name: int = -1

    @property
    def listing(self) -> bool:
        """Whether rows say nothing of a place."""
        return self.country < 0 and self.asn < 0

    def row(self, text: str) -> Row:
        """A line's range and answer. Raises ValueError."""
        cells = _cells(text, self.delimiter)
        if len(cells) <= max(self[2:]):
            raise ValueError("a row of too few cells")
        first = cells[max(0, self.start)]
        bounds = bounds_of(first) if self.end < 0 else span_of(first, cells[self.end])
        if self.listing:
            return bounds, LISTED
        return bounds, self.told.of(*(cells[at] if at >= 0 else None for at in self[4:]))


def _reading_of(line: int, first: str, tally: Tally) -> _Reading:
    """What the first row shows. Raises IntelError for a table that cannot be understood."""
    delimiter = max(",;\t", key=first.count)
    try:
        cells = _cells(first, delimiter)
    except ValueError as error:
        raise IntelError(f"{SourcePosition(tally.file, line)}: {error}") from error
    where = [at for at, cell in enumerate(cells) if _is_network(cell)]
    if where:
        found = _Columns(_Answers(tally), delimiter, *_without_header(cells, where, tally.file))
        return _Reading(found.row, found.listing)
    names = [re.sub(r"[ -]+", "_", cell.lower()) for cell in cells]
    found = _Columns(_Answers(tally), delimiter, *_by_header(names, tally.file))
    return _Reading(found.row, found.listing, header=True, guessed=found.start < 0)


def _without_header(cells: Sequence[str], where: Sequence[int], file: str) -> tuple[int, ...]:
    """DB-IP's tables (first, last, country; or first, last, number, name), or a list by its first column of addresses."""
    if where[:2] != [0, 1]:
        return (where[0],)
    if len(cells) == 3 and (country_of(cells[2]) or cells[2].lower() in _BLANK):
        return 0, 1, 2
    if len(cells) == 4 and cells[2].isdigit():
        return 0, 1, -1, 2, 3
    raise IntelError(f"{file}: a table of {len(cells)} columns without a header")


def _by_header(names: Sequence[str], file: str) -> tuple[int, ...]:
    """Columns by their names; -1 alone when none of them is known to be one of addresses."""
    if "geoname_id" in names:
        raise IntelError(f"{file}: its countries stand in another file: take the mmdb instead of the CSV")
    start, end = _first(names, _STARTS), _first(names, _ENDS)
    ranged = start >= 0 and end >= 0
    wide = start if ranged else _first(names, _NETWORKS)
    if wide < 0:
        return (_first(names, _ADDRESSES),)
    return wide, end if ranged else -1, *(_first(names, of) for of in (_COUNTRIES, _ASNS, _AS_NAMES))


def _first(names: Sequence[str], wanted: Sequence[str]) -> int:
    return next((names.index(name) for name in wanted if name in names), -1)


def _cells(text: str, delimiter: str) -> list[str]:
    """A row's cells without blanks around them. Raises ValueError."""
    if '"' not in text:
        return [cell.strip() for cell in text.split(delimiter)]
    try:
        return [cell.strip() for cell in next(csv.reader([text], delimiter=delimiter, strict=True))]
    except csv.Error:
        raise ValueError("no row of CSV") from None


def _is_network(cell: str) -> bool:
    try:
        bounds_of(cell)
    except ValueError as error:
        return "covers" in str(error)
    return True
