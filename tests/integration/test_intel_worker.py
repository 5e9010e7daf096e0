"""From a honeypot's log through services to tags, with a server on loopback that speaks as they do, and as they should not."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from decnet.engine import Engine
from decnet.ids import attacker_id, tag_id
from decnet.intel.worker import IntelWorker
from decnet.runtime.supervisor import Supervisor
from tests import servicekit as kit
from tests.askkit import ANSWERS, IDLE_S, NAMES, PATHS, A, lines, log_of, ran, section, settings_for, stored
from tests.httpkit import reply, serving
from tests.servicekit import ADDRESS, SHA256, URL

pytestmark = pytest.mark.slow
TAGS = {
    ("L0201", "T1110", None), ("L0201", "T1595", "T1595.001"), ("L0202", "T1595", None),
    ("L0203", "T1071", "T1071.001"), ("L0203", "T1566", "T1566.002"), ("L0204", "T1071", None),
    ("L0204", "T1608", "T1608.001"),
}  # fmt: skip
IDS = {tag_id("intel", A, rule, 1, technique, sub) for rule, technique, sub in TAGS}


async def test_what_services_say_of_a_new_attacker_becomes_intel_and_tags(tmp_path: Path) -> None:
    log_of(tmp_path / "cowrie.json", lines())
    began = time.time()
    async with serving(ANSWERS) as server:
        settings = settings_for(tmp_path, server.base, *NAMES)
        health = await ran(settings)
        asked = sorted(one.target for one in server.asked)
        await ran(settings)
        assert len(server.asked) == len(asked), "nobody is asked again after a restart"
    assert asked == sorted([*PATHS.values(), "/v1/url/", "/v1/payload/"])
    assert {name: one["asked"] for name, one in health["services"].items()} == {
        **dict.fromkeys(NAMES, 1),
        "urlhaus": 3,
    }
    assert (health["answers_told"], health["questions_waiting"], health["degraded"]) == (5, 0, "")
    repo = await stored(settings)
    try:
        ((ts, payload),) = await repo.intel_of([A])
        assert began <= ts <= time.time()
        assert payload["providers"] == ["abuseipdb", "feodo", "greynoise", "threatfox", "urlhaus"]
        assert (payload["abuseipdb_score"], payload["feodo_malware_family"], payload["aggregate_verdict"]) == (
            100.0, "QakBot", "malicious",
        )  # fmt: skip
        rows = [row for row in await repo.list_tags(limit=0) if row["source_kind"] == "intel"]
        assert {(r["rule_id"], r["technique_id"], r["sub_technique_id"]) for r in rows} == TAGS
        assert {row["uuid"] for row in rows} == IDS
        said = {(row["service"], row["value"]): row["known"] for row in await repo.intel_said_of(SHA256)}
        assert said == {("urlhaus", SHA256): True, ("virustotal", SHA256): True}
        assert [row["service"] for row in await repo.intel_said_of(URL)] == ["urlhaus"]
        assert [row["service"] for row in await repo.intel_said_of(ADDRESS)] == [
            "abuseipdb", "greynoise", "threatfox", "urlhaus",
        ]  # fmt: skip
    finally:
        await repo.close()


async def slow(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def large(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 X\r\nContent-Length: 10485760\r\n\r\n")
    for _ in range(160):
        writer.write(b'["' + b"x" * 65_532 + b'"]')
        await writer.drain()


HOSTILE = ("rate_limited", "server_error", "timeout", "too_large", "wrong_shape", "redirect")


@pytest.mark.parametrize("turn", [0, 1, 3])
async def test_hostile_answers_are_counted_and_nothing_of_them_is_believed(tmp_path: Path, turn: int) -> None:
    log_of(tmp_path / "cowrie.json", lines())
    async with serving() as inner, serving() as server:
        bad = {
            "rate_limited": reply(429, kit.GREYNOISE_SEEN, Retry_After="5"),
            "server_error": reply(500, kit.GREYNOISE_SEEN),
            "timeout": slow,
            "too_large": large,
            "wrong_shape": reply(200, 7),
            "redirect": reply(302, kit.GREYNOISE_SEEN, Location=f"{inner.base}/metadata"),
        }
        reasons = dict(zip(NAMES, HOSTILE[turn:] + HOSTILE[:turn], strict=True))
        server.answers = {PATHS[name]: bad[reason] for name, reason in reasons.items()}
        server.answers |= dict.fromkeys(("/v1/url/", "/v1/payload/"), bad[reasons["urlhaus"]])
        settings = settings_for(tmp_path, server.base, *NAMES, **{
            name: section(server.base, timeout_s=0.3) for name, reason in reasons.items() if reason == "timeout"
        })  # fmt: skip
        engine = Engine(settings)
        await engine.start()
        try:
            assert await engine.until_idle(IDLE_S) is None
            runner = engine.supervisor.runners["intel"]
            assert runner.state == "ok", "the worker is alive"
            health = runner.worker.health()
        finally:
            await engine.stop(5.0)
        assert inner.asked == [], "no redirect is followed"
    for name, reason in reasons.items():
        service = health["services"][name]
        assert service["faults"].keys() == {reason}, name
        assert service["rests_until"] > time.time() + 30, "it is left alone for a while"
        assert service["waiting"] == (3 if name == "urlhaus" else 1), "its questions stay"
    assert (health["answers_told"], health["questions_failed"] >= 6) == (0, True)
    repo = await stored(settings)
    try:
        assert await repo.intel_of([A]) == []
        assert await repo.intel_said_of(ADDRESS) == []
        kinds = {row["source_kind"] for row in await repo.list_tags(limit=0)}
        assert kinds == {"payload"}, "the session itself is judged as ever"
    finally:
        await repo.close()


async def test_two_engines_on_one_database_ask_once_and_share_the_budget(tmp_path: Path) -> None:
    ips = [f"91.92.93.{n}" for n in range(1, 7)]
    log_of(tmp_path / "cowrie.json", *(lines(ip, f"a1000000000{n}") for n, ip in enumerate(ips)))
    answers = {f"/v3/community/{ip}": reply(200, {**kit.GREYNOISE_SEEN, "ip": ip}) for ip in ips}
    async with serving(answers) as server:
        base = settings_for(
            tmp_path, server.base, "greynoise", greynoise=section(server.base, daily_budget=4)
        )
        engine = Engine(base)
        await engine.start()
        other = IntelWorker(base, owner="another process")
        supervisor = Supervisor([other], engine.repo, engine.bus, base)
        await supervisor.start()
        try:
            assert await engine.until_idle(IDLE_S) is None
            healths = [engine.supervisor.runners["intel"].worker.health(), other.health()]
        finally:
            await supervisor.stop(5.0)
            await engine.stop(5.0)
    targets = [asked.target for asked in server.asked]
    assert (len(targets), len(set(targets))) == (4, 4), "each once, and no more than the budget of both"
    assert sum(one["questions_asked"] for one in healths) == 4
    repo = await stored(base)
    try:
        told = [uuid for uuid in map(attacker_id, ips) if await repo.intel_of([uuid])]
        assert len(told) == 4
        assert [count["waiting"] for count in await repo.intel_due_counts(["greynoise"], 0.0)] == [2]
    finally:
        await repo.close()
