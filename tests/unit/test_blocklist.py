"""``blocklist``: who is on it, until when, in which form, and who never is."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from decnet.export.blocklist import Blocked, expiry, may_block, rendered
from decnet_tui.cli.blocklist import chosen

NOW = datetime(2026, 3, 8, tzinfo=UTC)
WEEK = timedelta(days=7)


def row(address: str | None = "203.0.113.7", severity: str | None = "high", **more: Any) -> Any:
    return {"attacker_ip": address, "severity": severity, "first_seen": NOW, "last_seen": NOW, "country": "NL", "lists": [],
            "reputation": [], **more}  # fmt: skip


def addresses(*rows: Any, severity: str = "high", allow: frozenset[str] = frozenset()) -> list[str]:
    return [one.address for one in chosen(rows, severity, WEEK, allow)]


def test_who_was_bad_enough_is_blocked() -> None:
    rows = [
        row(f"203.0.113.{n}", one)
        for n, one in enumerate(("critical", "high", "medium", "low", "info", None))
    ]
    assert addresses(*rows) == ["203.0.113.0", "203.0.113.1"]
    assert addresses(*rows, severity="critical") == ["203.0.113.0"]
    assert len(addresses(*rows, severity="info")) == 5


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1", "169.254.1.1", "0.0.0.0", "224.0.0.1", "255.255.255.255",
     "::", "::1", "fe80::1", "fd00::1", "ff02::1", "::ffff:10.0.0.1", "", "x; rm -rf /", "203.0.113.7 ", "0x7f.1", None],
)  # fmt: skip
def test_nobody_locks_himself_out(address: str | None) -> None:
    assert addresses(row(address)) == []


@pytest.mark.parametrize(
    "address", ["203.0.113.7", "172.32.0.1", "100.128.0.1", "2001:db8::1", "8.8.8.8", "223.255.255.255"]
)
def test_anybody_else_may_be_blocked(address: str) -> None:
    assert may_block(address)


def test_own_networks_scanners_and_named_lists_are_left_out() -> None:
    def listed(*names: str) -> Any:
        return row(lists=list(names))

    assert addresses(listed("own")) == []
    assert addresses(listed("List of known Censys scanning networks")) == []
    assert addresses(listed("botnet")) == ["203.0.113.7"], "a list of bad ones is no excuse"
    assert addresses(listed("partners"), allow=frozenset({"partners"})) == []
    assert (
        addresses(
            row(reputation=[{"source": "greynoise", "verdict": "classification benign  name X", "at": NOW}])
        )
        == []
    )
    assert (
        addresses(row(reputation=[{"source": "greynoise", "verdict": "classification malicious", "at": NOW}]))
        != []
    )
    assert addresses(row(reputation=[{"source": "somebody", "verdict": "benign", "at": NOW}])) != []
    assert addresses(row(last_seen=None)) == []


def blocked(address: str, left: timedelta) -> Blocked:
    return Blocked(address, "high", NOW, NOW - WEEK + left, expiry(NOW - WEEK + left, WEEK), "NL")


SOME = [blocked("203.0.113.10", timedelta(days=1)), blocked("203.0.113.9", timedelta(seconds=90)), blocked("2001:db8::1", timedelta(hours=1)),
        blocked("203.0.113.8", timedelta(0))]  # fmt: skip


def test_what_has_expired_is_not_on_it() -> None:
    assert rendered(SOME, "plain", NOW) == "203.0.113.9\n203.0.113.10\n2001:db8::1\n"
    assert rendered(SOME, "plain", NOW - timedelta(microseconds=1)).startswith("203.0.113.8\n"), (
        "at the last moment it is"
    )
    assert rendered([], "plain", NOW) == ""


def test_for_nftables_each_address_leaves_by_itself() -> None:
    lines = rendered(SOME, "nft", NOW).splitlines()
    assert lines == [
        "add table inet decnet",
        "add set inet decnet blocked4 { type ipv4_addr; flags timeout; }",
        "flush set inet decnet blocked4",
        "add element inet decnet blocked4 { 203.0.113.9 timeout 90s }",
        "add element inet decnet blocked4 { 203.0.113.10 timeout 86400s }",
        "add set inet decnet blocked6 { type ipv6_addr; flags timeout; }",
        "flush set inet decnet blocked6",
        "add element inet decnet blocked6 { 2001:db8::1 timeout 3600s }",
    ]
    short = rendered([blocked("203.0.113.9", timedelta(milliseconds=1))], "nft", NOW)
    assert "timeout 1s" in short, "0 would be for ever"
    assert all(re.fullmatch(r"[a-z0-9 {}:;._]+", line) for line in lines)


def test_as_json_with_until_when_and_why() -> None:
    first, *_ = json.loads(rendered(SOME, "json", NOW))
    assert first == {
        "address": "203.0.113.9", "severity": "high", "first_seen": "2026-03-08T00:00:00+00:00", "last_seen": "2026-03-01T00:01:30+00:00",
        "expires_at": "2026-03-08T00:01:30+00:00", "country": "NL",
    }  # fmt: skip
