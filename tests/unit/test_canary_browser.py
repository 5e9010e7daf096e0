"""What a browser tells of itself: its own addresses against the one that it comes from."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from decnet.decoys.canary.browser import MAX_ADDRESSES, facts, is_elsewhere, read_report
from decnet.decoys.http.answers import answer_to, wanted_of
from tests.decoykit import SLUG


def report(addresses: Any) -> dict[str, object]:
    found = read_report(json.dumps({"rtc": addresses}).encode())
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (["8.8.8.8", "8.8.8.8"], ["8.8.8.8"]),
        (["192.168.1.4", "10.0.0.1", "fe80::1", "127.0.0.1", "2f6c1a3e.local"], None),
        (["::ffff:8.8.8.8"], ["8.8.8.8"]),
        (["2a00:1450::7"], ["2a00:1450::7"]),
        (["x" * 10_000, 7, None, {}, "8.8.4.4"], ["8.8.4.4"]),
        (["10.0.0.1"] * MAX_ADDRESSES + ["8.8.8.8"], None),
        (["10.0.0.1"] * (MAX_ADDRESSES - 1) + ["8.8.8.8"], ["8.8.8.8"]),
        ("8.8.8.8", None),
    ],
)
def test_public_addresses_are_kept_and_so_many(told: Any, kept: list[str] | None) -> None:
    assert report(told).get("rtc") == kept


@pytest.mark.parametrize(
    ("peer", "told", "elsewhere"),
    [
        ("9.9.9.9", ["8.8.8.8"], True),
        ("8.8.8.8", ["8.8.8.8"], False),
        ("8.8.8.8", ["1.1.1.1", "8.8.8.8"], False),
        ("9.9.9.9", ["2a00:1450::7"], None),
        ("2a00:1450::1", ["2a00:1450::7"], False),
        ("2a00:1450::1", ["2a00:1450:0:1::7"], True),
        ("9.9.9.9", [], None),
        ("9.9.9.9", None, None),
        ("", ["8.8.8.8"], None),
    ],
)
def test_whether_somebody_stands_between(peer: str, told: Any, elsewhere: bool | None) -> None:
    assert is_elsewhere(peer, told) is elsewhere
    assert facts("", {"rtc": told}, (), peer).get("webrtc_geo_mismatch") is elsewhere


def test_the_script_is_one_that_a_browser_can_read() -> None:
    node = shutil.which("node")
    script = answer_to(wanted_of("GET", f"/i/{SLUG}/s.js"), "0" * 32).body.decode()
    assert script.count("{") == script.count("}")
    assert script.count("(") == script.count(")")
    assert "rtc:s" in script
    if node is not None:
        subprocess.run([node, "--check", "-"], input=script.encode(), check=True)
