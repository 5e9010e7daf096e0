"""MISP's warninglists: their addresses are used, everything else in them is counted and said."""

from __future__ import annotations

import io
import json

import pytest

from decnet.errors import IntelError
from decnet.intel import warninglists
from decnet.intel.answers import LISTED
from decnet.intel.ranges import number_of
from decnet.intel.reading import Limits, OfNoUse, Tally
from decnet.intel.tables import Table
from decnet.intel.warninglists import read_warninglist

LIMITS = Limits(10_000_000, 10_000)


def read(data: bytes) -> tuple[Table, Tally]:
    tally = Tally("list.json")
    return read_warninglist(io.BytesIO(data), LIMITS, tally), tally


def refused(data: bytes) -> str:
    with pytest.raises(IntelError) as caught:
        read(data)
    return str(caught.value)


def test_addresses_and_networks_are_a_list_by_its_own_name() -> None:
    body = {
        "name": "List of known Tor exits", "type": "cidr", "version": 20260101, "matching_attributes": ["ip-src"],
        "list": ["1.2.3.0/24", "2a00::/16", "4.4.4.4", "1.2.3.0/24"],
    }  # fmt: skip
    table, tally = read(b"\xef\xbb\xbf" + json.dumps(body).encode())
    said = [table.said_of(ip, number_of(ip)) for ip in ("1.2.3.4", "2a00::1", "4.4.4.4", "4.4.4.5")]
    assert said == [LISTED, LISTED, LISTED, None]
    assert (table.name, table.listing, table.entries) == ("List of known Tor exits", True, 4)
    assert dict(tally.notes) == {"ranges given twice": 1}


def test_entries_that_are_no_addresses_are_counted_with_their_lines() -> None:
    data = b'{"type": "string",\n "list": [\n  "1.1.1.1", "example.org",\n 5, null,\n "2.2.2.2","3.3.3.\\u0033", "4.4.4.4/40"\n, "5.5.5.5"]}'
    table, tally = read(data)
    assert table.entries == 4
    assert table.said_of("3.3.3.3", number_of("3.3.3.3")) == LISTED
    assert dict(tally.wrong) == {"no address": 1, "no text": 2, "no prefix length": 1}
    assert tally.places == [
        "list.json:3: no address: example.org", "list.json:4: no text: 5", "list.json:4: no text: null",
        "list.json:5: no prefix length: 4.4.4.4/40",
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["hostname", "substring", "regex"])
def test_a_list_of_another_type_is_of_no_use_and_says_how_much_is_in_it(kind: str) -> None:
    with pytest.raises(OfNoUse, match=f"entries of type {kind}, which are no addresses: 3"):
        read(json.dumps({"name": "x", "type": kind, "list": ["a", "b.c", "1.1.1.1"]}).encode())


def test_a_list_of_texts_without_an_address_is_of_no_use() -> None:
    with pytest.raises(OfNoUse, match="entries of type string, of which none is an address"):
        read(json.dumps({"name": "x", "type": "string", "list": ["a", "b.c"] * 2000}).encode())
    with pytest.raises(IntelError) as caught:
        read(b'{"type": "cidr", "list": ["a"]}')
    assert not isinstance(caught.value, OfNoUse), "a list of networks without one is broken"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "no warninglist: Input data was truncated"),
        (b'{"list": ["1.1.1.1",\n "2.2.2.2"', "no warninglist: Input data was truncated"),
        (b'{"list": ["1.1.1.1",\n\n x]}', "list.json:3: no warninglist: JSON is malformed"),
        (b"[1]", "no warninglist: Expected `object`, got `array`"),
        (b'{"name": 5, "list": []}', "no warninglist: Expected `str`, got `int` - at `$.name`"),
        (b'{"name": "x"}', "no warninglist: Object missing required field `list`"),
        (b'{"list": {"a": 1}}', "no warninglist: `list` is no array"),
        (b'{"list": "1.1.1.1"}', "no warninglist: `list` is no array"),
        (
            b'{"list": [\n"1.1.1.1", ["2.2.2.2"]]}',
            "list.json:2: no warninglist: `list` holds more than short texts",
        ),
        (b'{"list": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "no warninglist: maximum recursion depth"),
        (b'{"list": ["' + b"\\n" * 100_000 + b'"]}', "`list` holds more than short texts"),
        (b'{"list": ["\xff"]}', "no warninglist"),
        (b'{"list": ["a", "b", "1.1.1.1"]}', "list.json:1: no address: a (2 of 3 lines cannot be read)"),
        (b'{"list": ["0.0.0.0/0"]}', "list.json:1: covers every address"),
    ],
)
def test_what_is_no_such_file_is_refused_with_its_place(data: bytes, why: str) -> None:
    assert why in refused(data)


def test_an_empty_list_is_one() -> None:
    assert read(b'{"name": "n", "list": [ ]}')[0].entries == 0


def test_a_file_is_read_up_to_the_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b'{"list": ["1.1.1.1"]}'
    monkeypatch.setattr(warninglists, "MAX_BYTES", len(data))
    assert read(data)[0].entries == 1
    assert refused(data + b" ") == f"list.json: over {len(data)} bytes"
