"""One address has one spelling, one attacker and one id, however it was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.addresses import fold
from decnet.events.fields import attacker_of
from decnet.ids import attacker_id, attacker_id_as_written, normalize_ip
from decnet.sensors.cowrie import parse_object
from decnet.sensors.opencanary import parse_object as parse_visit


@pytest.mark.parametrize(
    ("written", "address"),
    [
        ("fe80::1%eth0", "fe80::1"),
        ("FE80:0:0:0::0001%25", "fe80::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("::ffff:102:304", "1.2.3.4"),
        ("::FFFF:1.2.3.4%2", "1.2.3.4"),
        ("[::1]:22", "::1"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("[fe80::1%eth0]:65535", "fe80::1"),
        ("1.2.3.4:22", "1.2.3.4"),
        (" 1.2.3.4\n", "1.2.3.4"),
        ("001.002.003.004", "1.2.3.4"),
        ("192.168.010.001", "192.168.10.1"),
        ("192.168.1.08", "192.168.1.8"),
    ],
)
def test_what_stands_around_an_address_is_no_part_of_it(written: str, address: str) -> None:
    assert fold(written) == address
    assert normalize_ip(written) == address
    assert attacker_id(written) == attacker_id(address)


@pytest.mark.parametrize(
    "written",
    ["010.1.2.3", "1.2.3.4:65536", "[::1]:65536", "1.2.3.4:", "[1.2.3.4]:22", "1.2.3.4%eth0", "256.001.001.001",
     "1.2.3", "web-01", "", "[]", "[::1", "\uff11.2.3.4"],
)  # fmt: skip
def test_what_can_be_read_in_two_ways_or_none_is_no_address(written: str) -> None:
    assert fold(written) is None
    assert normalize_ip(written) == written, "a log may hold anything: it stays what it is"


@given(st.ip_addresses())
def test_folding_again_changes_nothing(address: object) -> None:
    once = fold(str(address))
    assert once is not None
    assert fold(once) == once


def test_a_log_with_a_zone_id_or_a_port_names_the_same_attacker() -> None:
    line = {"eventid": "cowrie.session.connect", "session": "s", "timestamp": "2026-03-01T00:00:00Z"}
    ips = [parse_object({**line, "src_ip": ip}) for ip in ("fe80::1%eth0", "[FE80::1]:50022", "fe80::1")]
    assert [getattr(fact, "src_ip", None) for fact in ips] == ["fe80::1"] * 3
    visit = {"logtype": 4002, "node_id": "d", "utc_time": "2026-03-01 00:00:00", "src_host": "::ffff:102:304"}
    assert getattr(parse_visit(visit), "src_ip", None) == "1.2.3.4"


def test_an_id_that_was_derived_from_the_unfolded_address_is_derived_anew() -> None:
    old = attacker_id_as_written("fe80::1%eth0")
    assert old != attacker_id("fe80::1")
    told = {"attacker_uuid": old, "attacker_ip": "fe80::1%eth0"}
    assert attacker_of(told) == (attacker_id("fe80::1"), "fe80::1")
    own = {"attacker_uuid": "3f0c1c1e-0000-4000-8000-000000000001", "attacker_ip": "fe80::1%eth0"}
    assert attacker_of(own) == (own["attacker_uuid"], "fe80::1"), "a producer's own id is its own"
    assert attacker_of({"attacker_uuid": old}) == (old, None)
