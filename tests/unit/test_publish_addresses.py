"""Where a webhook may go: every kind of address, names that answer with several, and names that answer anew."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from decnet.runtime.publish.addresses import judged_address, may_connect
from decnet.runtime.publish.messages import NotDelivered

PUBLIC = ["8.8.8.8", "2606:4700::1111", "64:ff9b::808:808", "::ffff:8.8.8.8", "2002:808:808::1"]
OWN = ["127.0.0.1", "127.8.9.1", "::1", "10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd00::1", "::ffff:10.0.0.1",
       "64:ff9b::a00:1", "2002:a00:1::1", "64:ff9b::7f00:1", "::ffff:127.0.0.1"]  # fmt: skip
NEVER = ["169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fe80::1", "fe80::1%eth0", "0.0.0.0",
         "0.1.2.3", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1", "", "localhost", "1.2.3"]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_connected_to(address: str) -> None:
    assert may_connect(address, private=False)
    assert may_connect(address, private=True)


@pytest.mark.parametrize("address", OWN)
def test_an_own_network_only_where_the_operator_says_so(address: str) -> None:
    assert not may_connect(address, private=False)
    assert may_connect(address, private=True)


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_never(address: str) -> None:
    assert not may_connect(address, private=False)
    assert not may_connect(address, private=True)


async def asked(monkeypatch: pytest.MonkeyPatch, *answers: str, private: bool = False) -> str:
    async def getaddrinfo(host: str, port: int, **_: Any) -> Any:
        return [(2, 1, 6, "", (answer, port)) for answer in answers]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    return await judged_address("hook.example", 443, private=private)


async def test_the_judged_address_is_the_one_to_connect_to(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await asked(monkeypatch, "8.8.8.8", "8.8.4.4") == "8.8.8.8"


@pytest.mark.parametrize(
    "answers", [("8.8.8.8", "127.0.0.1"), ("127.0.0.1", "8.8.8.8"), ("169.254.169.254",), ()]
)
async def test_a_name_with_one_wrong_address_is_refused_as_a_whole(
    monkeypatch: pytest.MonkeyPatch, answers: tuple[str, ...]
) -> None:
    with pytest.raises(NotDelivered, match="may not be connected to"):
        await asked(monkeypatch, *answers)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "a" * 300, "x..y"])
async def test_a_name_that_is_none_is_no_crash(host: str) -> None:
    with pytest.raises(NotDelivered, match="not known"):
        await judged_address(host, 443, private=False)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "0177.0.0.1", "127.1", "localhost"])
async def test_other_ways_to_write_this_host_are_judged_by_their_address(host: str) -> None:
    with pytest.raises(NotDelivered):
        await judged_address(host, 443, private=False)
