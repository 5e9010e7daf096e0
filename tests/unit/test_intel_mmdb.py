"""Files in MaxMind's format answer for every vendor's keys; broken ones are refused and cost nothing else."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import pytest

from decnet.errors import IntelError
from decnet.intel.answers import MAX_NAME, Said
from decnet.intel.mmdb import Mmdb, read_mmdb
from decnet.intel.ranges import number_of
from decnet.intel.reading import Limits, Tally, opened
from tests.mmdbkit import EPOCH, Pointer, encoded, mmdb

LIMITS = Limits(10_000_000, 10)
NET = "1.2.3.0/24"


def read(data: bytes, limits: Limits = LIMITS) -> Mmdb:
    return read_mmdb(io.BytesIO(data), limits, Tally("f.mmdb"))


def refused(data: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(IntelError) as caught:
        read(data, limits)
    return str(caught.value)


def asked(file: Mmdb, *addresses: str) -> list[Said | None]:
    return [file.said_of(ip, number_of(ip)) for ip in addresses]


@pytest.mark.parametrize(
    ("record", "answer"),
    [
        ({"country": {"iso_code": "NL", "names": {"en": "Netherlands"}}, "registered_country": {"iso_code": "DE"}}, Said("NL")),
        ({"autonomous_system_number": 13335, "autonomous_system_organization": "CLOUDFLARENET"}, Said(None, 13335, "CLOUDFLARENET")),
        ({"asn": "AS13335", "as_name": "Cloudflare", "country": "United States", "country_code": "US"}, Said("US", 13335, "Cloudflare")),
        ({"asn": "AS13335", "as_name": "Cloudflare", "country": "US", "country_name": "United States"}, Said("US", 13335, "Cloudflare")),
        ({"country": {"iso_code": "nl"}, "city": {"names": {"en": "Delft"}}}, Said("NL")),
        ({"registered_country": {"iso_code": "DE"}}, Said("DE", allocated=True)),
        ({"registered_country": {"iso_code": "DE"}, "asn": 5, "as_name": " x "}, Said("DE", 5, "x", True)),
        ({"country": "NL", "asn": 0, "as_name": "nobody"}, Said("NL")),
        ({"country": "NL", "asn": 5, "as_name": "n" * 500}, Said("NL", 5, "n" * MAX_NAME)),
        ({"country": "NL", "country_code": ""}, Said("NL")),
        ({"country": "NL", "asn": 2**32 - 1}, Said("NL", 2**32 - 1)),
    ],
)  # fmt: skip
def test_records_of_every_vendor_are_understood(record: Any, answer: Said) -> None:
    assert asked(read(mmdb({NET: record, "9.0.0.0/8": {"country": "US"}})), "1.2.3.4", "1.2.4.4") == [
        answer,
        None,
    ]


@pytest.mark.parametrize(
    "record",
    [
        {"country": 5}, {"country": ["NL"]}, {"country": {"iso_code": 7}}, {"country": "ZZ"}, {"country": "Nether"}, {"asn": True},
        {"asn": "soon"}, {"asn": 2**32}, {"country": {}}, {"as_name": "a name alone"}, [], "text", 5, {"country": "N\0"},
        {"country": "ÄÖ"}, {"registered_country": "NL"},
    ],
)  # fmt: skip
def test_a_record_of_other_types_is_no_answer(record: Any) -> None:
    assert asked(read(mmdb({NET: record, "9.0.0.0/8": {"country": "US"}})), "1.2.3.4") == [None]


def test_both_families_and_nested_networks_answer() -> None:
    file = read(
        mmdb({"1.0.0.0/8": {"country": "NL"}, NET: {"country": "DE"}, "2a00::/16": {"country": "US"}})
    )
    assert asked(file, "1.2.2.9", "1.2.3.9", "2a00::1", "2b00::1") == [
        Said("NL"),
        Said("DE"),
        Said("US"),
        None,
    ]


def test_a_file_of_ipv4_alone_has_no_answer_in_ipv6() -> None:
    file = read(mmdb({"1.0.0.0/8": {"country": "NL"}}, ip_version=4))
    assert asked(file, "1.2.2.9", "2a00::1") == [Said("NL"), None]


@pytest.mark.parametrize(("epoch", "dated"), [(EPOCH, float(EPOCH)), (2**63, None)])
def test_the_date_of_the_data_is_that_of_the_file_if_it_is_one(epoch: int, dated: float | None) -> None:
    file = read(mmdb({NET: {"country": "NL"}}, epoch=epoch))
    assert (file.dated, file.listing, file.unit) == (dated, False, "tree nodes")
    assert file.entries == 120, "96 bits of IPv6 before 24 of the network"


def bomb(levels: int) -> bytes:
    """Arrays of ten pointers to the one before: ten to the power of ``levels`` texts from some hundred bytes."""
    data, last = encoded("x" * 20), 0
    for _ in range(levels):
        at, data = len(data), data + encoded([Pointer(last)] * 10)
        last = at
    return mmdb({"1.0.0.0/8": Pointer(last)}, data=data)


GOOD = mmdb({"1.0.0.0/8": {"country": "NL"}, "2a00::/16": {"country": "US"}})


@pytest.mark.parametrize(
    "data",
    [
        b"junk" * 1000,
        GOOD[:200],
        GOOD[:-150] + b"\xff" * 150,
        GOOD.replace(b"ip_version", b"ip_versiom"),
        bomb(12),
        mmdb({"0.0.0.0/1": Pointer(2**30)}),
        mmdb({"0.0.0.0/1": Pointer(0)}, data=encoded(Pointer(0))),
    ],
)
def test_a_broken_file_is_refused(data: bytes) -> None:
    assert refused(data).startswith("f.mmdb: no mmdb: ")


def test_a_file_of_other_facts_is_refused_and_says_which() -> None:
    said = refused(mmdb({"1.0.0.0/8": {"is_anonymous": True, "is_tor_exit_node": False}}))
    assert said == "f.mmdb: neither country nor network in its records, but is_anonymous, is_tor_exit_node"


def test_a_file_of_a_few_networks_is_taken_though_no_address_that_is_tried_is_in_it() -> None:
    assert asked(read(mmdb({"1.2.3.4/32": {"country": "NL"}})), "1.2.3.4") == [Said("NL")]


def test_a_record_that_cannot_be_read_later_is_counted_and_no_answer() -> None:
    tally = Tally("f.mmdb")
    file = read_mmdb(io.BytesIO(mmdb({NET: Pointer(2**30), "9.0.0.0/8": {"country": "US"}})), LIMITS, tally)
    assert asked(file, "1.2.3.4", "9.1.1.1", "1.2.3.5") == [None, Said("US"), None]
    assert dict(tally.notes) == {"records that cannot be read": 2}
    assert len(tally.places) == 1
    assert tally.places[0].startswith("f.mmdb: of 1.2.3.4: ")


def test_any_bytes_that_are_changed_cost_answers_at_most() -> None:
    chance = random.Random(7)
    refusals = 0
    for _ in range(300):
        data = bytearray(GOOD)
        for _ in range(chance.randint(1, 20)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            asked(read(bytes(data)), "1.2.3.4", "2a00::1", "255.255.255.255", "ffff::")
        except IntelError:
            refusals += 1
    assert 0 < refusals < 300


def test_a_file_that_is_overwritten_in_place_goes_on_answering(tmp_path: Path) -> None:
    path = tmp_path / "c.mmdb"
    path.write_bytes(GOOD)
    with opened(path, LIMITS) as (handle, _):
        file = read_mmdb(handle, LIMITS, Tally("c"))
    path.write_bytes(b"")
    assert asked(file, "1.2.3.4", "2a00::1") == [Said("NL"), Said("US")]


def test_the_copy_is_bounded() -> None:
    assert asked(read(GOOD, Limits(len(GOOD), 1)), "1.2.3.4") == [Said("NL")]
    assert f"unpacks to over {len(GOOD) - 1} bytes" in refused(GOOD, Limits(len(GOOD) - 1, 1))
