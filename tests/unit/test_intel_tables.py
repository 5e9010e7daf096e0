"""Operators' text files as tables of addresses: what is read of them, what is left out, and where that is said."""

from __future__ import annotations

import gzip
import io
import os
from pathlib import Path

import pytest

from decnet.errors import IntelError
from decnet.intel import reading, tables
from decnet.intel.answers import LISTED, Said
from decnet.intel.ranges import number_of
from decnet.intel.reading import Limits, Tally, opened
from decnet.intel.tables import Table, read_cidr, read_csv, read_iptoasn

LIMITS = Limits(1_000_000, 1000)
CLOUD = Said("US", 13335, "CLOUDFLARENET")


def read(reader: object, data: bytes, limits: Limits = LIMITS) -> tuple[Table, Tally]:
    tally = Tally("f")
    return reader(io.BytesIO(data), limits, tally), tally  # type: ignore[operator]


def refused(reader: object, data: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(IntelError) as caught:
        read(reader, data, limits)
    return str(caught.value)


def asked(table: Table, *addresses: str) -> list[Said | None]:
    return [table.said_of(ip, number_of(ip)) for ip in addresses]


def test_iptoasn_gives_country_network_and_name_in_both_families() -> None:
    table, tally = read(
        read_iptoasn,
        b"1.0.0.0\t1.0.0.255\t13335\tUS\tCLOUDFLARENET\n1.0.1.0\t1.0.3.255\t0\tNone\tNot routed\n"
        b"2001:200::\t2001:200:5ff:ffff:ffff:ffff:ffff:ffff\t2500\tJP\tWIDE-BB WIDE Project\n",
    )
    wide = Said("JP", 2500, "WIDE-BB WIDE Project")
    assert asked(table, "1.0.0.0", "1.0.0.255", "1.0.1.0", "1.0.4.0", "2001:200:5ff::1") == [
        CLOUD, CLOUD, None, None, wide,
    ]  # fmt: skip
    assert (table.entries, table.listing, dict(tally.wrong)) == (3, False, {})
    assert dict(tally.notes) == {"ranges without an answer": 1}


def test_iptoasns_table_of_countries_has_three_columns() -> None:
    table, _ = read(read_iptoasn, b"1.0.0.0\t1.0.0.255\tau\n2.0.0.0\t2.0.0.255\tNone\n")
    assert asked(table, "1.0.0.9", "2.0.0.9") == [Said("AU"), None]


def test_lines_that_cannot_be_read_are_counted_by_reason_and_the_first_are_named() -> None:
    good = b"".join(b"9.0.%d.0\t9.0.%d.255\t1\tUS\tx\n" % (n, n) for n in range(9))
    bad = (
        b"\n# a comment\n1.0.0.9\t1.0.0.1\t1\tUS\tx\n1.0.0.1\t::1\t1\tUS\tx\nhost\t1.0.0.1\t1\tUS\tx\nx\n"
        b"\xff\t1.0.0.1\t1\tUS\tx\n1.0.0.1\t1.0.0.\x002\t1\tUS\tx\n0.0.0.0\t255.255.255.255\t1\tUS\tx\n"
    )
    table, tally = read(read_iptoasn, good + bad + b"y" * 5000 + b"\n8.0.0.0\t8.0.0.1\t1\tUS\tlast")
    assert dict(tally.wrong) == {
        "reversed range": 1, "from one family to the other": 1, "no address": 1, "not the columns of iptoasn": 1,
        "not UTF-8": 1, "a NUL": 1, "covers every address": 1, "a line of over 4096 bytes": 1,
    }  # fmt: skip
    assert tally.places == [
        "f:12: reversed range: 1.0.0.9\\t1.0.0.1\\t1\\tUS\\tx",
        "f:13: from one family to the other: 1.0.0.1\\t::1\\t1\\tUS\\tx",
        "f:14: no address: host\\t1.0.0.1\\t1\\tUS\\tx",
        "f:15: not the columns of iptoasn: x",
        "f:16: not UTF-8: \\xff\\t1.0.0.1\\t1\\tUS\\tx",
    ]
    assert asked(table, "8.0.0.1", "9.0.8.8") == [Said("US", 1, "last"), Said("US", 1, "x")]
    assert table.entries == 10


def test_a_mark_at_the_beginning_belongs_to_no_line() -> None:
    table, tally = read(read_cidr, b"\xef\xbb\xbf192.0.2.0/24\n")
    assert (asked(table, "192.0.2.7"), dict(tally.wrong)) == ([LISTED], {})


def test_a_list_has_networks_addresses_ranges_and_comments() -> None:
    table, tally = read(
        read_cidr,
        b"# head\r\n; head\n// head\n1.2.3.0/24 ; SBL1\r\n1.2.4.4\n 5.0.0.1 - 5.0.0.9 # x\n6.0.0.1-6.0.0.2\n2a00::/16\n::ffff:7.0.0.1\n",
    )
    inside = ("1.2.3.255", "1.2.4.4", "5.0.0.9", "6.0.0.2", "2a00:ffff::", "7.0.0.1")
    assert asked(table, *inside) == [LISTED] * 6
    assert asked(table, "1.2.4.3", "5.0.0.10", "6.0.0.3", "2a01::", "7.0.0.2") == [None] * 5
    assert (table.entries, table.listing, dict(tally.wrong)) == (6, True, {})


def test_a_line_with_more_than_one_network_is_not_half_read() -> None:
    table, tally = read(read_cidr, b"1.2.3.0 1.2.3.255 24\n9.9.9.9\nexample.org\n8.8.8.8\n")
    assert dict(tally.wrong) == {"not one network": 1, "no address": 1}
    assert asked(table, "1.2.3.0", "9.9.9.9") == [None, LISTED]


def test_a_file_with_more_wrong_lines_than_right_ones_is_refused_with_the_first_place() -> None:
    assert read(read_cidr, b"a\nb\n1.1.1.1\n2.2.2.2\n")[0].entries == 2
    assert refused(read_cidr, b"1.1.1.1\na\nb\n") == "f:2: no address: a (2 of 3 lines cannot be read)"


def test_a_file_of_another_kind_is_given_up_early() -> None:
    assert refused(read_cidr, b"x\n" * 3000).endswith("(1001 of 1001 lines cannot be read)")
    assert refused(read_cidr, b"1.1.1.1\n" + b"x\n" * 3000).endswith("(1001 of 1002 lines cannot be read)")


def test_a_list_of_comments_alone_is_an_empty_list() -> None:
    table, _ = read(read_cidr, b"# nothing is listed now\n")
    assert (table.entries, asked(table, "1.1.1.1")) == (0, [None])


def test_a_list_of_more_than_half_of_all_addresses_is_none() -> None:
    half = b"0.0.0.0/1\n"
    assert asked(read(read_cidr, half)[0], "127.0.0.1", "128.0.0.0") == [LISTED, None]
    assert (
        refused(read_cidr, half + b"128.0.0.0\n")
        == "f: a list of more than half of all IPv4 addresses is none"
    )


def test_bounds_hold_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    few = Limits(1_000_000, 3)
    lines = b"1.0.0.1\n1.0.0.3\n1.0.0.5\n"
    assert read(read_cidr, lines, few)[0].entries == 3
    assert refused(read_cidr, lines + b"1.0.0.7\n", few) == "f:4: over 3 ranges (intel.max_entries)"
    small = Limits(len(lines), 100)
    assert read(read_cidr, lines, small)[0].entries == 3
    assert "unpacks to over 24 bytes" in refused(read_cidr, lines + b"\n", small)
    monkeypatch.setattr(reading, "MAX_LINES", 3)
    assert read(read_cidr, lines)[0].entries == 3
    assert refused(read_cidr, lines + b"\n") == "f:4: over 3 lines"
    monkeypatch.setattr(tables, "MAX_ANSWERS", 2)
    two = b"1.0.0.0\t1.0.0.1\t1\tUS\ta\n1.0.0.2\t1.0.0.3\t2\tUS\tb\n"
    assert read(read_iptoasn, two)[0].entries == 2
    assert refused(read_iptoasn, two + b"1.0.0.4\t1.0.0.5\t3\tUS\tc\n") == "f:3: over 2 different answers"


def test_a_line_of_the_longest_length_is_read_and_one_more_byte_is_skipped() -> None:
    fits = b"1.2.3.4 #".ljust(reading.MAX_LINE - 1, b"x") + b"\n"
    assert asked(read(read_cidr, fits)[0], "1.2.3.4") == [LISTED]
    table, tally = read(read_cidr, b"9.9.9.9\n" + fits[:-1] + b"x\n8.8.8.8\n")
    assert asked(table, "1.2.3.4", "8.8.8.8") == [None, LISTED]
    assert dict(tally.wrong) == {"a line of over 4096 bytes": 1}


@pytest.mark.parametrize(
    ("head", "row", "answer"),
    [
        ("network,country,country_code,continent,asn,as_name", '1.2.3.0/24,Netherlands,NL,Europe,AS49981,"World, B.V."', Said("NL", 49981, "World, B.V.")),
        ("start_ip;end_ip;country", "1.2.3.0;1.2.3.255;de", Said("DE")),
        ("Network,Autonomous System Number,Autonomous-System-Organization", "1.2.3.0/24,13335,CLOUDFLARENET", Said(None, 13335, "CLOUDFLARENET")),
        ("first_seen_utc,dst_ip,dst_port", '"2026-01-01","1.2.3.4","443"', LISTED),
        ("what,network", "scanner,1.2.3.0/24", LISTED),
        ("ip,country_code,score", "1.2.3.4,NL,100", LISTED),
        ("scanner\tname", "1.2.3.4\tx", LISTED),
    ],
)  # fmt: skip
def test_a_header_says_what_the_columns_are(head: str, row: str, answer: Said) -> None:
    table, tally = read(read_csv, f"# made today\n{head}\n{row}\n".encode())
    assert asked(table, "1.2.3.4", "1.2.4.4") == [answer, None]
    assert (table.listing, dict(tally.wrong), dict(tally.notes)) == (answer == LISTED, {}, {})


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        ("1.2.3.0,1.2.3.255,NL", Said("NL")),
        ('1.2.3.0,1.2.3.255,49981,"WorldStream"', Said(None, 49981, "WorldStream")),
        ("2026-01-01,1.2.3.4,x", LISTED),
        ("1.2.3.4", LISTED),
    ],
)
def test_without_a_header_the_first_row_shows_it(row: str, answer: Said) -> None:
    table, _ = read(read_csv, f"{row}\n".encode())
    assert (asked(table, "1.2.3.4"), table.entries) == ([answer], 1)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (
            b"network,geoname_id,registered_country_geoname_id\n1.0.0.0/24,1,2\n",
            "take the mmdb instead of the CSV",
        ),
        (b"1.2.3.0,1.2.3.255,OC,AU\n", "a table of 4 columns without a header"),
        (b"<html>404</html>\n", "f: no column of addresses"),
        (b"name,address\nx,host\n", "f:2: no address: x,host"),
        (b"network,country_code\n1.2.3.0/24,ZZ\n", "f: none of its 1 ranges has a country or a network"),
        (b'"x,1.2.3.4\n', "f:1: no row of CSV"),
    ],
)
def test_a_table_that_would_say_something_wrong_is_refused(data: bytes, why: str) -> None:
    assert why in refused(read_csv, data)


def test_cells_that_say_something_else_than_they_should_are_noted() -> None:
    table, tally = read(
        read_csv,
        b"network,country_code,asn\n1.0.0.0/24,Nether,5\n2.0.0.0/24,NL,soon\n3.0.0.0/24,,-\n4.0.0.0/24\n",
    )
    assert dict(tally.notes) == {
        "countries that are no code": 1, "networks whose number is none": 1, "ranges without an answer": 1,
    }  # fmt: skip
    assert dict(tally.wrong) == {"a row of too few cells": 1}
    assert asked(table, "1.0.0.1", "2.0.0.1", "3.0.0.1") == [Said(None, 5), Said("NL"), None]


def test_overlapping_and_doubled_ranges_are_noted_and_the_innermost_answers() -> None:
    table, tally = read(
        read_iptoasn,
        b"1.0.0.0\t1.255.255.255\t1\tUS\ta\n1.2.0.0\t1.2.255.255\t2\tDE\tb\n1.2.0.0\t1.2.255.255\t3\tFR\tc\n"
        b"1.2.0.0\t1.2.255.255\t2\tDE\tb\n",
    )
    assert asked(table, "1.1.1.1", "1.2.1.1") == [Said("US", 1, "a"), Said("DE", 2, "b")]
    assert dict(tally.notes) == {
        "ranges given twice": 1, "ranges given twice with different answers": 1, "ranges that begin inside another one": 1,
    }  # fmt: skip


def put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_a_packed_file_is_read_as_what_is_in_it_and_bounded_by_that(tmp_path: Path) -> None:
    packed = put(tmp_path, "a.txt.gz", gzip.compress(b"1.2.3.4\n" * 1000))
    with opened(packed, Limits(8000, 1000)) as (handle, _):
        assert read_cidr(handle, Limits(8000, 1000), Tally("a")).entries == 1000
    with (
        pytest.raises(IntelError, match=r"unpacks to over 7999 bytes"),
        opened(packed, LIMITS) as (handle, _),
    ):
        read_cidr(handle, Limits(7999, 1000), Tally("a"))


def test_a_bomb_without_a_line_end_is_not_unpacked_beyond_the_bound(tmp_path: Path) -> None:
    packed = put(tmp_path, "b.txt.gz", gzip.compress(b"x" * 50_000_000, 1))
    limits = Limits(1_000_000, 1000)
    with opened(packed, limits) as (handle, _):
        with pytest.raises(IntelError):
            read_cidr(handle, limits, Tally("b"))
        assert handle.tell() < 1_200_000


@pytest.mark.parametrize(
    "data",
    [gzip.compress(b"1.2.3.4\n" * 9999)[:-20], b"1.2.3.4\n", gzip.compress(b"")[:5]],
    ids=["cut", "plain", "head"],
)
def test_broken_packing_is_named(tmp_path: Path, data: bytes) -> None:
    path = put(tmp_path, "c.gz", data)
    with pytest.raises(IntelError, match=r"c\.gz: broken gzip"), opened(path, LIMITS) as (handle, _):
        read_cidr(handle, Limits(10**6, 10**6), Tally("c"))


def test_what_is_no_file_empty_or_too_large_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    put(tmp_path, "empty", b"")
    put(tmp_path, "full", b"x" * 100)
    for name, why in (
        ("pipe", "no regular file"),
        ("empty", "empty"),
        ("none", "cannot be read: No such file"),
        (".", "cannot be read: Is a directory"),
    ):
        with pytest.raises(IntelError, match=why), opened(tmp_path / name, LIMITS):
            pass
    with opened(tmp_path / "full", Limits(100, 1)) as (handle, stamp):
        assert (handle.read(), stamp.size) == (b"x" * 100, 100)
    with pytest.raises(IntelError, match="over 99 bytes"), opened(tmp_path / "full", Limits(99, 1)):
        pass


def test_a_file_that_is_written_to_meanwhile_is_not_taken(tmp_path: Path) -> None:
    path = put(tmp_path, "a.txt", b"1.2.3.4\n")
    with pytest.raises(IntelError, match="changed while it was read"), opened(path, LIMITS):
        path.write_bytes(b"1.2.3.4\n2.2.2.2\n")
