"""Baits that were read, on both databases: a fact of the session, told with the first trip, whatever the order of deliveries."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from decnet.bus.base import Event
from decnet.bus.memory import MemoryBus
from decnet.bus.null import NullBus
from decnet.config import NotifySettings, load_settings
from decnet.db.repository import BaseRepository
from decnet.decoys.canary import reads
from decnet.decoys.canary.desk import Desk
from decnet.decoys.canary.hits import Hit
from decnet.decoys.worker import DecoysWorker
from decnet.runtime.notify import Notifier
from decnet.runtime.worker import Transaction
from decnet_tui.model.event_text import summarise
from tests.dbkit import KINDS, open_repo
from tests.decoykit import SLUG, START, settings_of, token, told
from tests.wirekit import taken

PATH = "/srv/share/pass.html"
READER = "203.0.113.7"


@pytest.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        await opened.canary_add(token("page-1", kind="page", path=PATH, memo="wiki passwords"))
        yield opened


def session(ident: str, *texts: str, at: float = START, ip: str = READER, **more: Any) -> Event:
    commands = [{"id": f"{ident}-{n}", "command_text": text, "ts": at + n} for n, text in enumerate(texts)]
    payload = {
        "session_id": ident, "attacker_ip": ip, "decky_id": "web-01", "started_at": at, "ended_at": at + 60,
        "commands": commands, "part": 1, "parts": 1, **more,
    }  # fmt: skip
    return Event("attacker.session.ended", payload, "closed", f"e-{ident}-{at}", at + 60)


async def take(repo: BaseRepository, *events: Event) -> Counter[str]:
    async with repo.transaction() as bound:
        return await reads.take(Transaction(bound), taken(list(events)))


def hit(at: float, peer: str = "198.51.100.9") -> Hit:
    return Hit(SLUG, at, peer, "http", request_path=f"/i/{SLUG}/logo.png")


async def trip(repo: BaseRepository, tmp_path: Path, at: float) -> list[dict[str, Any]]:
    desk = Desk(settings_of(tmp_path), repo)
    desk.note(hit(at))
    await desk.flush()
    return [one for one in await told(repo) if one["topic"] == "canary.page-1.triggered"]


async def test_the_first_trip_tells_what_was_read_where_and_by_whom(
    repo: BaseRepository, tmp_path: Path
) -> None:
    assert await take(repo, session("s1", "id", f"cat {PATH}")) == {"bait_reads": 1}
    (event,) = await trip(repo, tmp_path, START + 600)
    wanted = {
        "first_trip": True, "kind": "page", "path": PATH, "memo": "wiki passwords", "decky_id": "web-01",
        "attacker_ip": "198.51.100.9", "read_session_id": "s1", "read_ip": READER, "read_at": START + 1,
    }  # fmt: skip
    assert {name: event[name] for name in wanted} == wanted
    line = summarise(event["topic"], event)
    assert line == f"first trip: page {PATH} on web-01, read by {READER} in s1"
    (again,) = (await trip(repo, tmp_path, START + 5000))[1:]
    assert "read_session_id" not in again, "told once"


async def test_the_last_who_read_it_before_the_trip_is_named(repo: BaseRepository, tmp_path: Path) -> None:
    await take(
        repo,
        session("s1", f"cat {PATH}"),
        session("s2", f"less {PATH}", at=START + 100, ip="203.0.113.8"),
        session("s3", f"cat {PATH}", at=START + 900, ip="203.0.113.9"),
    )
    (event,) = await trip(repo, tmp_path, START + 600)
    assert (event["read_session_id"], event["read_ip"]) == ("s2", "203.0.113.8")
    assert [row["session_id"] for row in await repo.bait_reads(token_id="page-1")] == ["s3", "s2", "s1"]
    assert [row["session_id"] for row in await repo.bait_reads(limit=1)] == ["s3"]
    assert [row["path"] for row in await repo.bait_reads(session_id="s2", limit=0)] == [PATH]


async def test_without_a_reader_the_trip_says_that_nobody_is_known(
    repo: BaseRepository, tmp_path: Path
) -> None:
    await take(repo, session("s1", f"ls {PATH}"), session("s2", f"cat {PATH}", decky_id="db-01"))
    (event,) = await trip(repo, tmp_path, START + 600)
    assert "read_session_id" not in event
    assert "nobody is known to have read it" in summarise(event["topic"], event)


async def test_deliveries_that_come_twice_and_in_any_order_end_in_the_same_rows(repo: BaseRepository) -> None:
    early, late = session("s1", f"cat {PATH}", at=START), session("s1", f"cat {PATH}", at=START + 50)
    assert await take(repo, late) == {"bait_reads": 1}
    assert await take(repo, early, late) == {"bait_reads": 0}
    rows = await repo.bait_reads()
    assert [(row["session_id"], row["at"].timestamp()) for row in rows] == [("s1", START)]
    assert await take(repo, late) == {"bait_reads": 0}
    assert await repo.bait_reads() == rows


async def test_a_revoked_token_and_one_that_lies_nowhere_are_not_looked_for(repo: BaseRepository) -> None:
    await repo.canary_add(token("url-2", "0" * 26))
    assert [one["token_id"] for one in await repo.canary_laid()] == ["page-1"]
    await repo.canary_revoked("page-1", token()["minted_at"])
    assert await repo.canary_laid() == []
    assert await take(repo, session("s1", f"cat {PATH}")) == {}


async def test_lists_show_who_read_and_who_set_off_last_and_no_secret(
    repo: BaseRepository, tmp_path: Path
) -> None:
    await repo.canary_add(token("url-2", "0" * 26))
    await take(repo, session("s1", f"cat {PATH}"), session("s2", f"cat {PATH}", at=START + 100))
    await trip(repo, tmp_path, START + 600)
    await trip(repo, tmp_path, START + 9000)
    shown = {row["token_id"]: row for row in await repo.canary_overview()}
    page = shown["page-1"]
    assert (page["trips"], page["last_peer"], page["last_via"]) == (2, "198.51.100.9", "http")
    assert (page["read_session_id"], page["read_ip"]) == ("s2", READER)
    assert page["read_at"] is not None
    assert page["read_at"].timestamp() == START + 100
    assert (shown["url-2"]["read_at"], shown["url-2"]["last_peer"]) == (None, None)
    assert SLUG not in json.dumps(list(shown.values()), default=str)
    assert len(await repo.canary_overview(1)) == 1


async def test_live_news_of_a_session_is_enough(repo: BaseRepository) -> None:
    """Who opens what he read does not wait for his session to end."""
    bus, counts = MemoryBus("t"), Counter[str]()
    await bus.connect()
    task = asyncio.create_task(reads.follow(repo, bus, counts, time.monotonic))
    try:
        await asyncio.sleep(0.05)
        said = {
            "session_id": "s9",
            "seq": 1,
            "attacker_ip": READER,
            "decky_id": "web-01",
            "from": 0,
            "facts": [],
        }
        for bad in ({"seq": "?"}, {**said, "commands": [{"command_text": "id"}]}):
            await bus.publish(reads.NEWS, bad)
        await bus.publish(
            reads.NEWS, {**said, "commands": [{"id": "c1", "command_text": f"cat {PATH}", "ts": START}]}
        )
        for _ in range(200):
            if counts["bait_reads"]:
                break
            await asyncio.sleep(0.02)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await bus.close()
    assert [(row["session_id"], row["command_id"]) for row in await repo.bait_reads()] == [("s9", "c1")]
    # Its end says the same once more.
    ended = session("s9", f"cat {PATH}", at=START)
    ended.payload["commands"][0]["id"] = "c1"
    assert await take(repo, ended) == {"bait_reads": 0}


async def test_the_program_that_is_run_for_news_hears_of_the_reader(
    repo: BaseRepository, tmp_path: Path
) -> None:
    await take(repo, session("s1", f"cat {PATH}"))
    (event,) = await trip(repo, tmp_path, START + 600)
    notifier = Notifier(NotifySettings(command="true"), repo, NullBus("t"))
    payload = {name: value for name, value in event.items() if name not in ("topic", "id", "ts")}
    (message,) = notifier.messages(Event(event["topic"], payload, "triggered", event["id"], event["ts"]))
    assert message["kind"] == "canary_first_trip"
    assert (message["token_kind"], message["path"], message["memo"]) == ("page", PATH, "wiki passwords")
    assert (message["read_session_id"], message["read_ip"]) == ("s1", READER)


@pytest.mark.parametrize(
    ("decoys", "looks"),
    [
        ({}, False),
        ({"canary_http": {"base_url": "http://files.example"}}, True),
        ({"canary_dns": {"zone": "c.example"}}, True),
        ({"watch_keys": True}, True),
    ],
)
def test_sessions_are_looked_at_only_where_there_may_be_tokens(
    tmp_path: Path, decoys: dict[str, Any], looks: bool
) -> None:
    worker = DecoysWorker(load_settings(data_dir=tmp_path, decoys=decoys))
    assert ("attacker.session.ended" in worker.topics) is looks
