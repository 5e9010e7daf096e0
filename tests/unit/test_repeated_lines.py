"""The same line shipped twice is one line, however it came twice: the events are those of the log read once."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from decnet.config import SensorSpec, Settings
from decnet.sensors.cowrie import parse_object
from decnet.sensors.files.repeats import KEPT, Repeats
from decnet.sensors.files.tailer import Line
from decnet.sensors.kinds import Kind
from decnet.sensors.sources import Source, make_source
from tests.cowriegen import lines as made_up

Told = dict[str, str]


def source(kind: Kind = "cowrie") -> Source:
    return make_source(SensorSpec(kind=kind, path=Path("/l")), Settings(data_dir=Path("/none")), b"k")


def told(texts: list[str], made: Source | None = None) -> tuple[Told, Source]:
    """Event id → the last that was said under it; a session's end may be said anew, with all that came since."""
    made = made or source()
    events = made.feed([Line("f", i, 0, text.encode()) for i, text in enumerate(texts, 1)]) + made.end_all()
    return {event.id: json.dumps([event.topic, event.payload], sort_keys=True) for event in events}, made


LOG = made_up(1200, 7)
WANT, _ = told(LOG)


def doubled(texts: list[str]) -> list[str]:
    return [text for text in texts for _ in range(2)]


def in_blocks(texts: list[str]) -> list[str]:
    """A shipper that sends its last hundred lines again and again."""
    return [text for at in range(0, len(texts), 50) for text in texts[max(at - 50, 0) : at + 50]]


def later(texts: list[str]) -> list[str]:
    """Each line again a little later, in no order."""
    dice = random.Random(3)
    return [text for _, text in sorted((i + dice.choice((0, dice.random() * 300)), text)
            for i, text in enumerate(texts) for _ in range(2))]  # fmt: skip


def overlapping(texts: list[str]) -> list[str]:
    return texts[:700] + texts[400:]


@pytest.mark.parametrize("how", [doubled, in_blocks, overlapping, lambda texts: texts * 2], ids=["doubled", "blocks", "overlap", "twice"])  # fmt: skip
def test_a_line_that_comes_twice_adds_nothing(how: Any) -> None:
    shipped = how(LOG)
    got, made = told(shipped)
    assert got == WANT
    assert made.repeats.count == len(shipped) - len(LOG)
    assert made.lines == len(shipped)


def test_a_wrapped_line_repeats_the_plain_one() -> None:
    docker = [json.dumps({"log": text + "\n", "stream": "stdout", "time": "x"}) for text in LOG]
    syslog = [f"Mar  1 10:00:00 host cowrie: {text}" for text in LOG]
    got, made = told([text for three in zip(LOG, docker, syslog, strict=True) for text in three])
    assert got == WANT
    assert made.repeats.count == 2 * len(LOG)


@pytest.mark.parametrize("enriched_first", [False, True])
def test_a_line_that_a_shipper_added_fields_to_is_the_same_line(enriched_first: bool) -> None:
    enriched = [
        json.dumps({**json.loads(text), "geoip": {"c": "X"}, "host": "h"}) for text in LOG if "input" in text
    ]
    got, made = told([*enriched, *LOG] if enriched_first else [*LOG, *enriched])

    def commands(events: dict[str, str]) -> list[str]:
        ends = [json.loads(e)[1] for e in events.values() if "attacker.session.ended" in e]
        return sorted({c["id"] + c["command_text"] for end in ends for c in end.get("commands", ())})

    assert commands(got) == commands(WANT)
    assert any('"geoip"' in event for event in got.values()), "what was added is kept"
    assert made.bounds()["repeated"] == (len(enriched) if enriched_first else 0)


def test_what_was_read_before_a_restart_is_known_after_it() -> None:
    first = source()
    first.feed([Line("f", 1, 0, text.encode()) for text in LOG[:600]])
    second = source()
    second.restore(json.loads(json.dumps(first.to_state())))
    second.feed([Line("f", 1, 0, text.encode()) for text in LOG[300:600]])
    assert second.repeats.count == 300


@pytest.mark.parametrize("change", ["timestamp", "session", "input", "sensor", "src_ip"])
def test_what_differs_in_anything_that_is_read_is_another_line(change: str) -> None:
    one = {
        "eventid": "cowrie.command.input", "timestamp": "2026-03-01T10:00:00.000001Z", "session": "a", "sensor": "s",
        "src_ip": "192.0.2.1", "input": "id",
    }  # fmt: skip
    other = {
        **one,
        change: {"timestamp": "2026-03-01T10:00:00.000002Z", "src_ip": "192.0.2.2"}.get(change, "w"),
    }
    repeats = Repeats()
    assert [repeats.seen(tuple(parse_object(line))) for line in (one, other, one, other)] == [
        False,
        False,
        True,
        True,
    ]


def test_as_many_are_remembered_as_is_promised() -> None:
    assert KEPT == 32_768
    repeats = Repeats(kept=3)
    assert [repeats.seen((n,)) for n in (1, 2, 3, 1, 4, 2)] == [False, False, False, True, False, False]
    again = Repeats(kept=3)
    again.restore(json.loads(json.dumps(repeats.to_state())))
    assert (again.count, again.seen((4,)), again.seen((1,))) == (1, True, True)


def test_two_probes_of_different_kinds_at_one_moment_are_two() -> None:
    base = {
        "node_id": "web",
        "src_host": "192.0.2.1",
        "dst_port": 80,
        "utc_time": "2026-03-01 10:00:00.000001",
    }
    made = source("opencanary")
    texts = [
        json.dumps({**base, "logtype": kind, "logdata": {}}).encode() for kind in (3000, 99_001, 99_002, 3000)
    ]
    made.feed([Line("f", i, 0, text) for i, text in enumerate(texts, 1)])
    assert made.repeats.count == 1
