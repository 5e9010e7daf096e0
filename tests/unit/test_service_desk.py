"""Questions to all services that are on: asked once, counted before they go out, and nothing at all with every one off."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from decnet.config import load_settings
from decnet.intel.services.base import Kind
from decnet.intel.services.desk import AT_ONCE, Desk, Outcome
from decnet.intel.services.governor import Rows
from tests import servicekit as kit
from tests.httpkit import Server, reply, serving
from tests.servicekit import ADDRESS, HOST, SHA256, URL

START = 20_000 * 86_400.0
NAMES = ("greynoise", "abuseipdb", "virustotal", "urlhaus", "threatfox", "feodo")
TARGETS = {
    f"/v3/community/{ADDRESS}": reply(200, kit.GREYNOISE_SEEN),
    f"/api/v2/check?ipAddress={ADDRESS}&maxAgeInDays=7&verbose=true": reply(200, kit.ABUSEIPDB),
    f"/api/v3/files/{SHA256}": reply(200, kit.VIRUSTOTAL),
    "/v1/host/": reply(200, kit.URLHAUS_HOST),
    "/v1/url/": reply(200, kit.URLHAUS_URL),
    "/v1/payload/": reply(200, kit.URLHAUS_FILE),
    "/api/v1/": reply(200, kit.THREATFOX),
    "/downloads/ipblocklist.json": reply(200, kit.FEODO),
}
SEEN = f"/v3/community/{ADDRESS}"


class World:
    """A desk with its clock and what it had kept."""

    def __init__(self, server: Server, *names: str, rows: Rows | None = None, **more: Any) -> None:
        section = {"enabled": True, "key": "k", "base_url": server.base, **more}
        self.now, self.server = START, server
        self.kept: list[Rows] = []
        self.asked_when_kept: list[int] = []
        self.broken: OSError | None = None
        self.desk = Desk(load_settings(**dict.fromkeys(names, section)), self.keep, rows, lambda: self.now)

    async def keep(self, rows: Rows) -> None:
        if self.broken:
            raise self.broken
        self.kept.append(rows)
        self.asked_when_kept.append(len(self.server.asked))

    async def whys(self, kind: Kind = "address", text: str = ADDRESS) -> dict[str, str]:
        return {one.service: one.why for one in await self.desk.ask(kind, text)}

    def health(self, name: str = "greynoise") -> dict[str, Any]:
        found: dict[str, Any] = self.desk.health()["services"][name]
        return found


async def test_with_every_service_off_nothing_is_asked_looked_up_or_opened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[Any] = []

    def guard(*args: Any, **more: Any) -> Any:
        used.append(args)
        raise AssertionError("a packet would have left")

    loop = asyncio.get_running_loop()
    for owner, name in ((socket, "socket"), (socket, "getaddrinfo"), (socket, "create_connection")):
        monkeypatch.setattr(owner, name, guard)
    monkeypatch.setattr(loop, "getaddrinfo", guard)
    monkeypatch.setattr(loop, "create_connection", guard)

    async def keep(rows: Rows) -> None:
        used.append(rows)

    desk = Desk(load_settings(), keep)
    kinds: list[tuple[Kind, str]] = [
        ("address", ADDRESS), ("host", HOST), ("url", URL), ("sha256", SHA256), ("address", "10.0.0.1"),
    ]  # fmt: skip
    assert [await desk.ask(kind, text) for kind, text in kinds] == [[]] * len(kinds)
    assert (desk.names, desk.health()["services"], used) == ((), {}, [])
    await desk.close()

    on = Desk(load_settings(greynoise={"enabled": True}), keep)
    with pytest.raises(AssertionError, match="would have left"):
        await on.ask("address", ADDRESS)
    await on.close()


@pytest.mark.parametrize(
    ("kind", "text", "services"),
    [
        ("address", ADDRESS, ["greynoise", "abuseipdb", "urlhaus", "threatfox", "feodo"]),
        ("host", ADDRESS, ["greynoise", "abuseipdb", "urlhaus", "threatfox", "feodo"]),
        ("sha256", SHA256, ["virustotal", "urlhaus"]),
        ("url", URL, ["urlhaus"]),
    ],
)
async def test_every_service_that_can_be_asked_about_such_a_thing_answers(
    kind: Kind, text: str, services: list[str]
) -> None:
    async with serving(TARGETS) as server:
        world = World(server, *NAMES)
        found = await world.desk.ask(kind, text)
        await world.desk.close()
    assert [(one.service, one.why, one.at) for one in found] == [(name, "", START) for name in services]
    assert all(one.answer and one.answer.known for one in found)


async def test_an_answer_is_given_again_for_a_day_without_asking() -> None:
    async with serving(TARGETS) as server:
        world = World(server, "greynoise")
        first = await world.desk.ask("address", ADDRESS)
        world.now += 86_399
        assert await world.desk.ask("address", f"::ffff:{ADDRESS}") == first
        assert len(server.asked) == 1
        world.now += 1
        assert (await world.desk.ask("address", ADDRESS))[0].at == world.now
        await world.desk.close()
    assert len(server.asked) == 2


async def test_one_list_answers_for_all_addresses() -> None:
    async with serving(TARGETS) as server:
        world = World(server, "feodo")
        found = [(await world.desk.ask("address", ip))[0] for ip in (ADDRESS, "91.92.93.95", kit.OTHER)]
        await world.desk.close()
    assert [one.answer.said.get("feodo_malware_family") for one in found if one.answer] == [
        "QakBot",
        None,
        "Pikabot",
    ]
    assert len(server.asked) == 1
    assert ADDRESS not in server.asked[0].target


async def test_who_asks_the_same_at_the_same_time_waits_for_one_question() -> None:
    async with serving(TARGETS) as server:
        server.hold = asyncio.Event()
        world = World(server, "greynoise")
        tasks = [asyncio.create_task(world.desk.ask("address", ADDRESS)) for _ in range(20)]
        await server.arrived.wait()
        tasks[0].cancel()
        server.hold.set()
        found = await asyncio.gather(*tasks[1:])
        await world.desk.close()
    assert len(server.asked) == 1
    assert {one.why for (one,) in found} == {""}, "who goes away takes the answer from nobody"
    assert world.health()["answered"] == 1


async def test_no_more_than_a_few_questions_are_out_and_the_rest_hear_of_the_pause() -> None:
    async with serving() as server:
        server.hold = asyncio.Event()
        server.answers = {f"/v3/community/91.92.93.{i}": reply(429, Retry_After="900") for i in range(10)}
        world = World(server, "greynoise")
        tasks = [asyncio.create_task(world.whys(text=f"91.92.93.{i}")) for i in range(10)]
        await server.arrived.wait()
        server.hold.set()
        whys = [why for task in tasks for why in (await task).values()]
        assert len(server.asked) <= AT_ONCE
        world.now += 899
        assert await world.whys() == {"greynoise": "backed_off"}
        world.now += 1
        server.answers = dict(TARGETS)
        assert await world.whys() == {"greynoise": ""}
        await world.desk.close()
    assert set(whys) == {"rate_limited", "backed_off"}
    assert world.health()["faults"] == {"rate_limited": whys.count("rate_limited")}


@pytest.mark.parametrize(
    ("told", "why"),
    [
        (reply(500), "server_error"),
        (reply(302, Location="http://169.254.169.254/latest/meta-data/"), "redirect"),
        (reply(302, Location="http://127.0.0.1/"), "redirect"),
        (reply(200, b" " * (10 * 2**20)), "too_large"),
        (reply(200, {**kit.GREYNOISE_SEEN, "riot": 10**40}), "wrong_shape"),
        (reply(200, {**kit.GREYNOISE_SEEN, "classification": "\x1b[2J"}), "hostile_text"),
    ],
)
async def test_a_hostile_answer_is_counted_the_service_rests_and_nothing_is_believed(
    told: bytes, why: str
) -> None:
    async with serving({SEEN: told}) as server:
        world = World(server, "greynoise")
        assert await world.desk.ask("address", ADDRESS) == [Outcome("greynoise", None, None, why)]
        assert await world.whys(text="91.92.93.95") == {"greynoise": "backed_off"}
        await world.desk.close()
    health = world.health()
    assert (health["asked"], health["answered"], health["unknown"]) == (1, 0, 0)
    assert (health["faults"], health["rests_until"]) == ({why: 1}, START + 60)
    assert [row for rows in world.kept for row in rows.answers] == []


async def test_a_service_that_says_nothing_is_given_up_and_rests() -> None:
    async with serving(TARGETS) as server:
        server.hold = asyncio.Event()
        world = World(server, "greynoise", timeout_s=0.05)
        assert await world.whys() == {"greynoise": "timeout"}
        assert await world.whys() == {"greynoise": "backed_off"}
        await world.desk.close()
    assert world.health()["faults"] == {"timeout": 1}


async def test_a_host_that_is_an_address_is_asked_about_as_one_whoever_is_on() -> None:
    async with serving(TARGETS) as server:
        world = World(server, "greynoise")
        assert await world.whys("host", ADDRESS) == {"greynoise": ""}
        assert await world.whys("host", HOST) == {}
        await world.desk.close()


async def test_a_service_that_fails_takes_nothing_from_the_others() -> None:
    async with serving({**TARGETS, SEEN: reply(500)}) as server:
        world = World(server, "greynoise", "abuseipdb")
        assert await world.whys() == {"greynoise": "server_error", "abuseipdb": ""}
        await world.desk.close()


async def test_a_question_is_counted_in_what_is_kept_before_it_goes_out() -> None:
    async with serving(TARGETS) as server:
        world = World(server, "greynoise", daily_budget=1)
        await world.desk.ask("address", ADDRESS)
        await world.desk.close()
        assert [rows.services[0].used for rows in world.kept] == [1, 1]
        assert world.asked_when_kept == [0, 1]
        crashed = World(server, "greynoise", rows=world.kept[0], daily_budget=1)
        assert await crashed.whys() == {"greynoise": "over_budget"}
        after = World(server, "greynoise", rows=world.kept[1], daily_budget=1)
        assert await after.whys() == {"greynoise": ""}
        await crashed.desk.close()
        await after.desk.close()
    assert len(server.asked) == 1


async def test_what_cannot_be_counted_is_not_sent_and_can_be_asked_again() -> None:
    async with serving(TARGETS) as server:
        world = World(server, "greynoise")
        world.broken = OSError("disk full")
        with pytest.raises(OSError, match="disk full"):
            await world.desk.ask("address", ADDRESS)
        assert server.asked == []
        world.broken = None
        assert await world.whys() == {"greynoise": ""}
        await world.desk.close()


async def test_what_is_not_public_is_counted_and_asked_nobody() -> None:
    async with serving(TARGETS) as server:
        world = World(server, *NAMES)
        for kind, text in (("address", "192.168.1.1"), ("host", "nas.local"), ("url", "http://u:p@a.ru/")):
            whys = await world.whys(kind, text)  # type: ignore[arg-type]
            assert len(set(whys.values())) == 1
        await world.desk.close()
    assert server.asked == []
    assert world.desk.health()["not_asked"] == {
        "no_value": 0,
        "special_address": 1,
        "inner_name": 1,
        "log_in": 1,
        "empty_file": 0,
        "own_network": 0,
        "ignored_source": 0,
    }


@pytest.mark.parametrize(
    ("kind", "text"),
    [("address", ADDRESS), ("host", ADDRESS), ("url", URL), ("address", f"::ffff:{ADDRESS}")],
)
async def test_nobody_is_asked_about_the_operators_own_networks(kind: Kind, text: str) -> None:
    async with serving(TARGETS) as server:
        section = {"enabled": True, "key": "k", "base_url": server.base}
        own = {"own_networks": ["10.0.0.0/8", "2001:41d0::/32", "91.92.93.94/31"]}

        async def keep(rows: Rows) -> None:
            raise AssertionError(rows)

        desk = Desk(load_settings(intel=own, **dict.fromkeys(NAMES, section)), keep)
        assert {one.why for one in await desk.ask(kind, text)} == {"own_network"}
        assert desk.askable("address", "91.92.93.96").text == "91.92.93.96"
        assert (await desk.ask("sha256", SHA256, "none of them")) == []
        await desk.close()
    assert server.asked == []


async def test_closing_gives_up_what_is_under_way() -> None:
    async with serving(TARGETS) as server:
        server.hold = asyncio.Event()
        world = World(server, "greynoise")
        asking = asyncio.create_task(world.desk.ask("address", ADDRESS))
        await server.arrived.wait()
        await world.desk.close()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert world.health()["asked"] == 1
