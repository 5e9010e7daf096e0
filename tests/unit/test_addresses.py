"""One address has one spelling, one attacker and one id, however it was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.addresses import fold, special
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


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("0.0.0.0", "this network"),
        ("10.255.255.255", "private"),
        ("172.16.0.0", "private"),
        ("172.31.255.255", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.0", "shared by a carrier (CGNAT)"),
        ("100.127.255.255", "shared by a carrier (CGNAT)"),
        ("127.0.0.1", "loopback"),
        ("169.254.169.254", "link-local"),
        ("192.0.2.1", "documentation"),
        ("198.51.100.255", "documentation"),
        ("203.0.113.7", "documentation"),
        ("233.252.0.1", "documentation"),
        ("198.18.0.0", "benchmarking"),
        ("198.19.255.255", "benchmarking"),
        ("224.0.0.1", "multicast"),
        ("239.255.255.255", "multicast"),
        ("240.0.0.1", "reserved"),
        ("255.255.255.255", "broadcast"),
        ("::", "unspecified"),
        ("::1", "loopback"),
        ("::2", "reserved"),
        ("64:ff9b::a00:1", "NAT64"),
        ("2001:0:4136:e378::1", "Teredo"),
        ("2001:2::1", "benchmarking"),
        ("2001:20::1", "reserved for protocols"),
        ("2001:db8::1", "documentation"),
        ("2002:a00:1::1", "6to4"),
        ("3fff::1", "documentation"),
        ("fd12::1", "private"),
        ("fe80::1", "link-local"),
        ("ff02::1", "multicast"),
        ("4000::1", "reserved"),
    ],
)
def test_an_address_that_is_nobodys_says_why(address: str, why: str) -> None:
    assert special(address) == why


@pytest.mark.parametrize(
    "address",
    [
        "1.0.0.0", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
        "169.253.255.255", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.167.255.255", "192.169.0.0",
        "198.17.255.255", "198.20.0.0", "223.255.255.255", "2000::", "2001:200::", "2001:db7:ffff::1", "2001:db9::",
        "2003::", "2a00:1450::1", "3ffe:ffff::1", "3fff:1000::",
    ],
)  # fmt: skip
def test_the_neighbours_of_such_networks_are_public(address: str) -> None:
    assert special(address) is None


def test_what_is_no_address_has_no_place() -> None:
    with pytest.raises(ValueError, match="IPv4 or IPv6"):
        special("host")
