"""Malformed events by the hundred thousand among good ones: each counted by its reason, all good ones tagged, memory flat."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import insert, null

from decnet.bus.base import Delivery, Event
from decnet.bus.factory import get_bus
from decnet.bus.nats.connection import NatsBus
from decnet.config import BusSettings, RuntimeSettings, SensorSpec, Settings, load_settings
from decnet.db.tables import table
from decnet.keyed import load_key
from decnet.runtime.batch import BatchProcessor
from decnet.runtime.health import WorkerStats
from decnet.runtime.received import Received
from decnet.runtime.worker import Transaction, Worker
from decnet.sensors.files.tailer import Line
from decnet.sensors.sources import make_source
from tests.dbkit import KINDS, database_url, open_repo
from tests.fault.clusterkit import nodes
from tests.fault.crew import CONFIG_OF_A_SERVER
from tests.fault.growing import write
from tests.fault.outcome import outcome, rows, same
from tests.fault.scale import SCALE, scaled, seconds
from tests.fault.scene import Scene
from tests.fuzzkit import send
from tests.natskit import PASSWORD, USER
from tests.programkit import cli, launched, until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(seconds(7200, 240))]
POISON = scaled(1_000_000, 20_000)
SESSIONS = scaled(5_000, 100)
AT_ONCE = 2_000
"""Messages that are sent before a look whether the server has stored them: nobody acknowledges raw ones."""
FLAT_MB, MOST_MB = 40.0, 400.0 if SCALE >= 1 else 300.0
"""What memory may grow by in the last two thirds of a run at full size, and what it may be at all: at a fiftieth caches

still fill, to 197 MB; where what was malformed stays until the collector looks it is 455 MB.
"""
WORKERS = "recorder,behave,ttp,attribution"
SESSION: dict[str, Any] = {
    "session_id": "s", "attacker_ip": "203.0.113.1", "decky_id": "d", "service": "ssh", "protocol": "ssh",
    "started_at": 1, "ended_at": 2,
}  # fmt: skip
ENDED = "attacker.session.ended"
_ENDED = b'"attacker_ip": "203.0.113.1", "decky_id": "d", "service": "ssh", "protocol": "ssh", "started_at": 1, "ended_at": 2'
SMALL = {
    "NUL": (b'{"payload": {"session_id": "\x00%d"}}', "not JSON"),
    "surrogate": (b'{"payload": {"session_id": "\xed\xa0\x80%d"}}', "payload: object missing required field"),
    "2^63": (b'{"ts": 9223372036854775808, "payload": {"session_id": "s%d", ' + _ENDED + b"}}", "ts is not a time"),
    "NaN": (b'{"ts": NaN, "payload": {"session_id": "s%d", ' + _ENDED + b"}}", "ts is not a time"),
    "a type": (b'{"payload": {"session_id": %d, ' + _ENDED + b"}}", "session_id: expected `str`, got `int`"),
    "nobody": (b'{"payload": {"session_id": "s%d"}}', "payload: object missing required field"),
    "a list": (b'{"payload": [%d]}', "payload is not an object"),
    "no object": (b"[%d]", "envelope is list, not an object"),
}  # fmt: skip
DEEP = b'{"payload": {"session_id": "s", "a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}}"
LARGE = b'{"payload": [' + b"1," * 450_000 + b"1]}"
TOO_LARGE = 10_000_000
FOREIGN = ("attacker.nobody.knows", "credential.nobody.knows", "ttp.nobody.knows", "identity.nobody.knows")


def poison(count: int) -> Iterator[tuple[str, bytes, str]]:
    """Kind, body and what the reason begins with, of so many malformed events; deep and large ones are few."""
    kinds = list(SMALL.items())
    for number in range(count):
        if number % 100 == 50:
            yield "depth 10,000", DEEP, "not JSON"
        elif number % 10_000 == 99:
            yield "900 KB", LARGE, "payload is not an object"
        else:
            kind, (body, reason) = kinds[number % len(kinds)]
            yield kind, body % number, reason


def good(scene: Scene) -> list[Event]:
    """What the sensors publish for the log of a scene."""
    spec = SensorSpec(kind="cowrie", path=scene.log)
    source = make_source(spec, load_settings(data_dir=scene.data), load_key(scene.data))
    lines = (Line("x", n, 0, text.encode()) for n, text in enumerate(scene.lines))
    return source.feed(lines) + source.end_all("eof")


def mixed(scene: Scene) -> Iterator[bytes]:
    """Lines of the protocol: poison, evenly among good events, and now and then something on a topic that nobody reads."""
    events = good(scene)
    every = max(1, POISON // len(events))
    for number, (_, body, _) in enumerate(poison(POISON)):
        if number % every == 0 and number // every < len(events):
            yield _message(events[number // every].topic, events[number // every].to_bytes())
        if number % 500 == 0:
            yield _message(FOREIGN[number // 500 % len(FOREIGN)], body)
        yield _message(ENDED, body)
    for event in events[-(-POISON // every) :]:
        yield _message(event.topic, event.to_bytes())


def _message(topic: str, body: bytes) -> bytes:
    return b"PUB %s %d\r\n%s\r\n" % (topic.encode(), len(body), body)


async def sent(url: str, lines: Iterator[bytes]) -> int:
    """Sends all of it, no faster than the server stores; how many messages that were."""
    settings = BusSettings(user=USER, password=SecretStr(PASSWORD), connect_timeout_s=20.0)
    bus, count = NatsBus(url, settings=settings), 0
    await bus.connect()
    try:
        begun = (await bus.stream_info())["last_seq"]
        while some := list(islice(lines, AT_ONCE)):
            before = (await bus.stream_info())["last_seq"]
            await asyncio.to_thread(send, url, some)
            while (await bus.stream_info())["last_seq"] < before + len(some):
                await asyncio.sleep(0.01)
            count += len(some)
        assert (await bus.stream_info())["last_seq"] >= begun + count
        return count
    finally:
        await bus.close()


def rss_mb(pid: int) -> float:
    """Memory of a process now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@contextmanager
def sampled(pid: int, into: list[float]) -> Iterator[None]:
    """The memory of a process meanwhile, every fifth of a second."""
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.2):
            into.append(rss_mb(pid))

    thread = threading.Thread(target=look, name="memory")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def grown(samples: Sequence[float]) -> float:
    """Megabytes between the middle and the last third of a run; the first one fills what is kept on purpose."""
    third = len(samples) // 3
    return median(samples[-third:]) - median(samples[third : 2 * third])


def letters(url: str) -> Counter[str]:
    """Dead letters of malformed events, by reason."""
    query = "SELECT reason, count(*) FROM dead_letter WHERE worker = 'recorder' GROUP BY reason"
    return Counter({str(reason): int(count) for reason, count in rows(url, query)})


def by_reason(found: Counter[str]) -> Counter[str]:
    """The same by what the reasons of :data:`SMALL` begin with."""
    known = {reason for _, reason in SMALL.values()}
    counted: Counter[str] = Counter()
    for reason, count in found.items():
        (kind,) = (one for one in known if reason.startswith(f"malformed: {one}"))
        counted[kind] += count
    return counted


@pytest.mark.soak
@pytest.mark.fault(
    fault="1,000,000 malformed events among good ones: NUL, surrogates, 2^63, NaN, 900 KB, depth 10,000, wrong types, foreign topics, a list as payload",
    guard="what is no event reaches no handler, is counted by its reason, kept as a dead letter and acknowledged",
    control="mutant runtime-malformed-is-an-outage",
    figure="each in its reason's count, all good ones tagged as without them, memory flat",
)
@pytest.mark.parametrize("kind", KINDS if SCALE >= 1 else KINDS[:1])
async def test_poison_among_good_events(tmp_path: Path, kind: str) -> None:
    scene = Scene(tmp_path, SESSIONS, CONFIG_OF_A_SERVER)
    write(scene.log, scene.lines)
    memory: list[float] = []
    with nodes(tmp_path / "nats") as (bus,):
        async with database_url(kind, tmp_path) as url:
            given = ("--config", scene.config, "--bus", bus.url, "--db", url, "--workers", WORKERS)
            engine = launched(scene.data, scene.engine_log, *given)
            try:
                await asyncio.to_thread(until, engine.attachable, 60, "the engine")
                with sampled(engine.process.pid, memory):
                    await sent(bus.url, mixed(scene))
                    await asyncio.to_thread(_buried, url)
            finally:
                engine.end()
            done = await asyncio.to_thread(
                cli, "--headless", "--data-dir", scene.data, *given, "--until-idle", "1"
            )
            assert done.returncode == 0, done.stderr.decode()[-3000:]
            found = await asyncio.to_thread(outcome, url)
            buried = by_reason(await asyncio.to_thread(letters, url))
    assert buried == Counter(reason for _, _, reason in poison(POISON))
    assert {letter[0] for letter in found.letters} == {"recorder"}
    same(replace(found, letters=[]), await asyncio.to_thread(scene.undisturbed), scene.made)
    print(f"{kind}: {POISON} malformed, memory at most {max(memory):.0f} MB, grown {grown(memory):.1f} MB")
    assert max(memory) < MOST_MB
    assert SCALE < 1 or grown(memory) < FLAT_MB, memory


def _buried(url: str) -> None:
    """Counts seldom: counting a million rows twice a second is half of what it takes to write them."""
    count = "SELECT count(*) FROM dead_letter"

    def all_there() -> bool:
        return bool((found := rows(url, count)) and found[0][0] >= POISON)

    until(all_there, seconds(3600, 120), "a letter for each of them", pause=max(0.2, 10 * SCALE))


@pytest.mark.fault(
    fault="an event of 10 MB",
    guard="the server takes no message larger than an event may be",
    control="itself",
    figure="refused by the server of an engine, taken by one without the limit",
)
@pytest.mark.parametrize("limit", ["", "max_payload: 16777216\n"])
def test_an_event_of_ten_megabytes_stays_outside(tmp_path: Path, limit: str) -> None:
    body = b'{"payload": {"a": "' + b"x" * TOO_LARGE + b'"}}'
    with nodes(tmp_path / "nats", more=limit) as (bus,):
        if limit:
            send(bus.url, [_message(ENDED, body)])
        else:
            with pytest.raises((AssertionError, OSError)):
                send(bus.url, [_message(ENDED, body)])


class Saving(Worker):
    """Writes a row for each event; the database refuses that of a bad one."""

    name, topics = "ttp", (ENDED,)

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        for one in batch:
            name = f"row {one.event.id}"
            if one.event.id == "bad":
                async with tx.repo._write() as session:
                    await session.execute(
                        insert(table("lease")).values(name=name, owner=null(), expires_at=1.0)
                    )
            else:
                await tx.repo.checkpoint_save(name, {})


async def _all_or_nothing(self: BatchProcessor, deliveries: Sequence[Delivery]) -> None:
    """As without the cutting in halves: what fails costs the whole batch."""
    error = await self._attempt(list(deliveries))
    for delivery in deliveries if error is not None else ():
        await self._failed(delivery, error)


@pytest.mark.fault(
    fault="one row that the database refuses among 100",
    guard="a batch that fails is cut in halves until the row stands alone",
    control="itself",
    figure="99 rows and 1 dead letter on both databases; without the guard it takes others with it",
)
@pytest.mark.parametrize("guarded", [True, False])
@pytest.mark.parametrize("kind", KINDS)
async def test_one_bad_row_costs_one_row(
    tmp_path: Path, kind: str, guarded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not guarded:
        monkeypatch.setattr(BatchProcessor, "_halves", _all_or_nothing)
    settings = Settings(runtime=RuntimeSettings(restart_backoff_s=0.01))
    ids = [*(f"e{n}" for n in range(49)), "bad", *(f"e{n}" for n in range(49, 99))]
    async with open_repo(kind, tmp_path) as repo:
        bus = get_bus("test", load_settings(bus={"type": "memory"}))
        await bus.connect()
        consumer = await bus.consume("ttp", (ENDED,))
        await bus.publish_events([Event(ENDED, SESSION, id=name) for name in ids])
        processor = BatchProcessor(Saving(), repo, settings, WorkerStats(), lambda: None)
        async with asyncio.timeout(60):
            while (info := await consumer.info()).pending or info.unacked:
                await processor.process(await consumer.fetch(500, 0.1))
        there = [name for name in ids if await repo.checkpoint_load(f"row {name}") is not None]
        buried = len(await repo.dead_letters(limit=0))
        await bus.close()
    assert (len(there), buried) == (99, 1) if guarded else buried > 1
