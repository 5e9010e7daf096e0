"""Trips that other services' webhooks tell of, on both databases: each token has its row, and its first trip is told once."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.bus.memory import MemoryBus
from decnet.config import Settings, load_settings
from decnet.db.repository import BaseRepository
from decnet.db.rows.canary import is_foreign
from decnet.decoys.canary import elsewhere, reads
from decnet.decoys.canary.sightings import MAX_SOURCES
from decnet.decoys.worker import DecoysWorker
from decnet.engine import Engine
from decnet.runtime.worker import transaction
from decnet.sensors.inbox.webhooks import SERVICE, trigger_event
from decnet_tui.model.event_text import summarise
from tests.dbkit import KINDS, open_repo
from tests.decoykit import SLUG, START, settings_of, token, told
from tests.wirekit import taken

IP = "203.0.113.60"
MOST = 10


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as found:
        yield found


def webhook(name: str = "t1", peer: str = IP, after: float = 0.0, **more: Any) -> Event:
    """What the inbox makes of a body."""
    body = {
        "token": name, "token_type": "ms_word", "channel": "HTTP", "memo": "on web-01, /srv/share", "src_ip": peer,
        "time": START + after, "manage_url": f"https://tokens.example/nest/manage/secret/{name}",
        "additional_data": {"useragent": "curl/8.9.1"}, **more,
    }  # fmt: skip
    event = trigger_event(body, START)
    assert isinstance(event, Event)
    return event


async def take(repo: BaseRepository, *events: Event, most: int = MOST) -> Counter[str]:
    async with transaction(repo) as tx:
        return await elsewhere.take(tx, taken(list(events)), most)


async def first_trips(repo: BaseRepository) -> list[dict[str, Any]]:
    return [event for event in await told(repo) if event.get("first_trip")]


async def test_the_first_trip_of_a_foreign_token_is_told_as_that(repo: BaseRepository) -> None:
    one = webhook()
    assert await take(repo, one, webhook(after=60)) == {"canary_webhooks": 1, "canary_webhooks_again": 1}
    (event,) = await told(repo)
    assert (event["topic"], event["ts"], event["first_trip"]) == ("canary.t1.triggered", START, True)
    same = ("attacker_uuid", "attacker_ip", "trigger_id", "user_agent", "service")
    assert {name: event[name] for name in same} == {name: one.payload[name] for name in same}
    assert (event["kind"], event["memo"]) == (f"{SERVICE}/ms_word", "on web-01, /srv/share")
    said = summarise(event["topic"], event)
    assert said == f"first trip: {SERVICE}/ms_word on web-01, /srv/share"
    assert summarise(one.topic, one.payload) == f"set off, {SERVICE} says: on web-01, /srv/share"
    (row,) = await repo.canary_overview()
    assert (row["kind"], row["trips"], row["last_peer"], row["last_via"]) == (
        f"{SERVICE}/ms_word", 2, IP, "webhook",
    )  # fmt: skip
    assert is_foreign(row["kind"])
    assert await take(repo, webhook(after=5000)) == {"canary_webhooks": 1}
    assert len(await told(repo)) == 1


async def test_the_news_of_a_first_trip_is_no_trip(repo: BaseRepository) -> None:
    await take(repo, webhook())
    (event,) = await told(repo)
    payload = {name: value for name, value in event.items() if name not in ("topic", "id", "ts")}
    assert await take(repo, Event(event["topic"], payload, "triggered", event["id"], event["ts"])) == {}
    assert (await repo.canary_overview())[0]["trips"] == 1


async def test_deliveries_that_come_twice_and_in_any_order_end_in_the_same_rows(tmp_path: Path) -> None:
    events = [webhook(after=n * 400.0, peer=f"203.0.113.{n % 2}") for n in range(6)]
    found = []
    for seed in range(4):
        place = tmp_path / str(seed)
        place.mkdir()
        async with open_repo("sqlite", place) as repo:
            order = events * 2
            random.Random(seed).shuffle(order)
            for start in range(0, len(order), 3):
                await take(repo, *order[start : start + 3])
            rows = sorted(
                (r["trigger_id"], r["hits"], r["first_at"], r["last_at"])
                for r in await repo.canary_triggers()
            )
            (row,) = await repo.canary_tokens()
            ids = [event["id"] for event in await first_trips(repo)]
            found.append((rows, row["trips"], row["first_trip_at"], row["last_trip_at"], ids))
    assert all(one == found[0] for one in found)
    assert (found[0][1], len(found[0][4])) == (6, 1)


async def test_a_token_of_ours_that_a_service_watches_is_told_with_its_reader(repo: BaseRepository) -> None:
    await repo.canary_add(token("aws-1", SLUG, kind="aws", path="/root/.aws/credentials"))
    command = {"id": "c1", "command_text": "cat /root/.aws/credentials", "ts": START - 50}
    session = {
        "session_id": "s1", "attacker_ip": "203.0.113.7", "decky_id": "web-01", "started_at": START - 60,
        "ended_at": START - 30, "commands": [command], "part": 1, "parts": 1,
    }  # fmt: skip
    async with transaction(repo) as tx:
        await reads.take(tx, taken([Event("attacker.session.ended", session, "closed", "e1", START - 30)]))
    assert await take(repo, webhook("aws-1")) == {"canary_webhooks": 1}
    (event,) = await told(repo)
    assert (event["kind"], event["path"], event["decky_id"]) == ("aws", "/root/.aws/credentials", "web-01")
    assert (event["read_ip"], event["read_session_id"]) == ("203.0.113.7", "s1")
    assert [row["token_id"] for row in await repo.canary_tokens()] == ["aws-1"]


async def test_a_revoked_one_is_only_counted(repo: BaseRepository) -> None:
    await take(repo, webhook())
    assert await repo.canary_revoked("t1", datetime.now(UTC))
    assert await take(repo, webhook(after=5000)) == {"canary_revoked": 1}
    assert (await repo.canary_overview())[0]["trips"] == 1


@pytest.mark.parametrize(("most", "kept", "beyond"), [(3, 3, 0), (2, 2, 1), (0, 0, 3)])
async def test_so_many_foreign_tokens_are_listed(tmp_path: Path, most: int, kept: int, beyond: int) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        await repo.canary_add(token("mine"))
        counts = await take(repo, *(webhook(f"t{n}") for n in range(3)), most=most)
        assert (await repo.canary_foreign(), counts["canary_webhooks_beyond"]) == (kept, beyond)
        assert len(await first_trips(repo)) == kept
        if kept:
            assert await take(repo, webhook("t0", after=5000), most=0) == {"canary_webhooks": 1}


async def test_one_trigger_counts_so_many_webhooks(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        counts = await take(repo, *(webhook(after=n / 4) for n in range(MAX_SOURCES + 1)))
        assert counts == {
            "canary_webhooks": 1, "canary_webhooks_again": MAX_SOURCES - 1, "canary_webhooks_left_out": 1,
        }  # fmt: skip


async def test_a_resolver_is_marked_and_odd_words_are_none_of_a_kind(repo: BaseRepository) -> None:
    await take(repo, webhook(channel="DNS", token_type="a/b <c>", src_data={"hostname": "x.t1.example"}))
    (row,) = await repo.canary_overview()
    assert (row["kind"], row["last_peer_kind"]) == (f"{SERVICE}/token", "resolver")
    (event,) = await told(repo)
    assert summarise(event["topic"], event).startswith("first trip by a resolver: ")


async def test_trips_of_our_own_listeners_are_left_to_who_wrote_them_down(repo: BaseRepository) -> None:
    own = Event("canary.t1.triggered", {"token_id": "t1", "trigger_id": "x", "attacker_ip": IP}, ts=START)
    assert (await take(repo, own), await repo.canary_tokens()) == ({}, [])


async def test_the_worker_hears_of_webhooks_without_a_decoy_that_is_on(tmp_path: Path) -> None:
    worker = DecoysWorker(settings_of(tmp_path, max_foreign_tokens=1))
    assert worker.topics == elsewhere.TOPICS
    async with open_repo("sqlite", tmp_path) as repo:
        await worker.start(repo, MemoryBus("t"))
        async with transaction(repo) as tx:
            await worker.handle(taken([webhook(), webhook("t2")]), tx)
        health = worker.health()
        assert (health["canary_webhooks"], health["canary_webhooks_beyond"]) == (1, 1)


def engine_settings(folder: Path, inbox: Path) -> Settings:
    return load_settings(
        data_dir=folder, bus={"type": "memory"}, workers=("sensors", "recorder", "ttp", "decoys"),
        ttp_rule_store_type="filesystem", sensors=[{"kind": "inbox", "path": str(inbox)}],
    )  # fmt: skip


async def test_a_body_in_the_inbox_is_a_first_trip_and_the_services_own_test_is_none(tmp_path: Path) -> None:
    inbox = tmp_path / "inbox"
    inbox.mkdir()
    body = {
        "token": "t1", "token_type": "web", "channel": "HTTP", "memo": "on web-01", "src_ip": IP,
        "time": "2026-03-04 05:00:00 (UTC)", "manage_url": "https://tokens.example/nest/manage/s3cr3t/t1",
    }  # fmt: skip
    tried = {
        **body, "token": "a+test+token", "src_ip": "127.0.0.1", "manage_url": "http://example.com/test/url/for/webhook",
        "additional_data": {"src_ip": "1.1.1.1"},
    }  # fmt: skip
    (inbox / "1.json").write_text(json.dumps(body))
    (inbox / "2.json").write_text(json.dumps(tried))
    engine = Engine(engine_settings(tmp_path / "data", inbox))
    await engine.start()
    try:
        assert await engine.until_idle(0.4) is None
        (row,) = await engine.repo.canary_overview()
        assert (row["token_id"], row["trips"], row["last_peer"]) == ("t1", 1, IP)
        assert {str(one["attacker_ip"]) for one in await engine.repo.list_attackers(limit=0)} == {IP}
        found = await engine.bus.read_back("canary.t1.triggered", 10)
        assert [bool(event.payload.get("first_trip")) for event in found] == [False, True]
    finally:
        await engine.stop(1.0)
    assert sorted(path.name for path in (inbox / "done").iterdir()) == ["1.json", "2.json"]
