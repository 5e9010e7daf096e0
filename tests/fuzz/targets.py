"""What is fuzzed: one function of bytes each, that may raise what is in ``decnet/errors.py`` and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from decnet.behave.keys import read_keys
from decnet.behave.ttylog import HEADER, INPUT, OP_WRITE, OUTPUT
from decnet.bus.base import Event
from decnet.config import Settings
from decnet.errors import MalformedEvent
from decnet.events.topics import RECORDS
from decnet.runtime.received import Parsing
from decnet.sensors.files.carriers import Data
from decnet.sensors.files.tailer import Line
from decnet.sensors.files.unwrap import Unwrapper
from decnet.sensors.opencanary import OpenCanarySource
from decnet.sensors.sources import CowrieSource
from decnet.shell.script import read_script
from decnet.shell.split import split_commands
from decnet.ttp.loader import load_bytes
from decnet.ttp.sigma.importing import Importer
from decnet.ttp.sigma.reading import read_bytes
from tests.sigmakit import correlation, sigma

FIXTURES = Path(__file__).parents[1] / "fixtures"
DEMO = Path(__file__).parents[2] / "decnet" / "_data" / "demo"
RULES = Path(__file__).parents[2] / "rules" / "ttp"
KEY = b"k" * 32


class Target(NamedTuple):
    """``run`` takes any bytes; ``seeds`` are good ones; ``words`` are what its grammar is made of."""

    run: Callable[[bytes], object]
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...]


@cache
def _settings() -> Settings:
    return Settings()


def _read(source: CowrieSource | OpenCanarySource, data: bytes) -> None:
    lines = [Line("f", number, 0, line) for number, line in enumerate(data.split(b"\n"), 1)]
    events = source.feed(lines) + source.end_all("eof")
    source.to_state()
    for event in events:
        event.to_bytes()


def cowrie(data: bytes) -> None:
    """Lines of a log, read to the end."""
    _read(CowrieSource(_settings(), KEY), data)


def opencanary(data: bytes) -> None:
    """The same of the other honeypot."""
    _read(OpenCanarySource(_settings(), KEY), data)


def unwrapping(data: bytes) -> None:
    """Lines in whatever carried them."""

    def wanted(raw: Data) -> bool:
        return "eventid" in raw or "logtype" in raw

    unwrapper = Unwrapper(wanted, 65_536)
    for line in data.split(b"\n"):
        unwrapper.feed("f", line)
    unwrapper.restore(unwrapper.to_state())
    unwrapper.flush()


def rules(data: bytes) -> None:
    """A rule file."""
    load_bytes(data, "R0001.yaml")


def sigma_rules(data: bytes) -> None:
    """A file of Sigma rules."""
    list(Importer().carried(read_bytes(data, Path("a.yml"))))


def ttylog(data: bytes) -> None:
    """A recording of a terminal."""
    read_keys(data)


def editor(data: bytes) -> None:
    """Keys of a person: a recording of them, in which every second byte of 0xff is an answer of the machine."""
    out, at = [], 1_700_000_000
    for number, piece in enumerate(data.split(b"\xff")):
        for way, text in ((INPUT, piece), (OUTPUT, piece[::-1])) if number % 2 else ((INPUT, piece),):
            out.append(HEADER.pack(OP_WRITE, 0, len(text), way, at + number, 0) + text)
    read_keys(b"".join(out))


def shell(data: bytes) -> None:
    """Command lines of one session."""
    text = data.decode("utf-8", "surrogateescape")
    split_commands(text)
    read_script(text.split("\n"))


def event(data: bytes) -> None:
    """A message of the bus under every topic that has a record."""
    parsing = Parsing()
    for topic in _topics():
        try:
            parsing.received(Event.from_bytes(topic, data))
        except MalformedEvent:
            continue


@cache
def _topics() -> list[str]:
    return [pattern.replace("*", "x").replace(">", "x") for pattern in RECORDS]


def _lines(*places: str) -> list[bytes]:
    found = [path for place in places for path in sorted(FIXTURES.glob(place)) if path.is_file()]
    return [b"\n".join(path.read_bytes().splitlines()[:12])[:20_000] for path in found][:40]


def _recordings() -> list[bytes]:
    return [path.read_bytes()[:8000] for path in sorted((DEMO / "tty").iterdir())[:12]]


def _sigma() -> list[bytes]:
    """A rule, one with more of everything, and a correlation with the rules that it speaks of."""
    base, other = sigma("Base", name="a"), sigma("Other", "0b1b2c3d-0000-4000-8000-000000000001", name="b")
    rich = sigma(detection={
        "a": {"CommandLine|re|i": "a.*b", "Image|endswith": ["/nc", "*/n?t"]},
        "b": [{"CommandLine|contains|all|windash": [" -e ", "/x"]}, {"CommandLine|base64offset|contains": "/bin/sh"}],
        "c": ["wget", 7, None], "condition": ["a and not 1 of b*", "all of them or (c)"],
    })  # fmt: skip
    counted = correlation("value_count", ["a"], condition={"gte": 3, "field": "CommandLine"})
    together = correlation("temporal", ["a", "b"], condition="a and b", aliases={})
    files = [[base], [rich], [base, counted], [base, other, together]]
    return [yaml.safe_dump_all(file, sort_keys=False).encode() for file in files]


def _commands() -> list[bytes]:
    text = (FIXTURES / "cases" / "22-line-scope.txt").read_bytes() + (
        FIXTURES / "cases" / "23-misses.txt"
    ).read_bytes()
    lines = [line for line in text.split(b"\n") if line]
    return [b"\n".join(lines[n : n + 4]) for n in range(0, min(len(lines), 240), 4)]


def _events() -> list[bytes]:
    return [
        line
        for path in sorted((FIXTURES / "events").iterdir())
        for line in path.read_bytes().splitlines()[:8]
    ]


_JSON = (
    b'{"',
    b'":',
    b"[",
    b"]",
    b"{",
    b"}",
    b"null",
    b"1e400",
    b"-0",
    b"9" * 40,
    b"\\u0000",
    b"\\ud800",
    b'"eventid":',
    b'"timestamp":',
    b'"session":',
)
_YAML = (
    b"- ",
    b": ",
    b"&a ",
    b"*a",
    b"<<: ",
    b"!!python/object:os.system ",
    b"? ",
    b"|\n",
    b"%YAML 1.1\n",
    b"---\n",
    b"match: {pattern: '",
    b"(a+)+$",
    b"(?i)",
    b"within: 1s",
)
_SHELL = (
    b"$(",
    b"`",
    b"'",
    b'"',
    b"<<A\n",
    b"\nA\n",
    b";",
    b"&&",
    b"|",
    b"((",
    b"{ ",
    b"}; ",
    b"if ",
    b"then ",
    b"fi",
    b"for i in ",
    b"do ",
    b"done",
    b"\\",
    b"$'\\x41'",
    b"base64 -d",
    b"|sh",
    b"<(",
    b">&2",
    b"${a:-",
    b"eval ",
)
_KEYS = (
    b"\x1b[",
    b"\x1b[D",
    b"\x1b[3~",
    b"\x7f",
    b"\x15",
    b"\x12",
    b"\x1b[200~",
    b"\x1b[201~",
    b"\r",
    b"\n",
    b"\x03",
    b"\x1bOP",
    b"\xff",
    b"\x16",
    b"\xc3\xa4",
    b"\x19",
    b"\x14",
)
_CARRIED = (
    b'{"log":"',
    b'\\n","stream":"stdout"}',
    b"2026-01-01T00:00:00Z stdout P ",
    b"<14>1 ",
    b"]\n[",
    b"\x1b[32m",
    b"data: ",
    b'{"message":"{\\"',
    b'"_source":',
)

_SIGMA = (
    b"condition: ", b" 1 of ", b" all of them", b" not (", b"|all", b"|re", b"|cidr", b"|exists", b"|gt", b"|expand", b"|windash",
    b"|base64offset", b"|fieldref", b"correlation:\n  type: ", b"timespan: 5m", b"%a%", b"\\*", b"['", b"attack.t1059",
)  # fmt: skip

TARGETS: dict[str, Target] = {
    "rules": Target(rules, lambda: [path.read_bytes() for path in sorted(RULES.glob("*.yaml"))[:40]], _YAML),
    "sigma": Target(sigma_rules, _sigma, (*_YAML, *_SIGMA)),
    "cowrie": Target(cowrie, lambda: _lines("cowrie/handmade/*.json", "cases/0*.json", "cases/18*.json"), _JSON),
    "opencanary": Target(opencanary, lambda: _lines("cases/1*.txt"), _JSON),
    "unwrapping": Target(unwrapping, lambda: _lines("cases/16-wrapped/*", "cases/17*.txt"), (*_JSON, *_CARRIED)),
    "editor": Target(editor, lambda: [b"ls -la\r", b"wget http://x/\x7f\x7fa.sh\xff$ \r", b"\x1b[200~paste\x1b[201~\r\x12ls\r"], _KEYS),
    "ttylog": Target(ttylog, _recordings, (HEADER.pack(3, 0, 5, 1, 1, 0), b"\x00" * 24, b"\x03\x00\x00\x00", b"\xff\xff\xff\x7f")),
    "shell": Target(shell, _commands, _SHELL),
    "event": Target(event, _events, (*_JSON, b'"payload":', b'"ts":', b'"attacker_uuid":')),
}  # fmt: skip
