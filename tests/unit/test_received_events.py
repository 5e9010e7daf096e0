"""What reaches a handler is parsed; what cannot be read is named once, by one worker, and costs nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from decnet.attribution.worker import AttributionWorker
from decnet.behave.worker import BehaveWorker
from decnet.bus.base import Event, matches
from decnet.config import Settings
from decnet.db import engine
from decnet.db.repository import BaseRepository
from decnet.errors import MalformedEvent
from decnet.events.session import SessionEnded
from decnet.events.topics import RECORDS
from decnet.ids import attacker_id
from decnet.mutator.worker import MutatorWorker
from decnet.recorder.worker import RecorderWorker
from decnet.runtime.batch import BatchProcessor
from decnet.runtime.health import WorkerStats
from decnet.runtime.letters import MAX_ELEMENTS
from decnet.runtime.received import Received, received
from decnet.runtime.worker import Transaction, Worker, keeps
from decnet.ttp.worker import TtpWorker

ENDED = "attacker.session.ended"
IP = "203.0.113.5"
KEY: dict[str, Any] = {"session_id": "s1", "attacker_ip": IP, "ended_at": 1_700_000_000}
ODD = [{"command_text": "id"}, {"command_text": "w", "ts": "soon"}, {"command_text": "ls", "ts": 5}]


class Delivery:
    """One delivery; notes its acknowledgement."""

    num_delivered = 1

    def __init__(self, payload: dict[str, Any], seq: int = 7, topic: str = ENDED, ident: str = "e1") -> None:
        self.topic, self.seq, self.answers = topic, seq, list[str]()
        self.body = Event(topic, payload, id=ident, ts=5.0).to_bytes()
        self.event: Event | None = Event.from_bytes(topic, self.body)
        self.malformed: MalformedEvent | None = None

    async def ack(self) -> None:
        self.answers.append("ack")

    async def nak(self, delay: float = 0.0) -> None:
        self.answers.append(f"nak {delay}")

    async def in_progress(self) -> None:
        """Nobody waits here."""


class Keeper(Worker):
    """Notes what it gets; defers or gives up when told."""

    name = "recorder"
    topics = (ENDED,)

    def __init__(self, keeps: tuple[str, ...] | None = None) -> None:
        self.keeps = keeps
        self.got: list[Received] = []
        self.then = ""

    async def handle(self, batch: Sequence[Received], tx: Transaction) -> None:
        self.got += batch
        for one in batch:
            if self.then == "defer":
                tx.defer(one.event)
            if self.then == "give up":
                tx.dead_letter(one.event, "hopeless")


class Bench:
    """One worker over one database."""

    def __init__(self, repo: BaseRepository) -> None:
        self.repo, self.worker, self.stats = repo, Keeper(), WorkerStats()

    async def process(self, *deliveries: Any) -> None:
        processor = BatchProcessor(self.worker, self.repo, Settings(), self.stats, lambda: None)
        await processor.process(deliveries)

    async def letters(self) -> list[dict[str, Any]]:
        rows = await self.repo.dead_letters()
        return [row async for row in self._whole(rows)]

    async def _whole(self, rows: Sequence[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        for row in reversed(rows):
            letter = await self.repo.dead_letter_get(row["id"])
            assert letter is not None
            yield letter

    async def news(self) -> list[Event]:
        return [event.opened() for _, event in await self.repo.outbox_take(1000)]


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setattr(engine, "_pragmas", lambda read_only: [])
    repo = await BaseRepository.open(f"sqlite:///{tmp_path / 'test.sqlite'}")
    yield Bench(repo)
    await repo.close()


async def test_a_handler_gets_the_record_of_the_topic_and_of_other_topics_the_event(bench: Bench) -> None:
    plain = Delivery({"n": 1}, 8, "attacker.tested", "e2")
    await bench.process(Delivery({**KEY, "end_reason": "eof", "part": 1}), plain)
    (other,) = [one for one in bench.worker.got if one.event.topic == "attacker.tested"]
    (ended,) = [one for one in bench.worker.got if one.event.topic == ENDED]
    assert (other.record, other.said()) == (None, {"n": 1})
    assert isinstance(ended.record, SessionEnded)
    assert ended.record.attacker == attacker_id(IP)
    assert ended.said() == {
        **KEY, "ended_at": 1.7e9, "attacker_uuid": attacker_id(IP), "end_reason": "eof", "part": 1,
    }  # fmt: skip


async def test_a_bad_element_is_one_dead_letter_with_path_and_value_and_the_rest_is_handled(
    bench: Bench,
) -> None:
    for _ in range(2):  # the acknowledgement was lost
        await bench.process(Delivery({**KEY, "commands": ODD}))
    record = bench.worker.got[0].record
    assert isinstance(record, SessionEnded)
    assert [(ident, c.command_text) for ident, c in record.command_ids()] == [
        ("s1#cmd0", "id"), ("s1#cmd2", "ls"),
    ]  # fmt: skip
    (letter,) = await bench.letters()
    assert (letter["worker"], letter["topic"], letter["seq"]) == ("recorder", ENDED, 7)
    assert (letter["path"], letter["value"]) == ("commands[1].ts", "'soon'")
    assert letter["reason"] == "malformed: commands[1].ts: expected a number or ISO time (it is 'soon')"
    assert json.loads(letter["body"]) == ODD[1], "what else the element said is kept"
    first, second = await bench.news()
    assert first.id == second.id
    assert first.payload == {
        "dead_letter_id": letter["id"], "topic": ENDED, "reason": letter["reason"],
        "path": "commands[1].ts", "value": "'soon'",
    }  # fmt: skip
    assert (bench.stats.element_faults, bench.stats.processed, bench.stats.malformed) == ({ENDED: 2}, 2, 0)


async def test_the_same_event_elsewhere_in_the_stream_says_nothing_new_and_another_one_at_its_place_does(
    bench: Bench,
) -> None:
    await bench.process(Delivery({**KEY, "commands": ODD}, 7), Delivery({**KEY, "commands": ODD}, 9))
    assert len(await bench.letters()) == 1
    await bench.process(Delivery({**KEY, "session_id": "s2", "commands": ODD}, 7))
    assert [row["path"] for row in await bench.letters()] == ["commands[1].ts"] * 2, "a stream made anew"
    for session in ("", 5):
        await bench.process(Delivery({**KEY, "session_id": session}, 7))
    assert [row["path"] for row in await bench.letters()] == ["commands[1].ts"] * 2 + [None] * 2


async def test_only_the_keeper_of_a_topic_speaks_and_everybody_handles_the_rest(bench: Bench) -> None:
    bench.worker = Keeper(("identity.>",))
    await bench.process(Delivery({**KEY, "commands": ODD, "colour": 1}))
    assert len(bench.worker.got) == 1
    assert await bench.letters() == await bench.news() == []
    assert bench.stats == WorkerStats(processed=1, last_event_ts=5.0)


async def test_a_body_without_its_key_fields_goes_whole_by_the_keeper_and_is_counted_by_all(
    bench: Bench,
) -> None:
    bad = Delivery({**KEY, "ended_at": "never"})
    bench.worker = Keeper(())
    await bench.process(bad)
    assert (bad.answers, await bench.letters(), bench.worker.got) == (["ack"], [], [])
    assert (bench.stats.malformed, bench.stats.dead_lettered, bench.stats.processed) == (1, 0, 0)
    bench.worker = Keeper((ENDED,))
    await bench.process(bad)
    (letter,) = await bench.letters()
    assert letter["reason"] == "malformed: ended_at: expected a number or ISO time"
    assert (letter["path"], letter["body"]) == (None, bad.body)
    assert (bench.stats.malformed, bench.stats.dead_lettered) == (2, 1)


@pytest.mark.parametrize(("then", "letters"), [("defer", 0), ("give up", 1)])
async def test_what_is_put_off_or_given_up_whole_has_no_letters_of_its_elements(
    bench: Bench, then: str, letters: int
) -> None:
    bench.worker.then = then
    await bench.process(Delivery({**KEY, "commands": ODD}))
    assert [row["path"] for row in await bench.letters()] == [None] * letters
    assert bench.stats.element_faults == {}


@pytest.mark.parametrize("bad", [MAX_ELEMENTS, MAX_ELEMENTS + 1, 5000])
async def test_letters_of_one_event_are_bounded_and_the_last_one_counts_the_others(
    bench: Bench, bad: int
) -> None:
    await bench.process(Delivery({**KEY, "commands": [*({"command_text": n} for n in range(bad)), "id"]}))
    record = bench.worker.got[0].record
    assert isinstance(record, SessionEnded)
    assert [ident for ident, _ in record.command_ids()] == [f"s1#cmd{bad}"]
    letters = await bench.letters()
    assert (len(letters), bench.stats.element_faults) == (MAX_ELEMENTS, {ENDED: bad})
    assert letters[98]["path"] == "commands[98].command_text"
    left = bad - MAX_ELEMENTS + 1
    last = ("commands[99].command_text", {"command_text": 99}) if left == 1 else ("(others)", None)
    assert letters[99]["path"] == last[0]
    if left > 1:
        assert letters[99]["reason"].startswith(
            f"{left} more elements could not be read, the first one commands[99]"
        )
    else:
        assert json.loads(letters[99]["body"]) == last[1]


async def test_unknown_keys_are_counted_by_kind_and_said_once(bench: Bench) -> None:
    with capture_logs() as logs:
        for n in range(3):
            element = {"command_text": "x", "flavour": n, "uuid": "known"}
            await bench.process(Delivery({**KEY, "colour": n, "commands": [element]}, n))
    assert bench.stats.unknown_keys == {ENDED: 6}
    said = [log["keys"] for log in logs if log["event"] == "keys that nobody knows are left out"]
    assert said == [["colour", "commands[].flavour"]]
    assert await bench.letters() == []


@pytest.mark.parametrize(
    "item",
    [
        float("nan"), float("inf"), 10**400, {"command_text": "x", "ts": 10**400}, {"command_text": None},
        {"command_text": "x", "ts": float("nan")}, {"command_text": "x", "ts": -1}, [], True,
    ],
    ids=repr,
)  # fmt: skip
def test_hostile_elements_cost_themselves_only(item: Any) -> None:
    one = received(Event(ENDED, {**KEY, "commands": ["a", item, "b"]}))
    assert isinstance(one.record, SessionEnded)
    assert [command.command_text for command in one.record.commands] == ["a", "b"]
    (fault,) = one.faults
    assert fault.path.startswith("commands[1]")
    assert len(fault.value) < 300


@pytest.mark.parametrize("depth", [50, 5_000, 100_000])
async def test_what_is_nested_however_deep_is_a_letter_and_no_crash(bench: Bench, depth: int) -> None:
    deep: Any = "x"
    for _ in range(depth):
        deep = [deep]
    delivery = Delivery({**KEY, "commands": ["a"]})
    delivery.event = Event(ENDED, {**KEY, "commands": ["a", {"command_text": deep}]}, id="deep")
    await bench.process(delivery)
    (letter,) = await bench.letters()
    assert letter["reason"].startswith("malformed: ")
    assert delivery.answers == ["ack"]


def test_every_topic_that_a_worker_reads_has_exactly_one_keeper(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    workers: list[Worker] = [
        RecorderWorker(settings), BehaveWorker(), TtpWorker(None, settings), AttributionWorker(settings), MutatorWorker(settings),
    ]  # fmt: skip
    examples = [pattern.replace("*", "x").replace(">", "motor.x") for pattern in RECORDS]
    for topic in examples:
        readers = [w for w in workers if any(matches(pattern, topic) for pattern in w.topics)]
        keepers = [w.name for w in readers if keeps(w, topic)]
        assert len(keepers) == min(1, len(readers)), (topic, keepers)
    assert [keeps(w, ENDED) for w in workers[:4]] == [True, False, False, False]
    assert [keeps(w, "canary.t.triggered") for w in workers[:4]] == [False, False, True, False]
    assert [keeps(w, "attacker.observation.motor.x") for w in workers[:4]] == [False, False, False, True]


async def test_many_large_events_leave_room_for_others(bench: Bench) -> None:
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    task = asyncio.create_task(count())
    await bench.process(*(Delivery({**KEY, "session_id": f"s{n}"}, n, ident=f"e{n}") for n in range(100)))
    task.cancel()
    assert turns >= 4
