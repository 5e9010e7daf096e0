"""A running session is seen, at most once a second, by whoever watches; its end stays what counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from decnet.bus.base import Event
from decnet.bus.topics import is_durable
from decnet.config import SensorSettings, SensorSpec, load_settings
from decnet.events.session import SessionProgress
from decnet.sensors.assembly import Assembler
from decnet.sensors.cowrie import Fact
from decnet.sensors.progress import AT_ONCE, CHARS, PAUSE_S, SHOWN, Progress
from decnet.sensors.run import SensorRun
from decnet_tui.model.feed import Feed
from tests.unit.test_order_of_lines import START, line

TOPIC = "attacker.session.progress"


def fact(native: str, kind: str, ts: float, **data: Any) -> Fact:
    return Fact(kind, START + ts, native, None, "203.0.113.5" if kind == "connect" else None, None, data)


def opened(assembler: Assembler, *natives: str) -> None:
    for native in natives:
        assembler.feed(fact(native, "connect", 0.0, dst_port=22))


def typed(assembler: Assembler, native: str, *texts: str) -> None:
    for n, text in enumerate(texts):
        assembler.feed(fact(native, "command", 1.0 + n / 100, text=text))


def made() -> Assembler:
    return Assembler(SensorSettings(), b"key")


def texts(news: list[dict[str, Any]]) -> list[list[str]]:
    return [[c["command_text"] for c in payload["commands"]] for payload in news]


def test_each_second_tells_what_came_since_the_last_news() -> None:
    assembler, progress = made(), Progress()
    opened(assembler, "a")
    assert progress.news(assembler.moved(), 0.0) == [], "nothing was done yet"
    typed(assembler, "a", "id", "uname -a")
    assert progress.news(assembler.moved(), 9.0, watched=False) == [], "there is more to read"
    (first,) = progress.news(assembler.moved(), 10.0)
    assert (first["seq"], first["from"], texts([first])) == (1, 0, [["id", "uname -a"]])
    assert first["sensor_session"] == "a"
    typed(assembler, "a", "w")
    assert progress.news(assembler.moved(), 10.0 + PAUSE_S - 0.01) == []
    assembler.feed(fact("a", "download", 3.0, url="http://203.0.113.9/x", sha256="ab", failed=False))
    (second,) = progress.news(assembler.moved(), 10.0 + PAUSE_S)
    assert (second["seq"], second["from"], texts([second])) == (2, 2, [["w"]])
    assert [(f["kind"], f["what"]) for f in second["facts"]] == [("download", "http://203.0.113.9/x")]
    assert progress.news(assembler.moved(), 99.0) == [], "told once"
    assert SessionProgress.parse(second).first == 2


def test_what_is_much_is_told_by_its_newest_and_shortened() -> None:
    assembler, progress = made(), Progress()
    opened(assembler, "a")
    typed(assembler, "a", *(f"echo {n}" for n in range(SHOWN + 5)), "x" * (CHARS + 1))
    (news,) = progress.news(assembler.moved(), 1.0)
    assert (news["from"], len(news["commands"])) == (6, SHOWN), "what was passed over shows in from"
    assert news["commands"][-1]["command_text"] == "x" * CHARS


def test_many_sessions_take_turns_and_an_ended_one_is_told_of_by_its_end() -> None:
    assembler, progress = made(), Progress()
    names = [f"n{n:03}" for n in range(AT_ONCE + 3)]
    opened(assembler, *names)
    for name in names:
        typed(assembler, name, "id")
    assembler.feed(fact("n102", "closed", 5.0, duration=5.0))
    assert len(progress.news(assembler.moved(), 1.0)) == AT_ONCE
    assert [p["sensor_session"] for p in progress.news(assembler.moved(), 1.1)] == ["n100", "n101"]
    typed(assembler, "n000", "w")
    assembler.end_all()
    assert progress.news(assembler.moved(), 9.0) == []
    assert (progress._told, progress._waiting) == ({}, {}), "and nothing is kept of it"


class Wire:
    """A bus that keeps apart what is to be stored and what is live news."""

    def __init__(self) -> None:
        self.stored: list[Event] = []
        self.live: list[Event] = []

    async def publish_events(self, events: list[Event]) -> None:
        self.stored += events

    async def publish(self, topic: str, payload: dict[str, Any], *, event_type: str) -> None:
        self.live.append(Event(topic, payload, event_type))


class Store:
    """No checkpoint yet, and none is kept."""

    async def load(self, key: str) -> None: ...

    async def save(self, key: str, state: Any) -> None: ...


async def test_a_sensor_tells_live_what_a_running_session_does_and_the_console_shows_it(
    tmp_path: Path,
) -> None:
    log, wire = tmp_path / "cowrie.json", Wire()
    log.write_bytes(line("a1", "session.connect", START) + b"\n" + line("a1", "command.input", START + 1, input="uname -a") + b"\n")  # fmt: skip
    spec = SensorSpec(kind="cowrie", path=log)
    run = SensorRun(spec, load_settings(data_dir=tmp_path), b"key", wire, Store())  # type: ignore[arg-type]
    await run.turn()
    assert [event.topic for event in wire.live] == [TOPIC]
    assert TOPIC not in {event.topic for event in wire.stored}
    assert not is_durable(TOPIC), "nothing of it is kept"
    await run.turn()
    assert len(wire.live) == 1, "nothing new"
    feed = Feed()
    feed.add(wire.live[0])
    assert feed.ring[-1].topic == TOPIC
    assert feed.ring[-1].summary.endswith(": uname -a")
