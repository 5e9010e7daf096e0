"""What it costs to say where an address is, and what half a million ranges take."""

from __future__ import annotations

import io
import random
import time
import tracemalloc
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from decnet.config import load_settings
from decnet.intel.places import Places
from decnet.intel.reading import Limits, Tally
from decnet.intel.tables import read_iptoasn
from tests.bench.figures import Table
from tests.mmdbkit import mmdb

pytestmark = pytest.mark.bench
RANGES = 500_000
NETWORKS = 5_000
LOOKED_UP = 20_000
_FIRST = 0x0B00_0000
"""11.0.0.0: from there on nothing is special for a while."""


def place_of(n: int, of: int = NETWORKS) -> str:
    return str(IPv4Address(_FIRST + n % of * 256))


def country_file() -> bytes:
    """Records as large as those of a file of countries and cities."""
    names = {"names": dict.fromkeys(("de", "en", "es", "fr", "ja", "ru"), "Netherlands" * 2)}
    record = {"country": {"iso_code": "NL", "geoname_id": 5, **names}, "continent": {"code": "EU", **names}}
    return mmdb({f"{place_of(n)}/24": record for n in range(NETWORKS)})


def asn_file(rows: int) -> bytes:
    return b"".join(
        b"%s\t%s\t%d\tUS\tname of a network %d\n"
        % (
            str(IPv4Address(_FIRST + n * 256)).encode(),
            str(IPv4Address(_FIRST + n * 256 + 200)).encode(),
            n % 60_000 + 1,
            n % 60_000,
        )
        for n in range(rows)
    )


def test_a_look_up_with_mmdb_files_and_lists(table: Table, tmp_path: Path) -> None:
    folder = tmp_path / "intel"
    folder.mkdir()
    (folder / "country.mmdb").write_bytes(country_file())
    (folder / "asn.mmdb").write_bytes(
        mmdb(
            {
                f"{place_of(n)}/24": {
                    "autonomous_system_number": n + 1,
                    "autonomous_system_organization": "A network",
                }
                for n in range(NETWORKS)
            }
        )
    )
    for name in ("tor", "scanners", "clouds"):
        (folder / f"{name}.txt").write_text("".join(f"{place_of(n)}\n" for n in range(0, NETWORKS, 7)))
    places = Places.of(load_settings(data_dir=tmp_path))
    chance = random.Random(1)
    asked = [str(IPv4Address(_FIRST + chance.randrange(NETWORKS * 256))) for _ in range(LOOKED_UP)]
    rounds = []
    for _ in range(5):
        start = time.process_time()
        for ip in asked:
            places.lookup(ip)
        rounds.append((time.process_time() - start) / len(asked) * 1e6)
    found = places.lookup(place_of(7))
    assert (found.country, found.asn, found.lists) == ("NL", 8, ("clouds", "scanners", "tor"))
    table.add("look-up, two mmdb and three lists", min(rounds), 20, "us")


def test_half_a_million_ranges(table: Table) -> None:
    data = asn_file(RANGES)
    limits = Limits(10**9, 10**7)
    start = time.process_time()
    read_iptoasn(io.BytesIO(data), limits, Tally("f"))
    table.add("500,000 ranges of iptoasn read", time.process_time() - start, 15, "s")
    tracemalloc.start()
    try:
        found = read_iptoasn(io.BytesIO(data), limits, Tally("f"))
        now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.entries == RANGES
    table.add("500,000 ranges kept, with 60,000 networks", now / 1e6, 60, "MB")
    table.add("the same, most while they are read", peak / 1e6, 100, "MB")
