"""Files in MaxMind's format: GeoLite2, DB-IP Lite, IPinfo Lite and others with the usual keys.

The file is copied before it is mapped: one that is overwritten in place would otherwise end the process with a bus error.
The copy has no name and goes with the process.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, BinaryIO, Final

import maxminddb

from decnet.errors import IntelError
from decnet.events.fields import LATEST
from decnet.hostile import visible
from decnet.intel.answers import Said, said_of_record
from decnet.intel.ranges import is_v4
from decnet.intel.reading import Limits, Tally, copied

PROBES: Final = 256
"""Addresses that are asked for before a file is taken over."""
_FAULTS: Final = (maxminddb.InvalidDatabaseError, ValueError, OverflowError, RecursionError)


class Mmdb:
    """One file that answers where addresses are."""

    def __init__(self, reader: Any, tally: Tally) -> None:
        facts = reader.metadata()
        self._reader, self._tally = reader, tally
        self._v6 = facts.ip_version == 6
        self.entries, self.unit = int(facts.node_count), "tree nodes"
        self.listing = False
        self.name: str | None = None
        self.dated: float | None = float(facts.build_epoch) if facts.build_epoch < LATEST else None

    def said_of(self, address: str, number: int) -> Said | None:
        """What the file says of an address; a record that cannot be read is counted and no answer."""
        try:
            return said_of_record(self.record_of(address, number))
        except _FAULTS as error:
            self._tally.notes["records that cannot be read"] += 1
            if not self._tally.places:
                self._tally.places.append(f"{self._tally.file}: of {address}: {visible(error, 200)}")
            return None

    def record_of(self, address: str, number: int) -> Any:
        """The record as it is; None for an address that the file does not have. Raises what the reader raises."""
        return self._reader.get(address) if self._v6 or is_v4(number) else None


def read_mmdb(handle: BinaryIO, limits: Limits, tally: Tally) -> Mmdb:
    """The file, tried at addresses all over the space. Raises IntelError for one that is broken or answers nothing."""
    with tempfile.TemporaryFile() as copy:
        copied(handle, copy, Path(tally.file), limits)
        try:
            found = Mmdb(maxminddb.open_database(f"/proc/self/fd/{copy.fileno()}"), tally)
            _try(found, tally.file)
        except _FAULTS as error:
            said = visible(error, 200).replace(f"/proc/self/fd/{copy.fileno()}", "the file")
            raise IntelError(f"{tally.file}: no mmdb: {said}") from error
    tally.good = found.entries
    return found


def _try(found: Mmdb, file: str) -> None:
    """Asks for addresses all over the space. Raises IntelError when there are records and none is of use."""
    keys: set[str] = set()
    for address in _probes():
        record = found.record_of(str(address), int(address) | (0xFFFF << 32 if address.version == 4 else 0))
        if said_of_record(record) is not None:
            return
        keys |= {visible(key, 40) for key in record} if isinstance(record, dict) else set()
    if keys:
        raise IntelError(
            f"{file}: neither country nor network in its records, but {', '.join(sorted(keys)[:10])}"
        )


def _probes() -> Iterator[IPv4Address | IPv6Address]:
    for n in range(PROBES):
        yield IPv4Address((n << 24 | 0x010101) % 2**32)
        yield IPv6Address((0x2000 + n * 32) << 112 | 1)
